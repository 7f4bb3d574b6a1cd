from __future__ import annotations

import json

import pytest

from pdtest.load.answer import Answer
from pdtest.load.heard import heard

DONE = "[DONE]"


def event(content: object) -> bytes:
    return f"data: {content if isinstance(content, str) else json.dumps(content)}\n\n".encode()


def token(text: str = "a", *, last: bool = False, **more: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "text": text, "finish_reason": "length" if last else None, **more}]}


def said(delta: dict[str, object] | None = None, **more: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": delta or {}, "finish_reason": None, **more}]}


def answer(*parts: bytes, status: int | None = 200, error: str | None = None) -> Answer:
    made = Answer(status=status, error=error)
    made.parts = [(float(number), number, part) for number, part in enumerate(parts, start=1)]
    return made


def test_the_first_token_is_in_the_first_event_that_has_one() -> None:
    told = heard(
        answer(
            event(said({"role": "assistant", "content": ""})),
            event(said({})),
            event(said({"content": "a"})),
            event(said({"reasoning": "b"}, finish_reason="length")),
            event({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}) + event(DONE),
        )
    )
    assert told.error is None
    assert told.pieces == [(3.0, 1, 3), (4.0, 1, 4)]
    assert (told.prompt_tokens, told.completion_tokens, told.finish_reason) == (5, 2, "length")


def test_token_ids_count_also_where_they_make_no_text_yet() -> None:
    told = heard(
        answer(
            event(token("", token_ids=[7])),
            event(token("é", token_ids=[8, 9, 10])),
            event(token("", token_ids=[], last=True)) + event(DONE),
        )
    )
    assert told.error is None
    assert told.pieces == [(1.0, 1, 1), (2.0, 3, 2)]


def test_an_event_is_of_the_read_that_completed_it() -> None:
    first, second = event(token()), event(token(last=True))
    told = heard(answer(first[:20], first[20:] + second + event(DONE)))
    assert told.pieces == [(2.0, 1, 2), (2.0, 1, 2)]
    assert told.coalesced == 1


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (answer(b'{"error": "full"}', status=503), 'status 503: {"error": "full"}'),
        (answer(event(token()), event(token(last=True))), r"without 'data: \[DONE\]'"),
        (answer(event(token()), event(DONE)), "without a finish_reason"),
        (answer(event(token()), event({"error": {"message": "dead"}})), "reported an error in the stream"),
        (answer(event("{torn")), "no chunk of an answer"),
        (answer(event([1])), "no chunk of an answer"),
        (answer(b'{"choices": []}'), "without 'data"),
        (answer(event(token()), error="the server closed the connection"), "^the server closed"),
        (answer(status=None, error="no connection: refused"), "^no connection"),
    ],
)
def test_what_is_no_complete_answer(broken: Answer, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        raise ValueError(heard(broken).error)


def test_what_came_before_it_broke_is_kept() -> None:
    assert len(heard(answer(event(token()), event(token()), error="closed")).pieces) == 2
