"""The run of this invocation, and what its tests will ask the reference."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pdtest.client.request import Request
from pdtest.environment.schema import Environment
from pdtest.plugin.run import Run
from pdtest.plugin.stash import RUN, SELECTION


def current_run(config: pytest.Config) -> Run:
    """This invocation's run, made at the first call: sessions without a cluster leave no trace."""
    if RUN not in config.stash:
        config.stash[RUN] = Run(config, config.stash[SELECTION], seed=config.getoption("pdtest_seed"))
    return config.stash[RUN]


def environment_of(item: pytest.Item) -> str | None:
    """The name of the environment a test runs on, None for tests without a cluster."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("cluster") if callspec is not None else None


def requests_wanted(session: pytest.Session, environment: Environment, seed: str) -> Iterator[Request]:
    """What the hook `pdtest_reference_requests` names for the collected tests of an environment."""
    for item in session.items:
        if environment_of(item) == environment.name:
            hook = item.ihook.pdtest_reference_requests
            for requests in hook(item=item, environment=environment, seed=seed):
                yield from requests or ()
