"""The run of this invocation, and the requests its tests will make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import pytest

from pdtest.client.prompts import Prompts
from pdtest.client.request import Request
from pdtest.client.shapes import Bounds
from pdtest.environment.schema import Environment
from pdtest.models.geometry import Geometry
from pdtest.plugin.marks import ASKS
from pdtest.plugin.run import Run
from pdtest.plugin.stash import RUN, SELECTION

#: The argument ``requests`` of the mark `asks`.
Build = Callable[[Prompts, Bounds], Sequence[Request]]


def current_run(config: pytest.Config) -> Run:
    """This invocation's run, made at the first call. xdist's workers have parts of one."""
    if RUN not in config.stash:
        config.stash[RUN] = Run(config, config.stash[SELECTION], seed=config.getoption("pdtest_seed"))
    return config.stash[RUN]


def environment_of(item: pytest.Item) -> str | None:
    """The name of the environment a test runs on, None for tests without a cluster."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("cluster") if callspec is not None else None


def groups_of(items: Iterable[pytest.Item], rivals: Mapping[str, str]) -> dict[str, str]:
    """By the ids of tests that use a cluster, who they must be with: their environment's others.

    ``rivals``: environments that cannot be up together. One worker has them one after the other.
    """
    named = ((item, environment_of(item)) for item in items)
    return {item.nodeid: rivals.get(name, name) for item, name in named if name}


def prompts_of(item: pytest.Item, environment: Environment, seed: str) -> Prompts:
    """The prompts of one test: always the same for one seed, and no other test's."""
    return Prompts(seed=f"{seed}:{item.nodeid}", vocab_size=vocab_size_of(environment))


def declared_prompts_of(item: pytest.Item, environment: Environment, seed: str) -> Prompts:
    """Those of its declared requests, apart from those it asks for while it runs."""
    return Prompts(seed=f"{seed}:{item.nodeid}:asked", vocab_size=vocab_size_of(environment))


def requests_of(item: pytest.Item, environment: Environment, seed: str) -> list[Request]:
    """The requests a test has declared with the mark `asks`, those of its parameters included.

    None for a known issue that is not run: tests that fire their requests together leave them out.
    """
    if _is_not_run(item):
        return []
    prompts, bounds = declared_prompts_of(item, environment, seed), bounds_of(environment)
    declared = [mark.kwargs["requests"] for mark in item.iter_markers(ASKS)]
    return [request for build in declared for request in build(prompts, bounds)]


def _is_not_run(item: pytest.Item) -> bool:
    if item.config.option.runxfail:
        return False
    return any(not mark.kwargs.get("run", True) for mark in item.iter_markers("xfail"))


def requests_wanted(session: pytest.Session, environment: Environment, seed: str) -> Iterator[Request]:
    """What the collected tests of an environment have declared."""
    for item in session.items:
        if environment_of(item) == environment.name:
            yield from requests_of(item, environment, seed)


def bounds_of(environment: Environment) -> Bounds:
    """What shapes must know of an environment's engines."""
    model = environment.model
    geometry = Geometry.read(model.path, dtype=model.dtype)
    return Bounds(
        block_size=model.block_size,
        max_model_len=model.max_model_len,
        # Where the model cannot be read, id 0: no answer then ends early, and both sides agree on that.
        eos_id=min(geometry.eos_ids, default=0) if geometry else 0,
    )


def block_bytes(environment: Environment) -> int | None:
    """Bytes of one KV block over all layers and ranks; None where the model cannot be read."""
    geometry = Geometry.read(environment.model.path, dtype=environment.model.dtype)
    return geometry.block_bytes(environment.model.block_size) if geometry else None


def vocab_size_of(environment: Environment) -> int:
    """Token ids of an environment's model. Raises pytest.UsageError where that is not known."""
    model = environment.model
    geometry = Geometry.read(model.path, dtype=model.dtype)
    size = model.vocab_size or (geometry.vocab_size if geometry else None)
    if size is None:
        raise pytest.UsageError(
            f"environment '{environment.name}': the vocabulary's size is unknown; set model.vocab_size"
        )
    return size
