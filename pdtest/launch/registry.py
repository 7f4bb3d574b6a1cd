"""The ways of starting that are known, ours and other packages'."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points

from pdtest.launch.attach import AttachLauncher
from pdtest.launch.launcher import Launcher
from pdtest.launch.local import LocalLauncher
from pdtest.launch.ray import RayLauncher
from pdtest.launch.ssh import SshLauncher

ENTRY_POINTS = "pdtest.launchers"


def launchers() -> Mapping[str, Launcher]:
    """Launchers by the name that environment files use.

    An entry point in the group ``pdtest.launchers`` names a class without arguments; it may
    replace one of ours by using its name.
    """
    ours: list[Launcher] = [LocalLauncher(), SshLauncher(), RayLauncher(), AttachLauncher()]
    theirs: list[Launcher] = [point.load()() for point in entry_points(group=ENTRY_POINTS)]
    return {launcher.name: launcher for launcher in [*ours, *theirs]}
