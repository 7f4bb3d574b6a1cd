"""Environments of one run that want the same device: their clusters cannot be up together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pdtest.cluster.devices import asked_for
from pdtest.environment.schema import Environment
from pdtest.launch.registry import launchers


def rivals(environments: Iterable[Environment]) -> Mapping[str, str]:
    """By name, the first of those that one must not be up with, be it over a third; others are left out.

    On which machine a device is, is not asked: at worst two take turns that need not.
    """
    groups: list[tuple[list[str], set[tuple[str, int]]]] = []
    for environment in environments:
        wanted = {(kind, device) for _, kind, device in asked_for(environment, launchers())}
        joined = [group for group in groups if group[1] & wanted]
        groups = [group for group in groups if group not in joined]
        names = [name for group in joined for name in group[0]]
        groups.append(([*names, environment.name], wanted.union(*(group[1] for group in joined))))
    return {name: names[0] for names, _ in groups if len(names) > 1 for name in names}
