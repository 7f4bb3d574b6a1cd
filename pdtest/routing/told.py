"""Observers of routers that name the instances in each answer: in its headers, or in its id."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from pdtest.client.answer import Answer
from pdtest.client.endpoint import Endpoint
from pdtest.routing.addresses import Addresses
from pdtest.routing.observer import Send
from pdtest.routing.served import Observation, Served

#: Addresses of the instances for prompt and answer; None where the answer names none.
Named = tuple[str | None, str | None]

#: vllm-router 0.1.17 and P2P NCCL's proxy (vLLM 0.23, disagg_proxy_p2p_nccl_xpyd.py) name a request so, for
#: both engines. vLLM puts its own prefix before it, and what it puts behind does not matter here.
_ADDRESSED = re.compile(r"___prefill_addr_(?P<prefill>.+?)___decode_addr_(?P<decode>.+?:\d+)(?=_|$)")


class Told(ABC):
    """Reads who served a request out of its answer: a claim of the router's, and no more than that.

    A router that says one thing and does another is found by its engines' counters
    (`pdtest.routing.counted`), with which ``tests/routing`` holds every observer.
    """

    name: str
    #: Where the addresses are, in words.
    place: ClassVar[str]

    def __init__(self, engines: Mapping[str, Endpoint]) -> None:
        self._addresses = Addresses.of(engines)

    @abstractmethod
    def named(self, answer: Answer) -> Named:
        """The addresses that ``answer`` names."""

    async def observe(self, send: Send) -> Observation:
        """Who served what ``send`` sends, by what each answer says."""
        answers = await send()
        names = [self.named(answer) for answer in answers]
        served = tuple(
            Served(
                request_id=answer.request_id,
                prefill=self._member(prefill),
                decode=self._member(decode),
            )
            for answer, (prefill, decode) in zip(answers, names, strict=True)
        )
        return Observation(served=served, unknown="; ".join(dict.fromkeys(self._gaps(answers, names))))

    def _member(self, address: str | None) -> str | None:
        return None if address is None else self._addresses.member(address)

    def _gaps(self, answers: Sequence[Answer], names: Sequence[Named]) -> Iterator[str]:
        for answer, pair in zip(answers, names, strict=True):
            for side, address in zip(("prefill", "decode"), pair, strict=True):
                if address is None:
                    yield f"answers of '{answer.member}' name no {side} instance in {self.place}"
                elif self._addresses.member(address) is None:
                    yield f"{self.place} names {address} for {side}, which is no engine of this environment"


class HeaderObserver(Told):
    """The embedded proxy's: ``x-pdtest-prefill`` and ``x-pdtest-decode``.

    One instance that did all of a request stands in both.
    """

    name = "headers"
    place = "x-pdtest-prefill and x-pdtest-decode"

    def named(self, answer: Answer) -> Named:
        """As the headers of the answer say."""
        return answer.headers.get("x-pdtest-prefill"), answer.headers.get("x-pdtest-decode")


class RequestIdObserver(Told):
    """vllm-router's and P2P NCCL's: the id that the engines were given is in the answer's own.

    The header ``x-request-id`` of vllm-router's answers is the client's, or one of the router's for its log:
    neither engine has seen it (0.1.17).
    """

    name = "request-id"
    place = "the answer's id"

    def named(self, answer: Answer) -> Named:
        """As the id in the body says."""
        found = _ADDRESSED.search(str(answer.raw.get("id", "")))
        return (found["prefill"], found["decode"]) if found else (None, None)
