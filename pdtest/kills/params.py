"""Bugs in the parameters that a client carries from prefill to decode."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final, cast

from pdtest.kills.mutant import Mutant, Place
from pdtest.wire.contract import Contract, Params
from pdtest.wire.tamper import TamperImpossible

_params = partial(Mutant, place=Place.PARAMS)
_LEAKS: Final[Mapping[str, str]] = {"correctness": "asks nobody whether blocks are given back"}

PARAMS: Final[tuple[Mutant, ...]] = (
    _params(
        name="params-lost",
        bugs=("F2", "F9"),
        switch="no-params",
        does="decode gets no parameters: a silent recompute",
    ),
    _params(
        name="params-not-remote",
        bugs=("F2",),
        switch="no-remote-prefill",
        does="do_remote_prefill is lost: a silent recompute",
    ),
    _params(
        name="params-of-another",
        bugs=("F3", "F6"),
        switch="foreign-blocks",
        does="block ids of the request before",
    ),
    _params(
        name="params-consumed",
        bugs=("F2", "F6"),
        switch="consumed-params",
        does="the parameters of the request before, which were used already",
    ),
    _params(
        name="params-reversed", bugs=("F1",), switch="reversed-blocks", does="block ids in the wrong order"
    ),
    _params(
        name="params-repeated",
        bugs=("F1",),
        switch="duplicated-blocks",
        does="every block id is the first one",
    ),
    _params(
        name="params-dropped-block",
        bugs=("F7", "F11"),
        switch="last-block-dropped",
        does="the last block id is lost",
    ),
    _params(
        name="params-unknown-id",
        bugs=("F4", "F5"),
        switch="unknown-request-id",
        first="test_release",
        unseen=_LEAKS,
        does="prefill's request is misnamed: it is never notified, and its blocks leak until the lease ends",
    ),
    _params(
        name="params-old-engine",
        bugs=("F8",),
        switch="wrong-engine-id",
        does="the engine id of a prefill before its restart",
    ),
    _params(
        name="params-no-request-id",
        bugs=("F5", "F6"),
        switch="request-id-dropped",
        does="remote_request_id is lost",
    ),
)


class MutatedContract:
    """``inner``, which tells decode something else than it should; tests do not know."""

    def __init__(self, inner: Contract, how: str) -> None:
        self._inner, self._how = inner, how
        self._before: Params | None = None

    @classmethod
    def of(cls, inner: Contract, how: str) -> Contract:
        """A contract like any other."""
        return cast("Contract", cls(inner, how))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def params_for_decode(self, known: Params | None) -> dict[str, Any] | None:
        """Falsified, where that is possible; another one's are those of the request before."""
        params = self._inner.params_for_decode(known)
        if params is None:
            return None
        before, self._before = self._before, params
        if before is None and self._how in _OF_ANOTHER:
            return params
        try:
            return self._inner.tampered(self._how, params, before or params)
        except TamperImpossible:
            return params


_OF_ANOTHER: Final = frozenset({"foreign-blocks", "consumed-params"})
