from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pdtest.client.handoff import Ending, Route
from pdtest.client.request import Request
from pdtest.cluster.cluster import Cluster
from pdtest.report.replay import Replay

from .conftest import ClusterOf, Double, by_client, hop

Serve = Callable[..., Double]
FRESH = {"remote_engine_id": "new", "remote_request_id": "request {n}"}
TEST = "suites/transfer/test_x.py::test_it[nixl-'a b'/$HOME]"


def replay(cluster: Cluster, root: Path, *handoffs: Any, test: str = TEST) -> Path:
    script = Replay(test=test, cluster=cluster, handoffs=handoffs).write(root)
    subprocess.run(["bash", "-n", script], check=True)
    return script


def run(script: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it from elsewhere, with what a user's shell has: no key unless it is given here."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        [script],
        cwd="/",
        env={"PATH": path} | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


@pytest.fixture
def pair(serve: Serve, cluster_of: ClusterOf) -> tuple[Double, Double, Cluster]:
    prefill, decode = serve(params=FRESH), serve()
    members = {"prefill": prefill.url, "decode": decode.url}
    return prefill, decode, cluster_of({name: {"role": name, "url": url} for name, url in members.items()})


def test_decode_is_given_what_prefill_answers_now(
    pair: tuple[Double, Double, Cluster], tmp_path: Path
) -> None:
    prefill, decode, cluster = pair
    request = Request.chat("hello", max_tokens=5)

    done = run(replay(cluster, tmp_path / "repro", by_client(request)))

    assert (done.returncode, done.stderr) == (0, "")
    assert prefill.asked[0][0] == decode.asked[0][0] == "/v1/chat/completions"
    assert prefill.request_ids == decode.request_ids == ["id-1"]
    assert prefill.bodies == [
        request.for_prefill().body("tiny")
        | {"kv_transfer_params": {"do_remote_decode": True, "remote_host": None}}
    ]
    assert decode.bodies == [
        request.body("tiny")
        | {"kv_transfer_params": {"remote_engine_id": "new", "remote_request_id": "request 1"}}
    ]
    assert "   status 200, 0." in done.stdout


def test_a_streamed_answer_is_kept_as_it_came(pair: tuple[Double, Double, Cluster], tmp_path: Path) -> None:
    prefill, decode, cluster = pair
    script = replay(cluster, tmp_path, by_client(Request.tokens([1], stream=True)))
    assert run(script).returncode == 0
    assert (prefill.bodies[0]["stream"], decode.bodies[0]["stream"]) == (False, True)
    assert decode.bodies[0]["kv_transfer_params"]["remote_engine_id"] == "new"
    assert (script.parent / "answers/01-decode.sse").read_text().endswith("data: [DONE]\n\n")


def test_falsified_parameters_are_sent_again_as_they_were(
    pair: tuple[Double, Double, Cluster], tmp_path: Path
) -> None:
    _, decode, cluster = pair
    falsified = {"remote_block_ids": [[2, 1]]}
    handoff = by_client(
        decode=hop("decode", sent=falsified, error=500), tampered=True, ending=Ending.DECODE_FAILED
    )
    assert run(replay(cluster, tmp_path, handoff)).returncode == 0
    assert decode.bodies[0]["kv_transfer_params"] == falsified


def test_a_connector_that_hands_nothing_over_sends_nothing(
    pair: tuple[Double, Double, Cluster], tmp_path: Path
) -> None:
    prefill, decode, cluster = pair
    handoff = by_client(prefill=hop("prefill"), decode=hop("decode"), contract="example")
    assert run(replay(cluster, tmp_path, handoff)).returncode == 0
    assert "kv_transfer_params" not in prefill.bodies[0] | decode.bodies[0]


def test_parameters_that_the_client_made_up_itself_are_sent_again(
    pair: tuple[Double, Double, Cluster], tmp_path: Path
) -> None:
    _, decode, cluster = pair
    handoff = by_client(prefill=hop("prefill"), decode=hop("decode", sent={"transfer_id": "t"}))
    assert run(replay(cluster, tmp_path, handoff)).returncode == 0
    assert decode.bodies[0]["kv_transfer_params"] == {"transfer_id": "t"}


def test_a_request_through_the_proxy_goes_there_alone_and_to_the_reference(
    serve: Serve, cluster_of: ClusterOf, tmp_path: Path
) -> None:
    prefill, decode, proxy, plain = serve(), serve(), serve(), serve()
    urls = {"prefill": prefill.url, "decode": decode.url, "proxy": proxy.url, "colocated": plain.url}
    cluster = cluster_of({name: {"role": name, "url": url} for name, url in urls.items()})
    request = Request.tokens([1, 2], stream=True)
    handoff = by_client(request, route=Route.PROXY, prefill=None, decode=None, proxy=hop("proxy"))

    assert run(replay(cluster, tmp_path, handoff)).returncode == 0

    assert (prefill.asked, decode.asked) == ([], [])
    assert proxy.bodies == [request.body("tiny")]
    assert plain.request_ids == ["id-1-reference"]
    assert (plain.bodies[0]["stream"], "stream_options" in plain.bodies[0]) == (False, False)


def test_several_handoffs_keep_their_order_and_their_answers_apart(
    pair: tuple[Double, Double, Cluster], tmp_path: Path
) -> None:
    prefill, decode, cluster = pair
    script = replay(cluster, tmp_path, by_client(), by_client(request_id="id-2"))
    assert run(script).returncode == 0
    assert prefill.request_ids == decode.request_ids == ["id-1", "id-2"]
    assert [body["kv_transfer_params"]["remote_request_id"] for body in decode.bodies] == [
        "request 1",
        "request 2",
    ]
    assert sorted(file.name for file in (script.parent / "answers").iterdir()) == [
        "01-decode.json",
        "01-prefill.json",
        "02-decode.json",
        "02-prefill.json",
    ]


def test_a_prefill_that_fails_now_has_nothing_to_hand_over_and_the_next_request_is_sent(
    serve: Serve, cluster_of: ClusterOf, tmp_path: Path
) -> None:
    prefill, decode = serve(status=500), serve()
    cluster = cluster_of(
        {"prefill": {"role": "prefill", "url": prefill.url}, "decode": {"role": "decode", "url": decode.url}}
    )
    done = run(replay(cluster, tmp_path, by_client(), by_client(request_id="id-2")))
    assert done.returncode == 1
    assert (len(prefill.asked), decode.asked) == (2, [])
    assert done.stdout.count("   status 500") == done.stdout.count("   nothing to hand over") == 2


def test_a_member_that_is_gone_does_not_end_the_replay(
    pair: tuple[Double, Double, Cluster], cluster_of: ClusterOf, tmp_path: Path
) -> None:
    prefill, decode, cluster = pair
    script = replay(cluster, tmp_path, by_client(decode=None), by_client())
    done = run(script, PREFILL_URL="http://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stdout.count("   no answer") == 2
    assert prefill.asked == decode.asked == []


def test_an_answer_of_an_earlier_replay_is_not_handed_over(
    pair: tuple[Double, Double, Cluster], tmp_path: Path
) -> None:
    _, decode, cluster = pair
    script = replay(cluster, tmp_path, by_client())
    assert run(script).returncode == 0
    assert run(script, PREFILL_URL="http://127.0.0.1:9").returncode == 1
    assert len(decode.asked) == 1


def test_members_that_answer_elsewhere_are_said_by_variable(
    pair: tuple[Double, Double, Cluster], serve: Serve, tmp_path: Path
) -> None:
    prefill, decode, cluster = pair
    elsewhere = serve()
    assert run(replay(cluster, tmp_path, by_client()), DECODE_URL=elsewhere.url).returncode == 0
    assert (len(prefill.asked), len(decode.asked), len(elsewhere.asked)) == (1, 0, 1)


def test_the_api_key_comes_from_its_variable_and_is_written_nowhere(
    serve: Serve, cluster_of: ClusterOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_KEY", "hunter2")
    prefill, decode = serve(params=FRESH), serve()
    cluster = cluster_of(
        {
            "prefill": {"role": "prefill", "url": prefill.url, "api_key_env": "ENGINE_KEY"},
            "decode": {"role": "decode", "url": decode.url},
        }
    )
    script = replay(cluster, tmp_path / "repro", by_client())

    assert run(script, ENGINE_KEY="hunter2").returncode == 0
    assert prefill.asked[0][1]["authorization"] == "Bearer hunter2"
    assert "authorization" not in decode.asked[0][1]
    written = [file for file in (tmp_path / "repro").rglob("*") if file.is_file()]
    assert len(written) == 6
    assert not [file for file in written if "hunter2" in file.read_text()]

    missing = run(script)
    assert missing.returncode != 0
    assert "ENGINE_KEY: holds the API key of prefill" in missing.stderr
    assert len(prefill.asked) == 1


def test_the_api_key_is_on_no_command_line(
    serve: Serve, cluster_of: ClusterOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_KEY", "hunter2")
    prefill = serve(params=FRESH)
    cluster = cluster_of({"prefill": {"role": "prefill", "url": prefill.url, "api_key_env": "ENGINE_KEY"}})
    spy = tmp_path / "bin/curl"
    spy.parent.mkdir()
    spy.write_text(f'#!/bin/bash\necho "$@" >> {tmp_path}/seen\n')
    spy.chmod(0o755)
    script = replay(cluster, tmp_path / "repro", by_client(decode=None))
    monkeypatch.setenv("PATH", f"{spy.parent}:{os.environ['PATH']}")
    subprocess.run([script], check=True, capture_output=True)
    seen = (tmp_path / "seen").read_text()
    assert prefill.url in seen
    assert "hunter2" not in seen


def test_members_whose_names_bash_cannot_spell_have_variables_of_their_own(
    serve: Serve, cluster_of: ClusterOf, tmp_path: Path
) -> None:
    names = ["decode-a", "decode_a", "DECODE-A", "2nd", "de'c$de"]
    doubles = {name: serve() for name in names}
    cluster = cluster_of({name: {"role": "decode", "url": double.url} for name, double in doubles.items()})
    handoffs = [by_client(request_id=name, prefill=None, decode=hop(name)) for name in names]
    done = run(replay(cluster, tmp_path, *handoffs))
    assert (done.returncode, done.stderr) == (0, "")
    assert {name: double.request_ids for name, double in doubles.items()} == {name: [name] for name in names}


def test_a_url_is_never_taken_for_shell(cluster_of: ClusterOf, tmp_path: Path) -> None:
    cluster = cluster_of({"decode": {"role": "decode", "url": "http://127.0.0.1:9/$(touch pwned)'`id`}"}})
    script = replay(cluster, tmp_path, by_client(prefill=None))
    done = run(script)
    assert "-> http://127.0.0.1:9/$(touch pwned)'`id`}/v1/completions (id-1)" in done.stdout
    assert not (script.parent / "pwned").exists()


def test_a_test_that_fails_twice_has_two_replays(
    pair: tuple[Double, Double, Cluster], tmp_path: Path
) -> None:
    first = replay(pair[2], tmp_path, by_client(), by_client(request_id="id-2"))
    second = replay(pair[2], tmp_path, by_client(request_id="id-3"))
    assert first.parent != second.parent
    assert sorted(file.name for file in second.parent.iterdir()) == [
        "01-decode.json",
        "01-prefill.json",
        "replay.sh",
    ]
    assert "id-1" in first.read_text()


@pytest.mark.parametrize(
    ("test", "directory"),
    [
        (TEST, "transfer_test_x.py_test_it_nixl-_a_b_HOME"),
        ("suites/t.py::test[" + "ä" * 200 + "]", "t.py_test"),
        ("x" * 300, "x" * 150),
        ("..", "test"),
    ],
)
def test_the_directory_is_named_after_the_test(
    test: str, directory: str, pair: tuple[Double, Double, Cluster], tmp_path: Path
) -> None:
    assert replay(pair[2], tmp_path, by_client(), test=test).parent == tmp_path / directory
