from __future__ import annotations

import itertools
from typing import Any

from pdtest.events import (
    Event,
    HandoffFinished,
    MemberRestarted,
    MemberStarting,
    QuietSought,
    RequestAbandoned,
    RequestAnswered,
    RequestErrored,
    RequestSent,
)

TOKENS = 16
_clock = itertools.count()


def at() -> float:
    return float(next(_clock))


def started(member: str, role: str | None = None) -> MemberStarting:
    return MemberStarting(
        at=at(), member=member, role=role or member, service="double", url="", pid=None, directory=""
    )


def sent(member: str, request_id: str, *, digest: str = "", **changes: Any) -> RequestSent:
    fields: dict[str, Any] = {
        "at": at(),
        "member": member,
        "request_id": request_id,
        "test": "t",
        "path": "/v1/completions",
        "digest": digest or request_id,
        "prompt_tokens": 37,
        "max_tokens": TOKENS,
        "n": 1,
        "stream": False,
        "params": None,
    }
    return RequestSent(**fields | changes)


def answered(member: str, request_id: str, answer: str = "", **changes: Any) -> RequestAnswered:
    fields: dict[str, Any] = {
        "at": at(),
        "member": member,
        "request_id": request_id,
        "test": "t",
        "status": 200,
        "prompt_tokens": 37,
        "completion_tokens": TOKENS,
        "cached_tokens": None,
        "finish_reasons": ("length",),
        "params": None,
        "first_byte_s": 0.1,
        "first_token_s": None,
        "last_token_s": None,
        "total_s": 0.2,
        "answer_digest": answer or f"answer to {request_id}",
    }
    return RequestAnswered(**fields | changes)


def errored(member: str, request_id: str) -> RequestErrored:
    return RequestErrored(
        at=at(), member=member, request_id=request_id, test="t", error="Unreachable", message="no",
        status=None, body=None, elapsed_s=0.1,
    )  # fmt: skip


def abandoned(member: str, request_id: str) -> RequestAbandoned:
    return RequestAbandoned(at=at(), member=member, request_id=request_id, test="t", elapsed_s=0.1)


def restarted(member: str) -> MemberRestarted:
    return MemberRestarted(at=at(), member=member, generation=2)


def looked(member: str, kv_usage: float | None = 0.0, **changes: Any) -> QuietSought:
    fields: dict[str, Any] = {"answers": True, "running": 0.0, "waiting": 0.0} | changes
    return QuietSought(at=at(), member=member, test="t", kv_usage=kv_usage, within_s=5.0, **fields)


def held(request_id: str) -> dict[str, Any]:
    """What prefill answers when it holds blocks, and decode is sent."""
    return {"do_remote_prefill": True, "remote_engine_id": "e", "remote_request_id": f"cmpl-{request_id}"}


def finished(request_id: str, *, tampered: bool = False) -> HandoffFinished:
    return HandoffFinished(
        at=at(), request_id=request_id, test="t", contract="nixl", route="client", outcome="answered",
        digest=request_id, prompt_tokens=37, completion_tokens=TOKENS, prefill=None, decode=None, proxy=None,
        tampered=tampered, breaches=(), extra=(), drift=(), error=None, total_s=1.0,
    )  # fmt: skip


def handoff(request_id: str, *, answer: str = "") -> list[Event]:
    """A handoff as it should be, by a client, with the reference's answer to the same prompt."""
    return [
        sent("prefill", request_id, max_tokens=1, digest=f"first token of {request_id}"),
        answered("prefill", request_id, completion_tokens=1, params=held(request_id)),
        sent("decode", request_id, params=held(request_id)),
        answered("decode", request_id, answer),
        finished(request_id),
        sent("colocated", f"reference-{request_id}", digest=request_id),
        answered("colocated", f"reference-{request_id}", f"answer to {request_id}"),
    ]


def members() -> list[Event]:
    return [started(member) for member in ("prefill", "decode", "colocated")]


def good(*request_ids: str) -> list[Event]:
    """A history without fault."""
    between = [event for request_id in request_ids for event in handoff(request_id)]
    return [*members(), *between, looked("prefill"), looked("decode")]
