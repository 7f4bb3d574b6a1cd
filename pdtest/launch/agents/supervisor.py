"""Starts, watches and ends members on this host for a run elsewhere, and ends them all when that run is gone.

It talks in lines of JSON. Each request has a number, and gets an answer with that number, `ok` or `error`:

    ports                     claim {port, address}  take {count, address}
    devices                   hold {kind, wanted}  free {kind, ids}
    members                   launch {member, argv, env, files, logs}  end {member, grace_s}
    files                     put {path, data}
    and                       clock {}  beat {}  bye {}

Unasked it says `log` (new bytes of a member's file) and `ended` (a member's return code, after its last
bytes). The run is gone when the input ends, or when nothing was heard for ``silence_s``: then all members
get SIGTERM and, two seconds later, SIGKILL, and only after that ports and devices are free again.
"""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from pdtest.launch.agents.logs import Follower
from pdtest.launch.agents.net import Net
from pdtest.launch.agents.premises import Premises, Unusable, described
from pdtest.launch.agents.wire import Wire, greet
from pdtest.launch.claims import Claims, Denied, Exhausted, PortClaims, default_directory
from pdtest.launch.device_claims import DeviceClaims, device_name
from pdtest.launch.kin import MEMBER_VARIABLE, OWNER_VARIABLE
from pdtest.launch.session import NoProgram, Outlived, Session, check_program, environment
from pdtest.launch.vitals import look_at, look_at_all, send
from pdtest.whole import write_whole

#: Between looks at logs, while they grow and while they do not. A look takes some processor time.
_GROWING_S, _RESTING_S = 0.03, 0.1
#: Beyond its silence, how long a supervisor that lost its run needs to end everything.
_LAST_WORDS_S = 45.0

Answer = dict[str, Any]


def main(settings: dict[str, Any]) -> NoReturn:
    """Serve until the run says bye or is gone.

    ``settings``: owner (tags what is started), workdir, run (a directory there), silence_s, free_mib, ports
    (first and last to choose from, or None).
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _not_for_us)  # not SIG_IGN, which members would inherit
    owner = settings["owner"]
    premises = Premises(settings["workdir"], settings["run"])
    try:
        premises.open(settings["free_mib"])
        net = Net(owner, premises.root / "reaper.log")
        premises.enter(owner, settings["silence_s"] + _LAST_WORDS_S)
    except Unusable as error:
        greet({"error": error.told})
        sys.exit(1)
    premises.clear_old()
    claims = Claims(owner, default_directory())
    greet({"ok": described() | {"root": str(premises.root), "claims": str(claims.directory)}})
    asyncio.run(_serve(settings, premises, net, claims))
    sys.exit(1)


async def _serve(settings: dict[str, Any], premises: Premises, net: Net, claims: Claims) -> NoReturn:
    ports = settings["ports"]
    span = (ports[0], ports[1] + 1) if ports else None
    supervisor = Supervisor(Wire(), premises, net, claims, PortClaims(claims, span), settings["owner"])
    farewell = await supervisor.serve(settings["silence_s"])
    if farewell is None or supervisor.busy:
        net.catch()
    else:
        net.fold()
    claims.release_all()
    if farewell is not None:
        premises.remove()
        await supervisor.bid(farewell)
    os._exit(0 if farewell is not None else 1)  # a thread waits for input that will never come


class Supervisor:
    """Answers requests."""

    def __init__(  # noqa: PLR0913, PLR0917 - what it brings together
        self, wire: Wire, premises: Premises, net: Net, claims: Claims, ports: PortClaims, owner: str
    ) -> None:
        self._wire = wire
        self._root = premises.root
        self._workdir = premises.workdir
        self._net = net
        self._devices = DeviceClaims(owner, claims, net)
        self._ports = ports
        self._owner = owner
        self._sessions: dict[str, Session] = {}
        self._followers: dict[str, Follower] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._requests: dict[str, Callable[[dict[str, Any]], Awaitable[Answer]]] = {
            "beat": _beat,
            "clock": _clock,
            "claim": self._claim,
            "take": self._take,
            "hold": self._hold,
            "free": self._free,
            "launch": self._launch,
            "end": self._end,
            "look": self._look,
            "look_at": _look_at,
            "signal": _signal,
            "put": self._put,
        }

    async def serve(self, silence_s: float) -> int | None:
        """The number under which the run said bye; None when it is gone."""
        self._run(self._pass_on_logs())
        while True:
            message = await _within(self._wire.receive(), silence_s)
            if message is None:
                return None
            if message["do"] == "bye":
                return int(message["id"])
            self._run(self._answer(message))

    @property
    def busy(self) -> bool:
        """Members, or what they started, still run."""
        return any(session.scan() for session in self._sessions.values())

    async def bid(self, farewell: int) -> None:
        """Answer the goodbye, as the last thing of all."""
        self._wire.send({"id": farewell, "ok": {}})
        await self._wire.flushed()

    def _run(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, message: dict[str, Any]) -> None:
        try:
            answer: Answer = {"ok": await self._requests[message["do"]](message)}
        except Denied as error:
            told = {"reason": error.reason, "name": error.name, "address": error.address}
            answer = _error("denied", **told, holder=error.holder)
        except Exhausted as error:
            answer = _error("exhausted", count=error.count, span=error.span)
        except NoProgram as error:
            answer = _error("no-program", program=error.program, found=error.found, path=error.path)
        except Outlived as error:
            answer = _error("outlived", pids=error.pids)
        except OSError as error:
            answer = _error("system", errno=error.errno, said=error.strerror, file=error.filename)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run must hear of it
            answer = _error("failed", said=f"{type(error).__name__}: {error}")
        self._wire.send({"id": message["id"], **answer})

    async def _claim(self, message: dict[str, Any]) -> Answer:
        self._ports.claim(message["port"], message["address"])
        return {}

    async def _take(self, message: dict[str, Any]) -> Answer:
        return {"port": self._ports.take(message["count"], message["address"])}

    async def _hold(self, message: dict[str, Any]) -> Answer:
        self._devices.take(
            {device_name(message["kind"], device): purpose for device, purpose in message["wanted"]}
        )
        return {}

    async def _free(self, message: dict[str, Any]) -> Answer:
        self._devices.free([device_name(message["kind"], device) for device in message["ids"]])
        return {}

    async def _launch(self, message: dict[str, Any]) -> Answer:
        name, argv = message["member"], list(message["argv"])
        directory = self._root / "members" / name
        directory.mkdir(parents=True, exist_ok=True)
        for file, (text, mode) in message["files"].items():
            write_whole(directory / file, text, mode=mode)
        tags = {OWNER_VARIABLE: self._owner, MEMBER_VARIABLE: str(directory)}
        variables = environment(os.environ, message["env"], tags)
        argv[:1] = _beside_us(argv[:1])
        check_program(argv, directory, variables)
        follower = self._followers.setdefault(name, Follower(name, directory, (), self._wire))
        follower.follow(message["logs"])
        log = directory / message["logs"][0]
        session = await Session.start(argv, directory, variables=variables, tags=tags, log=log)
        self._net.lead(session.pid)
        self._sessions[name] = session
        self._run(self._watch(name, session, follower))
        return {"pid": session.pid}

    async def _watch(self, name: str, session: Session, follower: Follower) -> None:
        returncode = await session.wait()
        await follower.drain()
        self._wire.send({"event": "ended", "member": name, "pid": session.pid, "returncode": returncode})

    async def _end(self, message: dict[str, Any]) -> Answer:
        name = message["member"]
        session = self._sessions[name]
        await session.stop(message["grace_s"])
        self._net.leave(session.pid)
        await self._followers[name].drain()
        return {"returncode": session.returncode}

    async def _look(self, message: dict[str, Any]) -> Answer:
        return {"processes": [asdict(one) for one in look_at_all(self._sessions[message["member"]].scan())]}

    async def _put(self, message: dict[str, Any]) -> Answer:
        path = self._workdir / message["path"]
        if message["data"] is None:
            return {"there": path.exists(), "path": str(path)}
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}")
        with part.open("ab" if message["offset"] else "wb") as file:
            file.write(base64.b64decode(message["data"]))
        if message["last"]:
            part.replace(path)
        return {"path": str(path)}

    async def _pass_on_logs(self) -> None:
        while True:
            followers = [] if self._wire.crowded else list(self._followers.values())
            grown = [follower for follower in followers if follower.pass_on()]
            await asyncio.sleep(_GROWING_S if grown else _RESTING_S)


def _not_for_us(number: int, frame: object) -> None:
    """Whoever signals everything in sight must not end the supervisor: it ends when its run does."""


async def _within(work: Awaitable[dict[str, Any] | None], limit_s: float) -> dict[str, Any] | None:
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait({task}, timeout=limit_s)
    return task.result() if done else None


async def _beat(_: dict[str, Any]) -> Answer:
    return {}


async def _clock(_: dict[str, Any]) -> Answer:
    return {"now": time.time()}


async def _look_at(message: dict[str, Any]) -> Answer:
    return {"processes": [asdict(look_at(pid, started)) for pid, started in message["those"]]}


async def _signal(message: dict[str, Any]) -> Answer:
    return {"took": [send(pid, started, message["number"]) for pid, started in message["those"]]}


def _error(kind: str, **data: Any) -> Answer:
    return {"error": {"kind": kind, **data}}


def _beside_us(program: list[str]) -> list[str]:
    """A program of our interpreter's environment, where it has one of that name."""
    beside = [str(Path(sys.executable).parent / name) for name in program if os.sep not in name]
    return [path for path in beside if os.access(path, os.X_OK)] or program
