"""What the fixture `client_load` decides before it measures. The suite itself tests the rest."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pdtest.client.endpoint import Endpoint
from pdtest.cluster.cluster import Cluster
from pdtest.environment.load import Watch, WatchSource
from pdtest.environment.schema import Role
from pdtest.oracle.suspects import Whereabouts
from pdtest.plugin.client_load import NothingToFollow, logs_of, whereabouts_of


def cluster(watch: Watch, *, starts: bool) -> Cluster:
    def member(name: str, role: Role) -> Any:
        return SimpleNamespace(
            launcher=SimpleNamespace(starts=starts),
            log=SimpleNamespace(path=Path(f"/run/{name}.log")),
            url=f"http://{name}",
            role=role,
        )

    members = {"prefill": member("prefill", Role.PREFILL), "decode": member("decode", Role.DECODE)}
    environment = SimpleNamespace(name="mine", watch=watch)
    return cast("Cluster", SimpleNamespace(environment=environment, members=members))


DECODES = {"decode": cast("Endpoint", None)}
LOG = Watch(source=WatchSource.LOG)
NAMED = Watch(source=WatchSource.LOG, file="logs/decode_dp.log")


def test_a_started_decodes_own_log_is_followed() -> None:
    logs = dict(logs_of(cluster(LOG, starts=True), DECODES, LOG, Path("/repo")))
    assert logs == {"decode": Path("/run/decode.log")}


def test_a_file_that_is_named_is_followed_from_the_repository_on() -> None:
    logs = dict(logs_of(cluster(NAMED, starts=False), DECODES, NAMED, Path("/repo")))
    assert logs == {"decode": Path("/repo/logs/decode_dp.log")}


def test_the_log_of_an_attached_decode_must_be_named() -> None:
    with pytest.raises(NothingToFollow, match=r"the log of 'decode' is not known") as seen:
        dict(logs_of(cluster(LOG, starts=False), DECODES, LOG, Path("/repo")))
    assert "watch.file in the environment, or watch.source: metrics" in str(seen.value)


def test_logs_are_where_pdtest_writes_them_or_where_the_environment_says() -> None:
    assert whereabouts_of(cluster(Watch(), starts=True))["prefill"] == Whereabouts(
        url="http://prefill", log="/run/prefill.log"
    )
    attached = whereabouts_of(cluster(NAMED, starts=False))
    assert attached["decode"].log == "logs/decode_dp.log"
    assert attached["prefill"].log is None
