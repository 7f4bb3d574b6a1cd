"""Whether a member has come to rest."""

from __future__ import annotations

from pdtest.events.record import Event


class QuietSought(Event):
    """A member was watched until it was idle, or until it had been given enough time for that.

    ``kv_usage`` is the share of its KV cache in use, 0 to 1; ``running`` and ``waiting`` are requests; all as
    they were seen last. None: the member does not export it. ``answers``: it still tells anything.
    """

    member: str
    test: str
    answers: bool
    kv_usage: float | None
    running: float | None
    waiting: float | None
    within_s: float

    @property
    def quiet(self) -> bool:
        """It answers, and nothing that it exports says that it still has work, or blocks."""
        return self.answers and not (self.kv_usage or self.running or self.waiting)

    @property
    def left(self) -> str:
        """What it still has, in words."""
        if not self.answers:
            return "no answer"
        seen = {"KV in use": self.kv_usage, "running": self.running, "waiting": self.waiting}
        return ", ".join(f"{name}: {value:g}" for name, value in seen.items() if value)
