"""What must have come of a client's load, each claim by itself; the limits are the environment's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pdtest.oracle.client_load import ClientLoad
from pdtest.oracle.kv_spread import KvSpread
from pdtest.oracle.suspects import (
    Suspect,
    Whereabouts,
    of_failures,
    of_latency,
    of_spread,
    of_statistics,
    of_transfer,
)
from pdtest.oracle.verdict import Finding, Ruling

#: A client that is later than this with a request does not put on the load that was asked for. Seconds.
_LATE_S = 0.5


class ClientFindings:
    """Findings on one load. Those that fail say where to look."""

    def __init__(self, load: ClientLoad, whereabouts: Mapping[str, Whereabouts]) -> None:
        self._load = load
        self._limits = load.environment.thresholds.client
        self._whereabouts = whereabouts

    def answered(self) -> list[Finding]:
        """More than ``success_rate`` of the requests are."""
        load, least = self._load, self._limits.success_rate
        text = (
            f"{len(load.answered)} of {len(load.launched)} requests were answered, more than {least:.0%} must"
        )
        # 1 cannot be exceeded: it asks for all.
        good = load.success_rate > least or load.success_rate == 1
        return [self._ruled("success rate", good, text, of_failures(load))]

    def named(self) -> list[Finding]:
        """Both legs of every handoff had the same X-Request-Id: engines name their answers after it."""
        strange = [
            f"{hop.member} answered {hop.answer.raw.get('id')} to {handoff.request_id}"
            for handoff in self._load.handoffs
            for hop in (handoff.prefill, handoff.decode)
            if hop is not None and hop.answer and handoff.request_id not in str(hop.answer.raw.get("id"))
        ]
        if not strange and not self._load.answered:
            text = "no handoff was answered, so none has told its name"
            return [Finding(check="request id", ruling=Ruling.INCONCLUSIVE, text=text)]
        text = strange[0] if strange else f"{len(self._load.handoffs)} handoffs, one id each on both legs"
        return [Finding(check="request id", ruling=_ruling(good=not strange), text=text)]

    def transferred(self) -> list[Finding]:
        """At least ``kv_transfer_rate`` of the KV moved, by parameters and counters."""
        transfer, least = self._load.transfer, self._limits.kv_transfer_rate
        if transfer.rate is None:
            text = f"{transfer.gap}: it is not known whether KV moved"
            return [Finding(check="KV transfer", ruling=Ruling.INCONCLUSIVE, text=text)]
        text = (
            f"{transfer.rate:.1%}, {least:.0%} or more must be: parameters of {transfer.handed_over} of "
            f"{transfer.due} handoffs were handed over, {transfer.moved:.0f} of {transfer.demanded} tokens "
            f"moved, {transfer.failures:.0f} failures were counted"
        )
        return [self._ruled("KV transfer", transfer.rate >= least, text, of_transfer(self._load))]

    def in_time(self) -> list[Finding]:
        """The mean latency is below ``mean_latency_s``."""
        total, most = self._load.phases.total, self._limits.mean_latency_s
        if total is None:
            nothing = "no request was answered, so nothing is known of how long one takes"
            return [self._ruled("mean latency", good=False, text=nothing, suspects=of_failures(self._load))]
        text = f"{total.mean:.2f} s, less than {most:g} s is allowed"
        return [self._timed("mean latency", total.mean - most, text, of_latency(self._load), below=True)]

    def put_on(self) -> list[Finding]:
        """At least ``requests_per_s`` arrived; a client that could not keep up decides nothing."""
        load, least = self._load, self._limits.requests_per_s
        text = f"{load.requests_per_s:.2f} requests/s arrived, {least:g} or more must"
        late = max(one.late_s for one in load.launched)
        kept_up = late < _LATE_S and load.requests_per_s >= min(least, load.plan.rate)
        if not kept_up:
            text = f"the client was up to {late:.2f} s late, this machine is too busy for the load: {text}"
            return [Finding(check="load", ruling=Ruling.INCONCLUSIVE, text=text)]
        asked = f"load: {load.plan.load.requests} requests over {load.plan.load.over_s:g} s"
        good = load.requests_per_s >= least
        return [Finding(check="load", ruling=_ruling(good=good), text=text if good else f"{text}; {asked}")]

    def fresh(self) -> list[Finding]:
        """Statistics are never older than ``statistics_age_s``."""
        age, most = self._load.statistics_age_s, self._limits.statistics_age_s
        text = f"the newest were up to {age:.2f} s old, {most:g} s is allowed"
        return [self._timed("KV statistics", age - most, text, of_statistics(self._load))]

    def spread(self) -> list[Finding]:
        """Ranks share the load by KV length; see `pdtest.oracle.kv_spread`. Empty where there is one rank."""
        return [
            finding
            for member, spread in self._load.spreads.items()
            for finding in self._spread(member, spread)
        ]

    def _spread(self, member: str, spread: KvSpread) -> list[Finding]:
        limits, measured = self._limits, spread.measured
        if measured.preference is None or not spread.tells:
            text = (
                f"{member}: {spread.at_once:.1f} requests at once on {len(spread.ranks)} ranks, seen in "
                f"{spread.looks} looks, do not tell by KV length from by count: more load, longer answers, "
                "or statistics that come more often and count requests"
            )
            return [Finding(check="KV preference", ruling=Ruling.INCONCLUSIVE, text=text)]
        preference = (
            f"{member}: unevenness of KV over that of requests is {measured.preference:.2f}, less than "
            f"{limits.kv_preference:g} is by KV length; counting makes "
            f"{spread.by_count.preference or 0:.2f} of the same requests, sending each to the least KV "
            f"{spread.by_length.preference or 0:.2f}"
        )
        imbalance = (
            f"{member}: the fullest rank has {measured.imbalance:.2f} times the mean, a round robin by count "
            f"makes {spread.by_count.imbalance:.2f}: what is above 1 is {spread.excess:.0%} of that, "
            f"{limits.kv_imbalance:.0%} is allowed"
        )
        suspects = of_spread(member)
        return [
            self._ruled("KV preference", measured.preference < limits.kv_preference, preference, suspects),
            self._ruled("KV imbalance", spread.excess <= limits.kv_imbalance, imbalance, suspects),
        ]

    def _timed(
        self, check: str, beyond_s: float, text: str, suspects: Sequence[Suspect], *, below: bool = False
    ) -> Finding:
        """By how much a time is beyond its limit, or at it where it must be ``below``.

        Where the client was late by as much, its machine was too busy, and the time may be its own.
        """
        late = self._load.client_late_s
        good = beyond_s < 0 if below else beyond_s <= 0
        if good or beyond_s > late:
            return self._ruled(check, good, text, suspects)
        text = f"{text}; the client was up to {late:.2f} s late, this machine is too busy to tell"
        return Finding(check=check, ruling=Ruling.INCONCLUSIVE, text=text)

    def _ruled(self, check: str, good: bool, text: str, suspects: Sequence[Suspect]) -> Finding:
        if not good:
            text = "\n".join([text, *(suspect.told(self._whereabouts) for suspect in suspects)])
        return Finding(check=check, ruling=_ruling(good=good), text=text)


def _ruling(*, good: bool) -> Ruling:
    return Ruling.PASS if good else Ruling.FAIL
