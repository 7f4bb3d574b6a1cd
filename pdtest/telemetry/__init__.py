"""What devices and members tell of themselves over time.

`telemetry` is a process of its own that reads devices, the machine and engines while a load runs, and what
they took: energy. `watching` asks one member for the KV of its data-parallel ranks, or follows its log.
"""
