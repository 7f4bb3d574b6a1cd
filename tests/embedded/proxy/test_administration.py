from __future__ import annotations

import json
import logging

import pytest
from prometheus_client.parser import text_string_to_metric_families

from .conftest import Workshop
from .doubles import answers, prefills, streams

BODY = {"model": "m", "prompt": "p"}
KEY = {"x-api-key": "secret"}


async def test_instances_can_be_added_and_removed(workshop: Workshop) -> None:
    there = await workshop.deploy()
    more = await workshop.engine(streams("a"))
    added = await there.post({"type": "decode", "instances": [more.address]}, "/instances/add")
    expected = [there.decode.address, more.address]
    assert json.loads(added.content) == {
        "prefill_instances": [there.prefill.address],
        "decode_instances": expected,
        "hybrid_instances": [],
    }
    assert await there.get("/instances") == (200, json.loads(added.content))
    await there.until_in(1, 2)
    assert {(await there.post(BODY)).headers["x-pdtest-decode"] for _ in range(2)} == set(expected)
    # One that is there already is no second one.
    await there.post({"type": "decode", "instance": more.address}, "/instances/add")
    removed = await there.post({"type": "decode", "instance": there.decode.address}, "/instances/remove")
    assert json.loads(removed.content)["decode_instances"] == [more.address]
    assert (await there.post(BODY)).headers["x-pdtest-decode"] == more.address


async def test_an_added_prefill_brings_its_bootstrap_port(workshop: Workshop) -> None:
    there = await workshop.deploy(prefills(None), contract=("mooncake",))
    there.prefill.others["/query"] = {"0": {"engine_id": "old"}}
    more = await workshop.engine(prefills(None))
    more.others["/query"] = {"0": {"engine_id": "new"}}
    body = {"type": "prefill", "instances": [more.address], "bootstrap_ports": [more.port]}
    assert (await there.post(body, "/instances/add")).status == 200
    await there.until_in(2, 1)
    for _ in range(2):
        assert (await there.post(BODY)).status == 200
    ids = {body["kv_transfer_params"]["remote_engine_id"] for body in there.decode.bodies}
    assert ids == {"old", "new"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"type": "router", "instances": ["h:1"]}, 400),
        ({"instances": ["h:1"]}, 400),
        ({"type": "prefill"}, 400),
        ({"type": "prefill", "instances": ["no port"]}, 400),
        ({"type": "prefill", "instances": ["h:70000"]}, 400),
        ({"type": "prefill", "instances": [1]}, 400),
        ({"type": "prefill", "instances": ["h:1"], "bootstrap_ports": [1, 2]}, 400),
        ([], 400),
        (b"{", 400),
    ],
)
async def test_instances_that_make_no_sense_are_refused(
    workshop: Workshop, body: object, status: int
) -> None:
    there = await workshop.deploy()
    before = await there.get("/instances")
    for path in ("/instances/add", "/instances/remove"):
        assert (await there.post(body, path)).status == status
    assert await there.get("/instances") == before


async def test_removing_one_that_is_not_there_is_a_404(workshop: Workshop) -> None:
    there = await workshop.deploy()
    answer = await there.post({"type": "prefill", "instances": ["h:1"]}, "/instances/remove")
    assert answer.status == 404


async def test_a_key_guards_the_instances(workshop: Workshop) -> None:
    there = await workshop.deploy(instances_key="secret")
    body = {"type": "decode", "instances": ["127.0.0.1:9"]}
    for headers in (None, {"x-api-key": "wrong"}):
        answer = await there.post(body, "/instances/add", headers)
        assert (answer.status, json.loads(answer.content)["error"]["code"]) == (401, 401)
        assert (await there.post(body, "/instances/remove", headers)).status == 401
    assert (await there.post(body, "/instances/add", KEY)).status == 200
    assert (await there.get("/instances"))[0] == 200


async def test_models_are_those_of_an_instance(workshop: Workshop) -> None:
    there = await workshop.deploy(key="of-the-proxy")
    there.decode.others["/v1/models"] = {"object": "list", "data": [{"id": "tiny"}]}
    assert await there.get("/v1/models") == (200, {"object": "list", "data": [{"id": "tiny"}]})
    assert there.decode.seen[0].headers["authorization"] == "Bearer of-the-proxy"


async def test_without_instances_there_are_no_models(workshop: Workshop) -> None:
    there = await workshop.deploy(lists=False)
    status, body = await there.get("/v1/models")
    assert (status, body["error"]["type"]) == (503, "ServiceUnavailableError")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("POST", "/", 404),
        ("GET", "/v1/completions", 405),
        ("POST", "/health", 405),
    ],
)
async def test_unknown_paths_answer_in_openais_shape(
    workshop: Workshop, method: str, path: str, status: int
) -> None:
    there = await workshop.deploy()
    async with there.client.request(method, there.url + path) as answer:
        error = (await answer.json())["error"]
    assert (answer.status, error["code"]) == (status, status)
    assert path in error["message"]


async def test_a_bug_is_a_500_in_openais_shape_and_in_the_log(
    workshop: Workshop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = await workshop.deploy()

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(there.proxy.dispatcher, "choose", broken)
    answer = await there.post(BODY)
    error = json.loads(answer.content)["error"]
    assert (answer.status, error["code"]) == (500, 500)
    assert "ZeroDivisionError" in error["message"]
    assert any(record.levelno >= logging.ERROR for record in caplog.records)


async def test_metrics_count_what_happened(workshop: Workshop) -> None:
    there = await workshop.deploy(decode=[streams("a", "b"), answers(500, {})])
    for _ in range(4):
        await there.post(BODY)
    await there.post(b"{")
    async with there.client.get(there.url + "/metrics") as answer:
        text = await answer.text()
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name.removeprefix("pdtest_proxy_"), *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    good, bad, prefill = there.decodes[0].address, there.decodes[1].address, there.prefill.address
    assert samples["requests_total", "/v1/completions", "200"] == 2
    assert samples["requests_total", "/v1/completions", "500"] == 2
    assert samples["requests_total", "/v1/completions", "400"] == 1
    assert samples["legs_total", prefill, "prefill"] == 4
    assert samples["legs_total", good, "decode"] == samples["first_chunk_seconds_count", good, "decode"] == 2
    assert samples["failures_total", bad, "decode"] == 2
    assert samples["leg_seconds_count", good, "decode"] == 2
    assert samples["leg_seconds_bucket", "+Inf", good, "decode"] == 2
    assert 0 < samples["leg_seconds_sum", good, "decode"] < 10
    assert samples["up", good, "decode"] == 1
    assert samples["in_flight", good, "decode"] == samples["kv_length_tokens", good, "decode"] == 0
    buckets = [value for key, value in samples.items() if key[0] == "leg_seconds_bucket" and good in key]
    assert buckets == sorted(buckets)
