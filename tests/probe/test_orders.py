from __future__ import annotations

from types import SimpleNamespace as Some
from typing import Any

from pdtest.probe.orders import Order, Orders

PROMPT = tuple(range(10))


def step(
    *,
    new: dict[str, tuple[int, int]] | None = None,
    running: dict[str, tuple[int, int, Any]] | None = None,
    finished: tuple[str, ...] = (),
    resumed: tuple[str, ...] = (),
) -> Any:
    """A scheduler's output: computed before and scheduled now; of running ones also new blocks."""
    new, running = new or {}, running or {}
    return Some(
        scheduled_new_reqs=[Some(req_id=name, num_computed_tokens=done) for name, (done, _) in new.items()],
        scheduled_cached_reqs=Some(
            req_ids=list(running),
            num_computed_tokens=[done for done, _, _ in running.values()],
            new_block_ids=[blocks for _, _, blocks in running.values()],
            resumed_req_ids=set(resumed),
        ),
        num_scheduled_tokens={name: now[1] for name, now in (new | running).items()},
        finished_req_ids=set(finished),
    )


def both() -> Orders:
    return Orders(publishes=True, receives=True)


def short(orders: list[Order]) -> list[tuple[str, int, tuple[tuple[int, ...], ...]]]:
    return [(order.side, len(order.tokens), order.blocks) for order in orders]


def test_a_prompt_is_published_with_the_step_that_completes_it() -> None:
    orders = both()
    orders.matched("a", 0, is_async=False)
    orders.allocated("a", PROMPT, ([1],), 0)
    assert orders.of_step(step(new={"a": (0, 4)})) == []
    assert orders.of_step(step(running={"a": (4, 4, ([2],))})) == []
    assert short(orders.of_step(step(running={"a": (8, 2, ([3],))}))) == [("published", 10, ((1, 2, 3),))]
    assert orders.of_step(step(running={"a": (10, 1, ([4],))})) == []


def test_after_a_preemption_blocks_are_others() -> None:
    orders = both()
    orders.allocated("a", PROMPT, ([1],), 0)
    orders.of_step(step(new={"a": (0, 4)}))
    last = orders.of_step(step(running={"a": (0, 10, ([7, 8, 9],))}, resumed=("a",)))
    assert short(last) == [("published", 10, ((7, 8, 9),))]


def test_what_comes_later_is_looked_at_later() -> None:
    orders = Orders(publishes=False, receives=True)
    orders.matched("a", 4, is_async=True)
    orders.allocated("a", PROMPT, ([1, 2, 3],), 6)
    (order,) = orders.of_step(step())
    assert (order.side, order.is_async, order.cached, order.tokens) == ("received", True, 4, PROMPT)
    # It has come, and is scheduled: vLLM allocates once more, with nothing to come.
    orders.allocated("a", PROMPT, ([1, 2, 3],), 0)
    assert orders.of_step(step(new={"a": (9, 1)})) == []


def test_what_was_all_cached_is_looked_at_in_this_step() -> None:
    orders = Orders(publishes=False, receives=True)
    orders.matched("a", 8, is_async=True)
    orders.allocated("a", PROMPT, ([1, 2, 3],), 0)
    (order,) = orders.of_step(step(new={"a": (8, 2)}))
    assert (order.side, order.is_async, len(order.tokens)) == ("received", False, 8)


def test_a_producer_receives_nothing() -> None:
    orders = Orders(publishes=True, receives=False)
    orders.matched("a", 4, is_async=False)
    orders.allocated("a", PROMPT, ([1, 2, 3],), 4)
    assert short(orders.of_step(step(new={"a": (8, 2)}))) == [("published", 10, ((1, 2, 3),))]


def test_what_has_ended_is_forgotten() -> None:
    orders = both()
    orders.allocated("a", PROMPT, ([1],), 0)
    orders.of_step(step(finished=("a",)))
    assert orders.of_step(step(new={"a": (0, 10)})) == []
