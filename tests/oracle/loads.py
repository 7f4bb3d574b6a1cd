"""Results of loads, made by hand."""

from __future__ import annotations

from pdtest.results import Better, ClientHealth, Measure, Result

BOUND = "requests were sent 99.7 ms late"


def result_of(
    *,
    valid: bool = True,
    label: str = "default-pd-0",
    target: str = "pd",
    repeat: int = 0,
    **values: float | None,
) -> Result:
    """``values`` by measure name; None: it could not be measured."""
    health = ClientHealth(
        processes=1,
        loop_lag_p99_s=0.0,
        schedule_lag_p99_s=0.0,
        cpu_share=0.1,
        coalesced_share=0.0,
        reasons=() if valid else (BOUND,),
    )
    return Result(
        run="run",
        environment="embedded",
        fingerprint="f" * 16,
        target=target,
        label=label,
        repeat=repeat,
        workload={"name": "default"},
        begun_unix_s=0,
        begun_monotonic_s=0,
        lasted_s=1,
        steady_s=None,
        client=health,
        measures=tuple(
            Measure(
                name=name,
                value=value,
                unit="s" if name.startswith(("ttft", "tpot", "tbt", "e2e")) else "tokens/s",
                better=Better.LOWER,
                why=None if value is not None else "nobody told",
            )
            for name, value in values.items()
        ),
    )
