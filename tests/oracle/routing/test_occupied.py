from __future__ import annotations

from pdtest.oracle.routing.occupied import Load, Occupation, fullest
from pdtest.oracle.verdict import Ruling


def loads(**of: tuple[float, float]) -> dict[str, Load]:
    return {name: Load(requests=requests, kv=kv) for name, (requests, kv) in of.items()}


def test_the_same_were_busy_all_the_time() -> None:
    same = Occupation(before=loads(d1=(1, 0.2), d2=(3, 0.1)), after=loads(d1=(1, 0.3), d2=(3, 0.15)))
    assert not same.lasted()
    assert fullest(same) == ("d1", [])


def test_who_is_done_meanwhile_leaves_it_open() -> None:
    done = Occupation(before=loads(d1=(1, 0.2), d2=(0, 0)), after=loads(d1=(0, 0.2), d2=(0, 0)))
    (found,) = done.lasted()
    assert found.ruling is Ruling.INCONCLUSIVE
    assert "d1 1, d2 0, then d1 0, d2 0" in found.text


def test_who_was_not_seen_at_work_leaves_it_open() -> None:
    (found,) = Occupation(why="2 long requests were not seen at work on d1").lasted()
    assert found.text == "2 long requests were not seen at work on d1"


def test_the_fullest_must_be_so_by_far_and_to_the_end() -> None:
    near = Occupation(before=loads(d1=(1, 0.2), d2=(3, 0.19)), after=loads(d1=(1, 0.3), d2=(3, 0.15)))
    assert fullest(near)[1][0].ruling is Ruling.INCONCLUSIVE
    overtaken = Occupation(before=loads(d1=(1, 0.2), d2=(3, 0.1)), after=loads(d1=(1, 0.2), d2=(3, 0.4)))
    assert fullest(overtaken)[1][0].ruling is Ruling.INCONCLUSIVE
    assert fullest(Occupation())[1]
