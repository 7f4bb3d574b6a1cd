"""Traffic as tests want it."""

from __future__ import annotations

from collections import Counter

from pdtest.client.answer import Answer, Timings, Usage
from pdtest.client.request import Request
from pdtest.oracle.routing.traffic import Errand, Routed, Traffic
from pdtest.routing.served import Path


def routed(  # noqa: PLR0913 - the parts of a request, by name
    prefill: str | None = "p1",
    decode: str | None = "d1",
    *,
    prompt: int = 8,
    answer: int = 2,
    path: Path | None = Path.PREFILL,
    session: str = "",
    sent_s: float = 0.0,
) -> Routed:
    """One request, and who served it."""
    request = Request.tokens(tuple(range(prompt)), max_tokens=answer)
    return Routed(
        errand=Errand(request=request, headers={"x-session-id": session} if session else {}),
        answer=Answer(
            member="proxy",
            request_id="r",
            status=200,
            model="m",
            choices=(),
            usage=Usage(prompt_tokens=prompt, completion_tokens=answer),
            timings=Timings(sent_at=0, first_byte_s=0, total_s=0),
        ),
        prefill=prefill,
        decode=decode,
        path=path,
        sent_s=sent_s,
        done_s=sent_s + 0.1,
    )


def traffic(*requests: Routed, lost: tuple[str, ...] = (), unknown: str = "") -> Traffic:
    """Requests that were sent together."""
    return Traffic(
        routed=requests,
        lost=lost,
        unknown=unknown,
        prompts=Counter(one.prefill for one in requests if one.prefill),
        answers=Counter(one.decode for one in requests if one.decode),
        uncounted=unknown,
    )
