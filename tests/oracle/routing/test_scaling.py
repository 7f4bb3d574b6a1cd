"""What must come of a deployment that grew and shrank: each part missing once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Literal, cast

import pytest

from pdtest.environment.schema import Role
from pdtest.events.scaling import Scaled
from pdtest.oracle.routing.scaling import scaling_findings
from pdtest.oracle.routing.traffic import Routed, Traffic
from pdtest.oracle.verdict import Ruling
from pdtest.routing.scaler import Done
from pdtest.routing.wants import Heard, Want

STANDING = {Role.DECODE: 2}


def done(change: Literal["added", "removed"], at_s: float, *, left: str = "") -> Done:
    event = Scaled(
        router="proxy",
        member="decode-3",
        role="decode",
        change=change,
        now=3,
        wanted=3,
        took_s=1.0,
        left=left,
    )
    return Done(at_s=at_s, event=event)


def heard(*wanted: int) -> list[Heard]:
    return [
        Heard(at_s=at, wants={Role.DECODE: Want(now=2, wanted=count, least=2, most=3)})
        for at, count in enumerate(wanted)
    ]


def traffic(*sent: tuple[float, str], lost: tuple[str, ...] = ()) -> Traffic:
    """Requests that were sent then, and who answered."""
    routed = tuple(
        Routed(
            errand=cast("Any", SimpleNamespace()),
            answer=cast("Any", SimpleNamespace()),
            prefill="prefill",
            decode=decode,
            path=None,
            sent_s=at_s,
            done_s=at_s + 0.1,
        )
        for at_s, decode in sent
    )
    return Traffic(routed=routed, lost=lost, answers=Counter(decode for _, decode in sent))


HEARD = heard(2, 3, 3, 2)
DONE = [done("added", 1.0), done("removed", 5.0)]
TRAFFIC = traffic((0.5, "decode"), (2.0, "decode-3"))


def test_what_grew_and_shrank_passes() -> None:
    found = scaling_findings(HEARD, DONE, TRAFFIC, STANDING, 2.0)

    assert {one.ruling for one in found} == {Ruling.PASS}
    assert [one.check for one in found] == ["answered", "bounds", "wanted", "used", "removed"]


@pytest.mark.parametrize(
    ("changed", "broken"),
    [
        ({"heard": heard(2, 2)}, {"wanted"}),
        ({"heard": heard(2, 4, 2)}, {"bounds"}),
        ({"heard": heard(2, 3, 1)}, {"bounds"}),
        ({"done": []}, {"started"}),
        ({"done": DONE[:1]}, {"removed"}),
        ({"done": [DONE[0], done("removed", 5.0, left="running: 1")]}, {"removed"}),
        ({"traffic": traffic((0.5, "decode"), (2.0, "decode"))}, {"used"}),
        ({"traffic": traffic((0.5, "decode"), (4.0, "decode-3"))}, {"used"}),
        ({"traffic": replace(TRAFFIC, lost=("503",))}, {"answered"}),
    ],
)
def test_what_is_missing_fails(changed: dict[str, Any], broken: set[str]) -> None:
    given: dict[str, Any] = {"heard": HEARD, "done": DONE, "traffic": TRAFFIC} | changed
    found = scaling_findings(**given, standing=STANDING, within_s=2.0)

    assert {one.check for one in found if one.ruling is Ruling.FAIL} == broken


def test_a_router_that_was_not_heard_of_leaves_it_open() -> None:
    found = scaling_findings([], DONE, TRAFFIC, STANDING, 2.0)

    assert [one.check for one in found if one.ruling is Ruling.INCONCLUSIVE] == ["wanted"]
