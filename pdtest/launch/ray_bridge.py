"""A run's Ray driver, in a process of its own: ``python -m pdtest.launch.ray_bridge``.

Ray belongs to a whole process, once, and ends it when the cluster's head is gone (ray 2.60:
`gcs_rpc_server_reconnect_timeout_s` in src/ray/common/ray_config_def.h): pytest must survive that. Whoever
connects to its socket gets a place on a node and a process there, much as ssh gives one. What goes over
such a connection:

    to it     a line of JSON: {resources, node, labels, spread, patience_s, name}
    from it   frame `a`: {"ok": {node, python, devices}} or {"error": {kind ...}}
    to it     a line of JSON: {argv, env}; then the process's input, until the connection closes
    from it   frames `o`: its output; at last frame `x`: {returncode, said} or {lost}

It says on stdout, once, whether it is connected, and ends when its stdin does and all it placed has ended.
Nothing of pdtest need be on the nodes: what runs there is pickled with its code.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import ray
from ray.exceptions import ActorDiedError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pdtest.launch.frames import framed, told

_CHUNK: Final = 64 * 1024  # small objects travel with the answer, and never see the object store
_KNOCK_S: Final = 5.0
#: A supervisor ends its members before it ends: SIGTERM, two seconds, SIGKILL, and what the kernel takes.
_LAST_WORDS_S: Final = 60.0
_AGAIN_S: Final = 1.0
_TAIL: Final = 4000
_LINE: Final = 300
_VISIBLE: Final = re.compile(r"VISIBLE_(DEVICES|CORES|CHIPS|MODULES)$")


class Refused(Exception):
    """There is no such place, or nobody to give one. ``told``: `kind`, and what goes with it."""

    def __init__(self, kind: str, **told: Any) -> None:
        super().__init__(kind)
        self.told = {"kind": kind, **told}


class Post:
    """On a node: an actor that holds the resources and runs one process."""

    def describe(self) -> dict[str, Any]:
        """What this place is."""
        context = ray.get_runtime_context()
        return {
            "node_id": context.get_node_id(),
            "python": sys.executable,
            "devices": {kind: ids for kind, ids in context.get_accelerator_ids().items() if ids},
        }

    def run(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Start it, with what `ray start` had around it and the devices that Ray gave us."""
        given = {name: value for name, value in os.environ.items() if _VISIBLE.search(name)}
        self._errors = open(os.memfd_create("stderr"), "w+b")  # noqa: SIM115, PTH123 - as long as we live
        self._process = subprocess.Popen(  # noqa: S603 - what we are for
            [sys.executable if word == "{python}" else word for word in argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**_around_ray(), **given, **env},
            start_new_session=True,
        )

    def write(self, data: bytes) -> None:
        """To its input. What it does not want to read any more is lost."""
        with suppress(OSError):
            self._process.stdin.write(data)  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]

    def close(self) -> None:
        """Its input is over."""
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]

    def read(self) -> bytes:
        """A piece of its output, as soon as there is one; empty when there will be none."""
        return os.read(self._process.stdout.fileno(), _CHUNK)  # type: ignore[union-attr]

    def ended(self) -> dict[str, Any]:
        """How it ended, and the last of what it said on stderr."""
        returncode = self._process.wait()
        self._errors.seek(0)
        return {"returncode": returncode, "said": self._errors.read().decode(errors="replace")[-_TAIL:]}


def _around_ray() -> dict[str, str]:
    """The environment of this node's raylet: without what Ray sets in its workers, like OMP_NUM_THREADS."""
    try:
        with open(f"/proc/{os.environ['RAY_RAYLET_PID']}/environ", "rb") as file:  # noqa: PTH123 - travels
            pairs = [pair.decode(errors="surrogateescape") for pair in file.read().split(b"\0")]
    except (OSError, KeyError):
        pairs = [f"{name}={value}" for name, value in os.environ.items() if not name.startswith("RAY_")]
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


class Bridge:
    """Serves connections."""

    def __init__(self) -> None:
        self._serving: set[asyncio.Task[None]] = set()
        # Four at a time: one waits for output while others are written to or asked.
        self._post = ray.remote(max_concurrency=4, max_restarts=0)(Post)

    async def serve(self, path: str) -> None:
        """Until stdin ends, and all that was placed."""
        server = await asyncio.start_unix_server(self._accept, path, limit=1 << 20)
        _say({"ok": {"ray": ray.__version__}})
        await asyncio.to_thread(sys.stdin.buffer.read)
        server.close()
        if self._serving:
            await asyncio.wait(self._serving, timeout=_LAST_WORDS_S)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._attend(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        posts: list[Any] = []
        try:
            wish = json.loads(await reader.readline())
            order = asyncio.ensure_future(reader.readline())
            placing = asyncio.ensure_future(self._place(wish, posts))
            await asyncio.wait({order, placing}, return_when=asyncio.FIRST_COMPLETED)
            if not placing.done():  # nobody wants it any more
                placing.cancel()
                return
            _tell(writer, b"a", {"ok": placing.result()})
            if line := await order:
                what = json.loads(line)
                await posts[-1].run.remote(what["argv"], what["env"])
                await _carry(posts[-1], reader, writer)
        except Refused as refusal:
            _tell(writer, b"a", {"error": refusal.told})
        except Exception as error:  # noqa: BLE001 - Ray's, or a mistake of ours: who asked must hear of it
            _tell(writer, b"x", {"lost": _why(error)})
        finally:
            for post in posts:
                ray.kill(post)
            with suppress(OSError):
                writer.close()
                await writer.wait_closed()

    async def _place(self, wish: Mapping[str, Any], posts: list[Any]) -> dict[str, Any]:
        """Where the last of ``posts`` is, which are made here. Raises Refused, RayError.

        A node that has just died counts as alive until Ray misses it, and what is sent there dies: that is
        tried again, since the node may be back.
        """
        deadline = asyncio.get_running_loop().time() + wish["patience_s"]
        while True:
            posts.append(self._create(wish))
            try:
                async with asyncio.timeout_at(deadline):
                    place: dict[str, Any] = await posts[-1].describe.remote()
            except TimeoutError:
                raise Refused("busy", nodes=[*_shown(_free())]) from None
            except ActorDiedError:
                if asyncio.get_running_loop().time() > deadline:
                    raise
            else:
                node_id = place.pop("node_id")
                node = next(one for one in ray.nodes() if one["NodeID"] == node_id)
                return {"node": node["NodeManagerAddress"], **place}
            await asyncio.sleep(_AGAIN_S)

    def _create(self, wish: Mapping[str, Any]) -> Any:
        """An actor that will be where the wish says. Raises Refused where nobody has what it asks for."""
        fit = _fitting(wish)
        asked = dict(wish["resources"])
        options: dict[str, Any] = {
            "num_cpus": asked.pop("CPU", 0),
            "num_gpus": asked.pop("GPU", 0),
            "memory": asked.pop("memory", None),
            "resources": asked,
            "name": wish["name"],
        }
        if wish["labels"]:
            options["label_selector"] = wish["labels"]
        if wish["node"]:
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(fit[0]["NodeID"], soft=False)
        elif wish["spread"]:
            options["scheduling_strategy"] = "SPREAD"
        try:
            return self._post.options(**options).remote()
        except ValueError as error:  # such as 1.5 GPUs
            raise Refused("invalid", said=str(error)) from None


async def _carry(post: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Both ways, until the process has ended."""
    output = asyncio.ensure_future(_pass_output(post, writer))
    try:
        hearing = asyncio.ensure_future(_pass_input(post, reader))
        await asyncio.wait({output, hearing}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({output}, timeout=_LAST_WORDS_S)
        hearing.cancel()
    finally:
        output.cancel()


async def _pass_output(post: Any, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await post.read.remote():
            writer.write(framed(b"o", data))
            with suppress(OSError):  # nobody listens: then its input is over, too, and it ends
                await writer.drain()
        _tell(writer, b"x", await post.ended.remote())
    except RayError as error:
        _tell(writer, b"x", {"lost": f"Ray reaches our actor there no more ({_why(error)})"})


async def _pass_input(post: Any, reader: asyncio.StreamReader) -> None:
    with suppress(RayError, OSError):
        while data := await reader.read(_CHUNK):
            await post.write.remote(data)
        await post.close.remote()


def _fitting(wish: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The nodes that could give it, if nobody else had anything. Raises Refused."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    meant = [node for node in nodes if _is_meant(node, wish)]
    if not meant:
        raise Refused("no-node", nodes=[*_shown({node["NodeID"]: node["Resources"] for node in nodes})])
    fit = [node for node in meant if _has(node["Resources"], wish["resources"])]
    if not fit:
        raise Refused("nobody-has", nodes=[*_shown({node["NodeID"]: node["Resources"] for node in meant})])
    return fit


def _is_meant(node: Mapping[str, Any], wish: Mapping[str, Any]) -> bool:
    names = {node["NodeManagerAddress"], node["NodeManagerHostname"], node["NodeName"]}
    labels = node.get("Labels", {})
    return (not wish["node"] or wish["node"] in names) and all(
        labels.get(key) == value for key, value in wish["labels"].items()
    )


def _has(resources: Mapping[str, float], wanted: Mapping[str, float]) -> bool:
    return all(resources.get(name, 0) >= amount for name, amount in wanted.items())


def _free() -> Mapping[str, Mapping[str, float]]:
    """What each node has left: in public, Ray tells only of all nodes together."""
    state = ray._private.state  # noqa: SLF001 - Ray's own commands ask it
    found: Mapping[str, Mapping[str, float]] = state.available_resources_per_node()
    return found


def _shown(resources: Mapping[str, Mapping[str, float]]) -> Iterator[dict[str, Any]]:
    """By node, without what Ray adds for itself."""
    for node in ray.nodes():
        if node["NodeID"] in resources:
            own = {
                name: amount
                for name, amount in resources[node["NodeID"]].items()
                if not name.startswith("node:") and name != "object_store_memory"
            }
            own_labels = {key: text for key, text in node.get("Labels", {}).items() if "/" not in key}
            yield {"node": node["NodeManagerAddress"], "resources": own, "labels": own_labels}


def _why(error: Exception) -> str:
    """In one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:_LINE]}"


def _tell(writer: asyncio.StreamWriter, kind: bytes, what: Mapping[str, Any]) -> None:
    with suppress(OSError):
        writer.write(told(kind, what))


def _connect(address: str) -> None:
    """Be a driver of the cluster. Raises Refused."""
    if "://" not in address and ":" in address:
        # Ray would try for minutes, and end the process then.
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()
        except (OSError, ValueError) as error:
            raise Refused("unreachable", said=f"{type(error).__name__}: {error}") from None
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise Refused("unreachable", said=str(error)) from None
    except (RuntimeError, ValueError, OSError, RayError) as error:
        kind = "mismatch" if "ersion mismatch" in str(error) else "unreachable"
        raise Refused(kind, said=str(error)) from None


def _say(what: Mapping[str, Any]) -> None:
    os.write(_OUT, json.dumps(what).encode() + b"\n")


def main() -> None:
    """``argv``: the cluster's address, the path of the socket to make."""
    address, path = sys.argv[1:]
    try:
        _connect(address)
    except Refused as refusal:
        _say({"error": refusal.told})
        os._exit(1)
    asyncio.run(Bridge().serve(path))
    ray.shutdown()
    with suppress(OSError):  # whoever was to remove them may have been killed
        for left in (Path(path), Path(path).with_name("errors")):
            left.unlink(missing_ok=True)
        Path(path).parent.rmdir()


if __name__ == "__main__":
    # What Ray prints must not be taken for an answer.
    _OUT: Final = os.dup(1)
    os.dup2(2, 1)
    main()
