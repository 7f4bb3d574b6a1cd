"""Complaints of requests that a client gave up: as many as there were, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pdtest.events import Journal, RequestAbandoned
from pdtest.plugin.pardons import Pardons
from pdtest.services.vllm import VllmService

LATE = (
    "(EngineCore pid=1) ERROR 11-21 18:24:40 [pull_worker.py:667] Potentially invalid KV blocks for "
    "unrecognized request cmpl-d46a32-0-b848d2e2 were retrieved by a decode worker. They may have expired."
)
OTHER = "(EngineCore pid=1) ERROR 11-21 18:24:40 [base_worker.py:1318] NIXL transfer failure: handshake"
MEMBERS: Any = dict.fromkeys(("prefill", "prefill-2"), SimpleNamespace(service=VllmService()))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "events.jsonl")
    yield journal
    journal.close()


def give_up(journal: Journal) -> None:
    journal.append(RequestAbandoned(member="router", request_id="pdtest-1", test="t", elapsed_s=0.1))


def test_nothing_is_pardoned_while_no_client_went_away(journal: Journal) -> None:
    errors = {"prefill": [LATE]}
    assert Pardons(journal.path).less(errors, MEMBERS) == errors


def test_each_request_that_was_given_up_is_good_for_one_complaint(journal: Journal) -> None:
    pardons = Pardons(journal.path)
    give_up(journal)
    give_up(journal)
    assert pardons.less({"prefill": [LATE], "prefill-2": [LATE, LATE]}, MEMBERS) == {"prefill-2": [LATE]}
    assert pardons.less({"prefill": [LATE]}, MEMBERS) == {"prefill": [LATE]}


def test_it_may_come_in_a_later_test(journal: Journal) -> None:
    pardons = Pardons(journal.path)
    give_up(journal)
    assert pardons.less({}, MEMBERS) == {}
    assert pardons.less({"prefill": [LATE]}, MEMBERS) == {}


def test_other_errors_are_errors(journal: Journal) -> None:
    give_up(journal)
    assert Pardons(journal.path).less({"prefill": [OTHER, LATE]}, MEMBERS) == {"prefill": [OTHER]}
