from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from pdtest.compare import compare
from pdtest.compare.gains import FILE as TOPOLOGIES
from pdtest.compare.gains import Claimed, Gains
from pdtest.events import (
    DriftSeen,
    Event,
    FaultArmed,
    FaultLifted,
    FaultVerified,
    HandoffFinished,
    HopRecord,
    Journal,
    MemberDied,
    MemberReady,
    MemberRestarted,
    MemberStarting,
    MemberStopped,
    MemberSurveyed,
    QuietSought,
    Recovered,
    RequestAnswered,
    RequestErrored,
    RequestSent,
    RunBegan,
    RunEnded,
    TestEnded,
    VerdictReached,
    XrayTaken,
)
from pdtest.kills.mutant import Mutant, Place
from pdtest.kills.table import Cell, KillTable, Outcome
from pdtest.metrics import measures_of
from pdtest.report.replay import slug
from pdtest.results import (
    Better,
    ClientHealth,
    Exchange,
    Measure,
    Monitor,
    Piece,
    Reading,
    Result,
    write_result,
)

#: When the made-up run began, seconds of the epoch.
T0: Final = 1_790_000_000.0
ENVIRONMENT: Final = "gpu-made-up"
WRONG: Final = "suites/correctness/test_shapes.py::test_shape[chat-gpu-made-up-client]"
LATE: Final = "suites/recovery/test_scenarios.py::test_scenario[gpu-made-up-decode-killed-client]"
RATES: Final = (4, 8, 32)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up run that has left everything that a run can leave. Not to be changed."""
    directory = tmp_path_factory.mktemp("runs") / "20260921-142640-abc123"
    journal = Journal(directory / "events.jsonl")
    for event in events(directory):
        journal.append(event)
    journal.close()
    _files(directory)
    results = [*_loads(directory)]
    pd, single = ([one for one in results if one.target == side][:2] for side in ("pd", "single"))
    compared = compare(single, pd, names=("single", "pd"), same_conditions=False)
    text = compared.model_dump_json(indent=1)
    (directory / ENVIRONMENT / "comparison-pd.json").write_text(text, encoding="utf-8")
    topologies = Gains(
        environment=ENVIRONMENT,
        workload="default",
        measures=("output_tokens_per_s", "ttft_p50"),
        hardware={"single": "2 engines on 2 cuda", "pd": "2 engines on 2 cuda"},
        comparisons=(compared,),
        claims=(Claimed(topology="pd", measure="ttft_p50", ruling="fail", text="claimed is < 0.5: refuted"),),
        notes=("no tokens_per_joule: nobody told",),
    )
    (directory / ENVIRONMENT / TOPOLOGIES).write_text(topologies.model_dump_json(), encoding="utf-8")
    led = json.dumps(client_load())
    (directory / ENVIRONMENT / "client-load.json").write_text(led, encoding="utf-8")
    (directory / "kills.json").write_text(json.dumps(kills().as_json()), encoding="utf-8")
    return directory


def events(directory: Path) -> Iterator[Event]:
    """Of a run of a minute: a wrong answer, a fault that nobody saw take effect, a member's death."""
    members = directory / ENVIRONMENT / "members"
    yield RunBegan(
        at=T0, run=directory.name, seed="5eed",
        argv=("pytest", "--env", ENVIRONMENT, "-k", "moves and client"),
        environments=(ENVIRONMENT,), host="gpu-runner-7", system="Linux 6.8 x86_64",
        processor="A processor", cores=64, memory_bytes=2**38,
        python="3.11.9", versions={"pdtest": "0.1.0", "vllm": "0.32.0"},
    )  # fmt: skip
    for name, role in (("prefill", "prefill"), ("decode", "decode"), ("proxy", "proxy")):
        yield starting(name, role, str(members / name), at=T0 + 0.1)
    for number, name in enumerate(("proxy", "prefill", "decode")):
        yield MemberReady(at=T0 + 2 + number * 3, member=name, elapsed_s=1.9 + number * 3)
    for number in range(30):
        at = T0 + 10 + number * 0.2
        yield TestEnded(
            at=at, test=f"suites/transfer/test_moved.py::test_moves[{number}]",
            environment=ENVIRONMENT if number else None,
            outcome="passed", took_s=0.19, properties={"tokens": number},
        )  # fmt: skip
    yield from _wrong_answer()
    yield XrayTaken(
        at=T0 + 21, test=WRONG, repeated=True, requests=("pdtest-1",), equal=0,
        findings=(("pdtest-1", ("layer 2 differs",)),),
        pictures=(f"/elsewhere/{directory.name}/{ENVIRONMENT}/xray/1.png",),
    )  # fmt: skip
    yield from _unseen_fault()
    yield Recovered(at=T0 + 33, scenario="decode-killed, client", test=LATE, took_s=7.54, attempts=2)
    yield Recovered(at=T0 + 34, scenario="proxy-killed, client", test="other", took_s=1.2, attempts=1)
    yield MemberSurveyed(
        at=T0 + 1, member="router", role="proxy", url="http://gpu-9:8000", models=("m",), version="0.1.16",
        max_model_len=None, block_size=None, connector=None, kv_role=None,
    )  # fmt: skip
    yield DriftSeen(
        at=T0 + 1, environment=ENVIRONMENT, member="router", what="version", expected="0.1.15", seen="0.1.16",
        hard=False,
    )  # fmt: skip
    for name in ("prefill", "decode", "proxy"):
        yield QuietSought(
            at=T0 + 50, member=name, test=LATE, answers=True, kv_usage=0.25 if name == "prefill" else 0,
            running=0, waiting=0, within_s=5,
        )  # fmt: skip
        yield MemberStopped(at=T0 + 58, member=name, returncode=0, elapsed_s=0.4)
    yield RunEnded(at=T0 + 60, status=1, took_s=60.0)


def starting(name: str, role: str, directory: str, *, at: float) -> MemberStarting:
    return MemberStarting(
        at=at,
        member=name,
        role=role,
        service="vllm",
        url="http://127.0.0.1:8100",
        pid=4711,
        directory=directory,
    )


def _wrong_answer() -> Iterator[Event]:
    for number in range(6):
        begun = T0 + 18 + number * 0.1
        hop: dict[str, Any] = {"sent": {}, "answered": {}, "error": None}
        yield HandoffFinished(
            at=begun + 0.9, request_id=f"pdtest-{number}00000000000", test=WRONG, contract="nixl",
            route="client", outcome="answered", digest="d", prompt_tokens=320, completion_tokens=16,
            prefill=HopRecord(member="prefill", started_s=0.0, first_token_s=None, ended_s=0.3, **hop),
            decode=HopRecord(member="decode", started_s=0.31, first_token_s=0.5, ended_s=0.9, **hop),
            proxy=None, tampered=False, breaches=(), extra=(), drift=(), error=None, total_s=0.9,
        )  # fmt: skip
    findings = (
        ("contract", "pass", "3 messages as nixl has it"),
        ("parity", "fail", "corruption: choice 0: token 4 (KV block 2) is 5, the reference has 199"),
    )
    yield VerdictReached(
        at=T0 + 20, test=WRONG, claim="a <chat> is answered as by one instance", ruling="fail",
        findings=findings, request_ids=("pdtest-1",),
    )  # fmt: skip
    yield TestEnded(
        at=T0 + 22, test=WRONG, environment=ENVIRONMENT, outcome="failed", took_s=4.2,
        message="VerdictFailed: a <chat> is answered as by one instance", text="E   <traceback> & all",
        sections=(
            ("pdtest", "FAIL: a chat\n  log of prefill | ERROR something & more <b>"),
            ("x-ray", "layer 2 #"),
        ),
    )  # fmt: skip


def _unseen_fault() -> Iterator[Event]:
    at = T0 + 26
    yield sent(at - 0.5, "decode", "pdtest-aaaaaaaaaa")
    yield FaultArmed(at=at, fault="kill", target="decode", test=LATE)
    yield FaultVerified(
        at=at + 0.04, fault="kill", target="decode", test=LATE, seen="4711 ended", after_s=0.04
    )
    yield MemberDied(
        at=at + 0.05,
        member="decode",
        returncode=-9,
        diagnosis="killed from outside",
        last_lines=("the last line",),
    )
    yield RequestErrored(
        at=at + 0.1, member="decode", request_id="pdtest-aaaaaaaaaa", test=LATE, error="MemberDiedWaiting",
        message="died", status=None, body=None, elapsed_s=0.6,
    )  # fmt: skip
    yield MemberRestarted(at=at + 0.5, member="decode", generation=2)
    yield starting("decode", "decode", f"/elsewhere/{ENVIRONMENT}/members/decode", at=at + 0.5)
    yield MemberReady(at=at + 5, member="decode", elapsed_s=4.5)
    yield FaultLifted(at=at + 5, fault="kill", target="decode", test=LATE, lasted_s=5.0)
    yield FaultArmed(at=at + 5.1, fault="cut", target="* -> prefill:side_channel", test=LATE)
    yield sent(at + 5.5, "prefill", "pdtest-bbbbbbbbbb")
    yield RequestAnswered(
        at=at + 6, member="prefill", request_id="pdtest-bbbbbbbbbb", test=LATE, status=200, prompt_tokens=8,
        completion_tokens=4, cached_tokens=None, finish_reasons=("length",), params=None, first_byte_s=0.1,
        first_token_s=0.2, last_token_s=0.5, total_s=0.5,
    )  # fmt: skip
    yield TestEnded(
        at=at + 7, test=LATE, environment=ENVIRONMENT, outcome="inconclusive", took_s=7.0,
        message="fault not verified: cut on * -> prefill:side_channel",
    )  # fmt: skip


def sent(at: float, member: str, request_id: str) -> RequestSent:
    return RequestSent(
        at=at, member=member, request_id=request_id, test=LATE, path="/", digest="d", prompt_tokens=8,
        max_tokens=4, n=1, stream=True, params=None,
    )  # fmt: skip


def _files(directory: Path) -> None:
    environment = directory / ENVIRONMENT
    for member in ("prefill", "decode", "proxy"):
        folder = environment / "members" / member
        folder.mkdir(parents=True)
        (folder / "command.sh").write_text("exec vllm\n", encoding="utf-8")
        lines = "\n".join(f"INFO line {number} of {member} <tag>" for number in range(100))
        (folder / f"{member}.log").write_text(lines + "\n", encoding="utf-8")
    text = f"name: {ENVIRONMENT}\ndescription: two GPUs\nconnector:\n  contract: [nixl]\n"
    (environment / "environment.resolved.yaml").write_text(text, encoding="utf-8")
    (environment / "xray").mkdir()
    (environment / "xray" / "1.png").write_bytes(_png(320, 120))
    replay = directory / "repro" / slug(WRONG) / "replay.sh"
    replay.parent.mkdir(parents=True)
    replay.write_text("#!/bin/sh\n", encoding="utf-8")


def client_load() -> dict[str, Any]:
    """What a load that the client led leaves behind: ten requests on two ranks, one of them failed."""
    requests = [
        {
            "request_id": f"pdtest-{number}{number}",
            "prompt_tokens": 100,
            "planned_s": number * 0.5,
            "started_s": number * 0.5 + 0.01,
            "ended_s": number * 0.5 + 2,
            "ending": "answered" if number else "decode failed",
            "prefill_s": 0.4,
            "decode_s": 1.5 if number else None,
            "error": None if number else "status 500: engine is dead\n  where decode",
        }
        for number in range(10)
    ]
    ranks = {rank: {"kv_tokens": None, "kv_usage": 0.25, "running": 2, "waiting": 0} for rank in ("0", "1")}
    looks = [
        {"asked_s": number * 0.25, "seen_s": number * 0.25 + 0.01, "ranks": ranks} for number in range(20)
    ]
    return {
        "environment": ENVIRONMENT,
        "load": {"over_s": 5.0},
        "numbers": {
            "success_rate": 0.9,
            "total_mean_s": 1.99,
            "requests_per_s": 2.0,
            "statistics_age_s": None,
        },
        "requests": requests,
        "kv": {"decode": {"looks": looks, "problems": []}},
    }


def _png(width: int, height: int) -> bytes:
    """All of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress((b"\0" + b"\xc0\x30\x40" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _loads(directory: Path) -> Iterator[Result]:
    """Each rate on both targets, the first one twice; one of them bound by its client."""
    for rate in RATES:
        for repeat in range(2 if rate == RATES[0] else 1):
            for target in ("pd", "single"):
                yield load(directory, target=target, rate=rate, repeat=repeat)


def load(directory: Path, *, target: str, rate: int, repeat: int) -> Result:
    """As a deployment would answer that can do 20 requests/s."""
    chance = random.Random(f"{target} {rate} {repeat}")  # noqa: S311 - no secret
    exchanges = [*_exchanges(chance, rate=rate, slow=1.0 if target == "pd" else 1.6)]
    lasted_s = max(one.ended_s for one in exchanges)
    name = "default" if rate == RATES[0] else f"rate-{rate}"
    monitors = [*_monitors(chance, lasted_s)]
    energy = Measure(
        name="energy_per_token", value=0.4 + chance.random() / 20, unit="J/token", better=Better.LOWER
    )
    result = Result(
        run=directory.name,
        environment=ENVIRONMENT,
        fingerprint=f"{target:0>16}",
        target=target,
        label=f"{name}-{target}-{repeat}",
        repeat=repeat,
        workload={
            "name": name,
            "arrivals": {"pattern": "poisson", "rate": rate},
            "prompt": {"shape": "fixed", "tokens": 512},
            "answer": {"shape": "uniform", "shortest": 8, "longest": 40},
            "requests": len(exchanges),
            "seed": 1,
        },
        begun_unix_s=T0 + 34 + rate + repeat,
        begun_monotonic_s=100.0,
        lasted_s=lasted_s,
        steady_s=(0.1 * lasted_s, 0.8 * lasted_s),
        client=ClientHealth(
            processes=2,
            loop_lag_p99_s=0.0004,
            schedule_lag_p99_s=0.0011,
            cpu_share=0.31,
            coalesced_share=0.02,
            reasons=("its event loop was late by 31 ms (p99), limit 10 ms",) if rate == RATES[-1] else (),
        ),
        measures=(
            *measures_of(exchanges, lasted_s=lasted_s, steady_s=(0.1 * lasted_s, 0.8 * lasted_s)),
            energy,
            Measure(name="phase_prefill_mean", value=0.06, unit="s"),
            Measure(name="phase_transfer_mean", value=0.01, unit="s"),
            Measure(name="phase_decode_mean", value=0.4, unit="s"),
            Measure(name="phase_decode_share", value=0.85, unit="1"),
            Measure(name="kv_transfer_success_rate", value=None, unit="1", why="no engine counts them"),
        ),
        monitors=tuple(monitor.name for monitor in monitors),
    )
    write_result(directory / ENVIRONMENT / "loads" / result.label, result, exchanges, monitors)
    return result


def _exchanges(chance: random.Random, *, rate: int, slow: float) -> Iterator[Exchange]:
    due, free = 0.0, 0.0
    for number in range(110):
        due += chance.expovariate(rate)
        sent = due + chance.random() * 0.001
        begin = max(sent, free)
        free = begin + slow * 0.05
        prefill, transfer = slow * chance.uniform(0.04, 0.09), chance.uniform(0.002, 0.01)
        first = begin + prefill + transfer
        count = chance.randrange(8, 40)
        times = [first]
        for _ in range(count - 1):
            times.append(times[-1] + chance.lognormvariate(-4, 0.3))
        failed = number % 53 == 52
        yield Exchange(
            number=number, request_id=f"r{number}", due_s=due, sent_s=sent, first_byte_s=first,
            pieces=() if failed else tuple(Piece(at_s=at, tokens=1, read=n) for n, at in enumerate(times)),
            ended_s=sent + 0.2 if failed else times[-1], prompt_tokens=512, max_tokens=count,
            completion_tokens=None if failed else count, finish_reason=None if failed else "length",
            status=503 if failed else 200, error="status 503: no capacity" if failed else None,
            phases={"queue": begin - sent, "prefill": prefill, "transfer": transfer},
        )  # fmt: skip


def _monitors(chance: random.Random, lasted_s: float) -> Iterator[Monitor]:
    every = 0.1
    times = [number * every for number in range(int(lasted_s / every))]
    for name, base in (("nvidia0", 320.0), ("nvidia1", 210.0)):
        readings = tuple(
            Reading(
                at_s=at,
                values={
                    "power_w": base + chance.gauss(0, 12) + 60 * (0.2 < at / lasted_s < 0.8),
                    "graphics_clock_mhz": 1980 - chance.randrange(3) * 15,
                    "utilisation": min(1.0, 0.7 + chance.random() * 0.3),
                    "temperature_c": 55 + 10 * at / lasted_s,
                    "energy_j": base * at,
                },
            )
            for at in times
        )
        units = {
            "power_w": "W",
            "graphics_clock_mhz": "MHz",
            "utilisation": "1",
            "temperature_c": "°C",
            "energy_j": "J",
        }
        yield Monitor(
            kind="nvidia", name=name, members=("prefill",), every_s=every, true_every_s=0.1004,
            cost_cpu_share=0.004, units=units, readings=readings,
            missing={"memory_clock_mhz": "not supported"},
        )  # fmt: skip
    kv = tuple(
        Reading(at_s=at, values={"kv_usage": chance.random() / 2, "running": chance.randrange(9)})
        for at in times
    )
    yield Monitor(
        kind="member", name="decode", every_s=every, true_every_s=0.11,
        units={"kv_usage": "1", "running": "requests"}, readings=kv,
    )  # fmt: skip
    yield Monitor(
        kind="cpu", name="package0", every_s=every, true_every_s=None, units={}, readings=(),
        missing={"*": "no leave to read /sys/class/powercap"},
    )  # fmt: skip


def kills() -> KillTable:
    """Of three mutants one survives, and a test fails with none planted."""
    table = KillTable(
        environment=ENVIRONMENT,
        mutants=[
            Mutant(name=name, place=place, bugs=("F1",), does="spoils one block", switch="zeroed")
            for name, place in (
                ("kv-zeroed", Place.KV),
                ("kv-scaled", Place.KV),
                ("proxy-seed-lost", Place.PROXY),
            )
        ],
        suites=["correctness", "transfer"],
        took_s=312.0,
        false_alarms=["suites/transfer/test_moved.py::test_moves[3]"],
        absent={"params-late": "made-up has no client"},
    )
    killed = Cell(
        outcome=Outcome.KILLED, test="suites/x.py::test_x[e]", seconds=0.256, located="layer 2, block 3"
    )
    table.cells = {(mutant.name, suite): killed for mutant in table.mutants for suite in table.suites}
    table.cells["kv-scaled", "transfer"] = Cell(outcome=Outcome.SURVIVED)
    return table
