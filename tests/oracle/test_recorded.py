from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdtest.client.answer import Answer, Timings
from pdtest.client.openai import read
from pdtest.client.request import Request
from pdtest.oracle.errors import ReferenceMissing
from pdtest.oracle.parity import Tolerance, compare
from pdtest.oracle.recorded import RecordedReference, ReferenceStore, fingerprint

SAMPLES = Path(__file__).parent.parent / "client" / "samples"
FACTS = {"model": "c0ffee", "settings": {"dtype": "float32"}, "args": {"seed": 0}}
COMPLETION = Request.tokens([70, 293, 12, 44], max_tokens=2, prompt_logprobs=0)
CHAT = Request.chat("hello", max_tokens=4)
V32 = "0.32.0"


def sample(name: str, *, is_chat: bool = False) -> Answer:
    """An answer of vLLM 0.32."""
    body = json.loads((SAMPLES / f"{name}.json").read_text())
    timings = Timings(sent_at=1.0, first_byte_s=0.1, total_s=0.2)
    return Answer(
        member="colocated",
        request_id=body["id"],
        status=200,
        timings=timings,
        raw=body,
        **read(body, is_chat=is_chat),
    )


ANSWER = sample("completion")


@pytest.fixture
def store(tmp_path: Path) -> ReferenceStore:
    return ReferenceStore.open(tmp_path, FACTS)


@pytest.fixture
def recorded(store: ReferenceStore) -> Path:
    """The file of one recorded answer."""
    store.record(COMPLETION, ANSWER, version=V32)
    return store.directory / f"{COMPLETION.digest()}.json"


@pytest.mark.parametrize(
    ("request_", "answer"),
    [(COMPLETION, ANSWER), (CHAT, sample("chat", is_chat=True))],
    ids=["completion", "chat"],
)
def test_an_answer_comes_back_as_it_was(store: ReferenceStore, request_: Request, answer: Answer) -> None:
    store.record(request_, answer, version=V32)
    back = store.load(request_, version=V32)
    assert back is not None
    assert (back.choices, back.usage, back.raw) == (answer.choices, answer.usage, answer.raw)
    assert (back.prompt_token_ids, back.prompt_logprobs) == (answer.prompt_token_ids, answer.prompt_logprobs)
    assert back.member == "colocated (recorded)"
    assert compare(answer, back, tolerance=Tolerance(logprob=1e-12), block_size=4).equal


def test_one_recording_serves_streamed_and_not(store: ReferenceStore, recorded: Path) -> None:
    assert store.load(replace(COMPLETION, stream=True), version=V32) is not None
    store.record(replace(COMPLETION, stream=True), ANSWER, version=V32)
    assert store.load(COMPLETION, version=V32) is not None


async def test_a_recorded_reference_answers(store: ReferenceStore, recorded: Path) -> None:
    answer = await RecordedReference(store=store, version=V32).answer(COMPLETION)
    assert answer.token_ids == ANSWER.token_ids


async def test_what_was_not_recorded_is_missing_and_says_how_to_get_it(store: ReferenceStore) -> None:
    with pytest.raises(ReferenceMissing, match=r"pytest\.mark\.asks") as caught:
        await RecordedReference(store=store, version=V32).answer(COMPLETION)
    assert COMPLETION.digest() in str(caught.value)
    assert V32 in str(caught.value)


def rewritten(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def other_store(path: Path) -> None:
    """As a file that was copied here from the recordings of another model."""
    foreign = ReferenceStore.open(path.parent.parent, {**FACTS, "model": "decaf"})
    foreign.record(COMPLETION, ANSWER, version=V32)
    shutil.copy(foreign.directory / path.name, path)


def other_request(path: Path) -> None:
    store = ReferenceStore(directory=path.parent)
    other = replace(COMPLETION, max_tokens=3)
    store.record(other, ANSWER, version=V32)
    (path.parent / f"{other.digest()}.json").replace(path)


SPOILT: dict[str, Callable[[Path], object]] = {
    "other format": lambda path: rewritten(path, format=2),
    "another model's": other_store,
    "another request's": other_request,
    "torn": lambda path: path.write_text(path.read_text()[:200]),
    "empty": lambda path: path.write_text(""),
    "not an object": lambda path: path.write_text("[]"),
    "not text": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "no answer in it": lambda path: rewritten(path, answer=None),
    "half an answer": lambda path: rewritten(path, answer={"model": "tiny", "choices": []}),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_what_is_not_exactly_right_is_not_used_and_recorded_again(
    store: ReferenceStore, recorded: Path, spoil: Callable[[Path], object]
) -> None:
    assert store.missing([COMPLETION]) == ()
    spoil(recorded)
    assert store.load(COMPLETION, version=V32) is None
    assert store.missing([COMPLETION]) == (COMPLETION,)
    store.record(COMPLETION, ANSWER, version=V32)
    assert store.load(COMPLETION, version=V32) is not None


@pytest.mark.parametrize("version", ["0.32.1", None])
def test_answers_of_another_version_are_not_used(
    store: ReferenceStore, recorded: Path, version: str | None
) -> None:
    assert store.load(COMPLETION, version=version) is None
    assert store.drop_other_versions(version) == 1
    assert store.missing([COMPLETION]) == (COMPLETION,)
    assert (store.directory / "fingerprint.json").exists()


def test_answers_of_this_version_are_kept(store: ReferenceStore, recorded: Path) -> None:
    assert store.drop_other_versions(V32) == 0
    assert store.load(COMPLETION, version=V32) is not None


@pytest.mark.parametrize(
    "facts",
    [
        {**FACTS, "model": "decaf"},
        {**FACTS, "settings": {"dtype": "bfloat16"}},
        {**FACTS, "args": {"seed": 1}},
        {**FACTS, "env": {}},
    ],
)
def test_other_facts_open_another_store(tmp_path: Path, recorded: Path, facts: dict[str, Any]) -> None:
    foreign = ReferenceStore.open(tmp_path, facts)
    assert foreign.load(COMPLETION, version=V32) is None
    assert foreign.missing([COMPLETION]) == (COMPLETION,)


def test_equal_facts_open_the_same_store(tmp_path: Path, recorded: Path) -> None:
    again = ReferenceStore.open(tmp_path, dict(reversed(FACTS.items())))
    assert again.load(COMPLETION, version=V32) is not None
    assert fingerprint(FACTS) == again.directory.name


def test_facts_are_there_to_read(store: ReferenceStore) -> None:
    assert json.loads((store.directory / "fingerprint.json").read_text()) == FACTS


def test_each_missing_request_is_named_once(store: ReferenceStore, recorded: Path) -> None:
    streamed = replace(CHAT, stream=True)
    assert store.missing([CHAT, COMPLETION, streamed]) == (streamed,)


def test_a_run_that_is_killed_while_it_writes_leaves_no_trace(
    store: ReferenceStore, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name for path in store.directory.iterdir()}

    def torn(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", torn)
        with pytest.raises(KeyboardInterrupt):
            store.record(COMPLETION, replace(ANSWER, raw={"torn": True}), version=V32)
    assert {path.name for path in store.directory.iterdir()} == before
    assert store.load(COMPLETION, version=V32) is not None


def test_a_file_left_half_written_is_no_entry(store: ReferenceStore, recorded: Path) -> None:
    (store.directory / ".new-killed").write_text('{"version": "0.1"')
    assert store.drop_other_versions(V32) == 0


def test_concurrent_writers_and_readers_see_whole_answers(store: ReferenceStore, recorded: Path) -> None:
    def write(_: int) -> None:
        store.record(COMPLETION, ANSWER, version=V32)

    def look(_: int) -> bool:
        return store.load(COMPLETION, version=V32) is not None

    with ThreadPoolExecutor(max_workers=4) as pool:
        writing = pool.map(write, range(60))
        assert all(pool.map(look, range(60)))
        list(writing)
    assert {path.name for path in store.directory.iterdir()} == {"fingerprint.json", recorded.name}
