from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdtest.client.openai import read
from pdtest.client.stream import Assembly, EventParser, TornStream

SAMPLES = Path(__file__).parent / "samples"


def parse(pieces: list[bytes]) -> list[str]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)] + parser.close()


def pieces_of(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(places)]


TEXT = st.text(alphabet=st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    events=st.lists(st.lists(TEXT, min_size=1, max_size=3), max_size=5),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    cuts=st.lists(st.integers(0, 10_000), max_size=12),
)
def test_any_split_gives_the_same_events(events: list[list[str]], end: str, cuts: list[int]) -> None:
    lines = "".join("".join(f"data: {line}{end}" for line in event) + end for event in events)
    assert parse(pieces_of(lines.encode(), cuts)) == ["\n".join(event) for event in events]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_byte_by_byte(end: bytes) -> None:
    stream = (SAMPLES / "completion_stream.txt").read_bytes().replace(b"\n", end)
    events = parse([bytes([byte]) for byte in stream])
    assert len(events) == 6
    assert events[-1] == "[DONE]"


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_event_of_two_lines_byte_by_byte(end: bytes) -> None:
    stream = b"data: a" + end + b"data: b" + end + end
    assert parse([bytes([byte]) for byte in stream]) == ["a\nb"]


def test_comments_and_other_fields_are_skipped() -> None:
    assert parse([b": ping\n\nevent: x\nid: 1\ndata:a\ndata: b\n\n"]) == ["a\nb"]


def test_torn_event_comes_out_at_the_end() -> None:
    parser = EventParser()
    assert parser.feed(b"data: whole\n\ndata: to") == ["whole"]
    assert parser.close() == ["to"]


def assemble(name: str, n: int = 1) -> Assembly:
    assembly = Assembly(n=n)
    for at, event in enumerate(parse([(SAMPLES / name).read_bytes()])):
        assembly.add(event, float(at))
    return assembly


def test_chat_stream_assembles_to_the_answer_not_streamed() -> None:
    streamed = read(assemble("chat_stream.txt").body(), is_chat=True)
    whole = read(json.loads((SAMPLES / "chat.json").read_text()), is_chat=True)
    # The sample that was not streamed asked for the prompt's log-probabilities as well.
    assert streamed.pop("prompt_logprobs") is None
    assert len(whole.pop("prompt_logprobs")) == 19
    assert streamed == whole


def test_completion_stream_with_two_choices() -> None:
    assembly = assemble("completion_stream.txt", n=2)
    parts = read(assembly.body(), is_chat=False)
    assert [choice.token_ids for choice in parts["choices"]] == [(163, 298), (163, 298)]
    assert [len(choice.logprobs) for choice in parts["choices"]] == [2, 2]
    assert parts["prompt_token_ids"] == (70, 293, 12, 44)
    assert (parts["usage"].prompt_tokens, parts["usage"].completion_tokens) == (4, 4)
    assert [(arrival.at_s, arrival.tokens) for arrival in assembly.arrivals] == [
        (0.0, 1),
        (1.0, 1),
        (2.0, 1),
        (3.0, 1),
        (4.0, 0),
    ]


def test_missing_choice_is_torn() -> None:
    with pytest.raises(TornStream, match="2 of 3 choices"):
        assemble("completion_stream.txt", n=3).body()


def test_missing_done_is_torn() -> None:
    assembly = Assembly(n=1)
    assembly.add('{"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}', 0.0)
    with pytest.raises(TornStream, match="DONE"):
        assembly.body()


def test_error_in_the_stream_is_torn() -> None:
    with pytest.raises(TornStream, match="no KV"):
        Assembly(n=1).add('{"error": {"message": "no KV"}}', 0.0)


@pytest.mark.parametrize(
    "event", ["", "{", "[]", '{"choices": 3}', '{"choices": [{}]}', '{"choices": ["a"]}']
)
def test_event_that_is_no_chunk(event: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (any: the message is the server's)
        Assembly(n=1).add(event, 0.0)
    assert not isinstance(caught.value, TornStream)


def test_text_without_ids_counts_as_a_token() -> None:
    assembly = Assembly(n=1)
    assembly.add('{"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}', 0.0)
    assembly.add('{"choices": [{"index": 0, "delta": {"content": "a"}}]}', 1.0)
    assert [arrival.tokens for arrival in assembly.arrivals] == [0, 1]
