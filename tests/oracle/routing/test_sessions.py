from __future__ import annotations

from pdtest.client.prompts import Prompts
from pdtest.environment.routing import Session
from pdtest.environment.schema import Role
from pdtest.oracle.routing.lanes import Lane
from pdtest.oracle.routing.sessions import Sessions, ended_findings, stay_findings
from pdtest.oracle.routing.traffic import Errands
from pdtest.oracle.verdict import Ruling

from .made import routed, traffic

SESSIONS = Sessions(
    session=Session(idle_s=2.0),
    lane=Lane(prompt=32, answer=4),
    errands=Errands(prompts=Prompts(seed="s", vocab_size=4096)),
)


def test_each_session_has_one_request_of_the_lane() -> None:
    names = SESSIONS.new(8)
    made = SESSIONS.of(names)
    assert sorted(one.headers["x-session-id"] for one in made) == sorted(names)
    assert {(one.request.prompt_tokens, one.request.max_tokens) for one in made} == {(32, 4)}
    assert len({one.request.prompt for one in made}) == 8


def test_a_session_is_where_it_was() -> None:
    first, between = routed("p1", "d1", session="a"), routed("p2", "d2", session="b", sent_s=0.5)
    roles = [Role.PREFILL, Role.DECODE]
    stayed = traffic(first, between, routed("p1", "d1", session="a", sent_s=1))
    assert stay_findings(stayed, roles, SESSIONS)[0].ruling is Ruling.PASS
    moved = stay_findings(traffic(first, between, routed("p1", "d2", session="a", sent_s=1)), roles, SESSIONS)
    assert moved[0].ruling is Ruling.FAIL
    assert "decode was d1, then d2" in moved[0].text


def test_requests_that_came_too_late_say_nothing_of_a_session_that_stays() -> None:
    late = routed("p2", "d2", session="a", sent_s=1.6)
    (found,) = stay_findings(traffic(routed(session="a"), late), [Role.DECODE], SESSIONS)
    assert found.ruling is Ruling.INCONCLUSIVE


def test_all_where_they_were_is_no_new_start() -> None:
    before = traffic(routed("p1", "d1", session="a"), routed("p2", "d2", session="b"))
    stuck = ended_findings(before, before, [Role.PREFILL, Role.DECODE], SESSIONS)
    assert [one.ruling for one in stuck] == [Ruling.FAIL, Ruling.FAIL]
    after = traffic(routed("p1", "d2", session="a"), routed("p2", "d2", session="b"))
    ended = ended_findings(before, after, [Role.PREFILL, Role.DECODE], SESSIONS)
    assert [one.ruling for one in ended] == [Ruling.FAIL, Ruling.PASS]
