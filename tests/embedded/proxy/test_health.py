from __future__ import annotations

import asyncio
import json

from .conftest import Workshop
from .doubles import PATIENCE_S, streams

BODY = {"model": "m", "prompt": "p"}


async def test_an_instance_that_cannot_be_reached_is_left_out_at_once_and_comes_back(
    workshop: Workshop,
) -> None:
    there = await workshop.deploy(decode=[streams("a"), streams("a")])
    gone, stays = there.decodes
    await gone.stop()
    for _ in range(4):
        answer = await there.post(BODY)
        assert (answer.status, answer.headers["x-pdtest-decode"]) == (200, stays.address)
    _, stats = await there.get("/stats")
    about = {one["instance"]: one for one in stats["decode_instances"]}
    assert (about[gone.address]["in"], about[stays.address]["in"]) == (False, True)
    assert (
        "GET /health" in about[gone.address]["out_because"] or "reached" in about[gone.address]["out_because"]
    )
    assert about[gone.address]["failed"] == 1  # it was tried once, not by each request
    await gone.start()
    await there.until_in(1, 2)
    served = {(await there.post(BODY)).headers["x-pdtest-decode"] for _ in range(2)}
    assert served == {gone.address, stays.address}


async def test_the_last_one_that_cannot_be_reached_is_a_503_that_names_it(workshop: Workshop) -> None:
    there = await workshop.deploy()
    await there.prefill.stop()
    for _ in range(2):
        answer = await there.post(BODY)
        error = json.loads(answer.content)["error"]
        assert (answer.status, error["type"]) == (503, "ServiceUnavailableError")
        assert "prefill" in error["message"]
        assert there.prefill.address in error["message"]
    await there.prefill.start()
    await there.until_in(1, 1)
    assert (await there.post(BODY)).status == 200


async def test_an_instance_is_not_used_before_it_is_healthy(workshop: Workshop) -> None:
    there = await workshop.deploy(wait=False)
    there.prefill.health = 503
    there.proxy.pool.take_out(next(iter(there.proxy.pool)), "for the test")
    await asyncio.sleep(0.1)
    there.proxy.pool.take_out(next(iter(there.proxy.pool)), "for the test")
    answer = await there.post(BODY)
    assert answer.status == 503
    assert there.prefill.seen == []
    there.prefill.health = 200
    await there.until_in(1, 1)
    assert (await there.post(BODY)).status == 200


async def test_health_needs_both_sides(workshop: Workshop) -> None:
    there = await workshop.deploy(decode=[streams("a"), streams("a")])
    for path in ("/health", "/healthcheck"):
        usable = {"prefill_instances": 1, "decode_instances": 2, "hybrid_instances": 0}
        assert await there.get(path) == (200, {"status": "ok", **usable})
    await there.prefill.stop()
    await there.post(BODY)
    for path in ("/health", "/healthcheck"):
        status, body = await there.get(path)
        assert (status, body["prefill_instances"], body["decode_instances"]) == (503, 0, 2)
        assert list(body["out"]) == [there.prefill.address]


async def test_what_an_instance_does_while_it_is_restarted_costs_no_second_request(
    workshop: Workshop,
) -> None:
    """Connections of its former life are in the proxy's pool, and must not be used."""
    there = await workshop.deploy()
    assert (await there.post(BODY)).status == 200
    for engine in (there.prefill, there.decode):
        await engine.stop()
        await engine.start()
    await asyncio.sleep(0.05)
    assert (await there.post(BODY)).status == 200


async def test_nobody_asks_after_an_instance_that_was_removed(workshop: Workshop) -> None:
    there = await workshop.deploy()
    await there.decode.stop()
    await there.post(BODY)
    await there.post({"type": "decode", "instances": [there.decode.address]}, "/instances/remove")
    await asyncio.sleep(0.1)  # while nobody answers, it would be asked again by now
    asked = 0

    async def count(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.close()

    server = await asyncio.start_server(count, "127.0.0.1", there.decode.port)
    await asyncio.sleep(1.2)
    server.close()
    assert asked == 0


async def test_a_request_under_way_outlives_the_removal_of_its_instance(workshop: Workshop) -> None:
    there = await workshop.deploy(decode=streams("a"))
    release = asyncio.Event()
    behaviour = there.decode.behaviour

    async def late(exchange: object) -> None:
        await release.wait()
        await behaviour(exchange)  # type: ignore[arg-type]

    there.decode.behaviour = late
    request = asyncio.create_task(there.post(BODY))
    await asyncio.wait_for(there.decode.arrived.wait(), PATIENCE_S)
    removed = await there.post({"type": "decode", "instances": [there.decode.address]}, "/instances/remove")
    assert json.loads(removed.content)["decode_instances"] == []
    assert (await there.post(BODY)).status == 503
    release.set()
    assert (await request).status == 200
