from __future__ import annotations

from pdtest.events import MemberDied, QuietSought, RequestAnswered, RequestErrored, RequestSent
from pdtest.events.record import Event
from pdtest.history import History
from pdtest.report.timeline import LEGEND, timeline


def sent(at: float, member: str, request_id: str) -> RequestSent:
    return RequestSent(
        at=at, member=member, request_id=request_id, test="t", path="/", digest="d", prompt_tokens=1,
        max_tokens=4, n=1, stream=False, params=None,
    )  # fmt: skip


def answered(at: float, member: str, request_id: str) -> RequestAnswered:
    return RequestAnswered(
        at=at, member=member, request_id=request_id, test="t", status=200, prompt_tokens=1,
        completion_tokens=4, cached_tokens=None, finish_reasons=("length",), params=None, first_byte_s=0.0,
        first_token_s=None, last_token_s=None, total_s=0.0,
    )  # fmt: skip


def errored(at: float, member: str, request_id: str) -> RequestErrored:
    return RequestErrored(
        at=at, member=member, request_id=request_id, test="t", error="HttpStatusError", message="",
        status=500, body=None, elapsed_s=0.0,
    )  # fmt: skip


EVENTS: list[Event] = [
    sent(10.0, "prefill", "pdtest-0123456789abcdef"),
    answered(11.0, "prefill", "pdtest-0123456789abcdef"),
    sent(11.0, "decode", "pdtest-0123456789abcdef"),
    sent(11.5, "decode", "pdtest-fedcba"),
    MemberDied(at=12.0, member="decode", returncode=-9, diagnosis=None, last_lines=()),
    errored(12.0, "decode", "pdtest-0123456789abcdef"),
    QuietSought(
        at=13.1, member="prefill", test="t", answers=True, kv_usage=0.5, running=0.0, waiting=0.0, within_s=1
    ),
]


def test_each_request_is_a_bar_between_its_times() -> None:
    rows = list(timeline(History.of(EVENTS)))

    assert rows == [
        "                        0 s                      3.100 s",
        "0123456789ab prefill    |=========o                      4 tokens",
        "0123456789ab decode               |=========x            HttpStatusError 500",
        "fedcba       decode                    >                 no end",
        "             decode                         !            died, exit -9",
        "             prefill                                   ! KV in use: 0.5",
        LEGEND,
    ]
    assert max(map(len, rows)) <= 80


def test_things_that_happen_at_once_and_nothing_at_all() -> None:
    assert list(timeline(History.of([]))) == []
    [_, row, _] = timeline(History.of([sent(1.0, "a", "x"), answered(1.0, "a", "x")]))
    assert row.split() == ["x", "a", "o", "4", "tokens"]
