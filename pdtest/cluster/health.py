"""Members that run and yet serve nobody."""

from __future__ import annotations

from collections.abc import Iterable

import httpx

from pdtest.cluster.member import RunningMember

#: An engine under load answers its probe late; one that is stuck does not answer at all.
_PATIENCE_S = 10.0


def unwell(members: Iterable[RunningMember]) -> list[str]:
    """Names of those that died, or do not answer their readiness probe as they did when they started.

    An engine can be dead for seconds before the server in front of it notices and ends: asked in
    between, it would fail the next test instead of the one that killed it.
    """
    with httpx.Client(timeout=_PATIENCE_S, trust_env=False) as client:
        return [member.name for member in members if not _well(client, member)]


def _well(client: httpx.Client, member: RunningMember) -> bool:
    if not member.launcher.starts:
        return True  # not ours to start again
    if member.died.done():
        return False
    headers = {"Authorization": f"Bearer {member.api_key}"} if member.api_key else {}
    try:
        return client.get(member.probe.url, headers=headers).status_code in member.probe.accept
    except httpx.HTTPError:
        return False
