"""The names that environment files may use, out of the registries."""

from __future__ import annotations

from pdtest.environment.vocabulary import Term, Vocabulary
from pdtest.launch.registry import launchers
from pdtest.services.registry import services
from pdtest.wire.registry import contracts


def vocabulary() -> Vocabulary:
    """Every service, launcher and contract that is known here, entry points included."""
    ways = launchers()
    return Vocabulary(
        services={
            name: Term(
                ports=service.ports,
                options=service.options_type,
                hybrids=bool(getattr(service, "hybrids", False)),
            )
            for name, service in services().items()
        },
        launchers=frozenset(ways),
        attached=frozenset(name for name, launcher in ways.items() if not launcher.starts),
        tampers={
            name: frozenset(tamper.name for tamper in contract.tampers)
            for name, contract in contracts().items()
        },
    )
