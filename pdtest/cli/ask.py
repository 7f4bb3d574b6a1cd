"""`pdtest ask`: one request through a cluster that stands, with everything that can be said of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.markup import escape

from pdtest.cli.catalogue import Home, Root, home_of
from pdtest.cli.standing import chosen, joined
from pdtest.cli.terminal import INVALID, output
from pdtest.client.endpoint import Endpoint
from pdtest.client.endpoints import endpoint_of
from pdtest.client.handoff import Handoff, Hop, Route
from pdtest.client.request import Request
from pdtest.cluster.cluster import Cluster
from pdtest.environment.schema import ENGINE_ROLES, Environment, ReferenceKind, Role
from pdtest.models.geometry import Geometry
from pdtest.oracle.handoffs import Handoffs
from pdtest.oracle.oracle import Oracle
from pdtest.oracle.parity import Tolerance
from pdtest.oracle.reference import BorrowedReference, MemberReference, Reference
from pdtest.oracle.verdict import Ruling, Verdict, conclude
from pdtest.oracle.volley import Volley
from pdtest.wire.evidence import VLLM_TOKENS
from pdtest.wire.registry import contract_for

_COLOURS = {Ruling.PASS: "green", Ruling.FAIL: "bold red", Ruling.INCONCLUSIVE: "yellow"}
#: Exit codes of verdicts.
_CODES = {Ruling.PASS: 0, Ruling.FAIL: INVALID, Ruling.INCONCLUSIVE: 3}


def ask(  # noqa: PLR0913 - one for each option
    prompt: Annotated[str, typer.Argument(help="The prompt; - reads it from standard input.")],
    *,
    max_tokens: Annotated[int, typer.Option(min=1, help="Length of the answer at most.")] = 16,
    chat: Annotated[bool, typer.Option("--chat", help="As a user's message in a chat.")] = False,
    route: Annotated[
        Route | None,
        typer.Option(help="Both legs by the client, or through the proxy; default: the first that can."),
    ] = None,
    env: Annotated[str | None, typer.Option(help="Which cluster; default: the only one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: JSON, on standard output.")] = False,
    rootdir: Root = Path(),
    home: Home = None,
) -> None:
    """Send one request from prefill to decode; show both legs, what they told each other, and the verdict.

    The answer is compared with the colocated instance's, and the counters with what the prompt demands: as a
    test would. Others' requests at the same time spoil the counters. Exit code 0 for a pass, 1 for a fail, 3
    where it cannot be told.

    Example: [bold]pdtest ask "The KV of this sentence is computed elsewhere." --max-tokens 32[/]
    """
    text = typer.get_text_stream("stdin").read() if prompt == "-" else prompt
    make = Request.chat if chat else Request.text
    with joined(chosen(home_of(rootdir, home), env)) as cluster:
        cluster.turn()
        volley, verdict = asyncio.run(_asked(cluster, make(text, max_tokens=max_tokens, stream=True), route))
    (handoff,) = volley.handoffs
    if as_json:
        typer.echo(json.dumps(_as_json(handoff, verdict), indent=2))
    else:
        for line in _lines(handoff, verdict):
            output().print(line)
    raise typer.Exit(_CODES[verdict.ruling])


async def _asked(cluster: Cluster, request: Request, route: Route | None) -> tuple[Volley, Verdict]:
    environment = cluster.environment
    async with httpx.AsyncClient(trust_env=False) as http:
        endpoints = {
            name: endpoint_of(cluster, name, http) for name, one in cluster.members.items() if one.alive
        }
        volley = await _volley(_handoffs(cluster, endpoints), request, route)
        reference = _reference(environment, endpoints)
        if reference is None:
            return volley, conclude("KV moved; nothing to compare the answer with", ())
        oracle = Oracle(
            reference=reference,
            tolerance=Tolerance.of(environment),
            block_size=environment.model.block_size,
        )
        return volley, await oracle.judge(volley, "equal to colocated, with KV moved")


async def _volley(handoffs: Handoffs, request: Request, route: Route | None) -> Volley:
    """What decode has in its own cache need not move: of a prompt that was asked before, nearly all."""
    before = await handoffs.read()
    handoff = await handoffs.send(request, route)
    found = (await handoffs.window(before)).rise(VLLM_TOKENS.cached) or 0
    volley = await handoffs.settle(before, [handoff], int(found))
    # Counters may lag behind the answer.
    late = volley.window.rise(VLLM_TOKENS.cached) or 0
    return volley if late == found else await handoffs.settle(before, [handoff], int(late))


def _handoffs(cluster: Cluster, endpoints: Mapping[str, Endpoint]) -> Handoffs:
    environment = cluster.environment
    roles = ENGINE_ROLES - {Role.COLOCATED}
    engines = {name: one for name, one in endpoints.items() if cluster.members[name].role in roles}
    proxies = [name for name in environment.members_with(Role.PROXY) if name in endpoints]
    geometry = Geometry.read(environment.model.path, dtype=environment.model.dtype)
    return Handoffs(
        environment=environment,
        contract=contract_for(environment.connector.contract),
        engines=engines,
        roles={name: cluster.members[name].role for name in engines},
        proxy=endpoints[proxies[0]] if proxies else None,
        block_bytes=geometry.block_bytes(environment.model.block_size) if geometry else None,
        witness=lambda _: None,
        on_event=lambda _: None,
        test="pdtest ask",
    )


def _reference(environment: Environment, endpoints: Mapping[str, Endpoint]) -> Reference | None:
    """None where the colocated answers are recorded: this one was not."""
    reference = environment.reference
    if reference.kind is ReferenceKind.RECORDED:
        return None
    name = reference.member or next(iter(environment.members_with(Role.COLOCATED)))
    kind = BorrowedReference if reference.kind is ReferenceKind.BORROWED else MemberReference
    return kind(endpoints[name])


def _lines(handoff: Handoff, verdict: Verdict) -> Iterator[str]:
    if handoff.answer is not None:
        for choice in handoff.answer.choices:
            yield f"[bold]{escape(_printable(choice.text))}[/]"
    elif handoff.error is not None:
        yield f"[bold red]{escape(str(handoff.error))}[/]"
    yield ""
    for label, hop in _hops(handoff):
        yield f"[bold]{label}[/] {escape(_hop(hop))}"
        for said, params in (("sent", hop.sent), ("answered", hop.answered)):
            if params is not None:
                yield f"  kv_transfer_params {said}: {escape(json.dumps(params))}"
    yield ""
    yield f"[{_COLOURS[verdict.ruling]}]{verdict.ruling.upper()}[/]: {escape(verdict.claim)}"
    for finding in verdict.findings:
        said = escape(f"{finding.check}: {finding.text}")
        yield f"  [{_COLOURS[finding.ruling]}]{finding.ruling:<12}[/] {said}"


def _printable(text: str) -> str:
    """What a model of random weights says must not steer a terminal."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else f"\\x{ord(letter):02x}" for letter in text
    )


def _hops(handoff: Handoff) -> Iterator[tuple[str, Hop]]:
    for label, hop in (("prefill", handoff.prefill), ("decode", handoff.decode), ("proxy", handoff.proxy)):
        if hop is not None:
            yield label, hop


def _hop(hop: Hop) -> str:
    answer = hop.answer
    if answer is None:
        return f"{hop.member} in {hop.took_s:.3f} s: {hop.error}"
    first = answer.timings.first_token_s
    ttft = "" if first is None else f", first token after {first:.3f} s"
    tokens = f"{answer.usage.prompt_tokens} -> {answer.usage.completion_tokens} tokens"
    return f"{hop.member} in {hop.took_s:.3f} s{ttft}: {tokens}"


def _as_json(handoff: Handoff, verdict: Verdict) -> dict[str, Any]:
    answer = handoff.answer
    return {
        "request_id": handoff.request_id,
        "ending": str(handoff.ending),
        "text": [choice.text for choice in answer.choices] if answer else None,
        "error": str(handoff.error) if handoff.error else None,
        "legs": {
            label: {"member": hop.member, "took_s": hop.took_s, "sent": hop.sent, "answered": hop.answered}
            for label, hop in _hops(handoff)
        },
        "ruling": verdict.ruling,
        "findings": [
            {"check": finding.check, "ruling": finding.ruling, "text": finding.text}
            for finding in verdict.findings
        ],
    }
