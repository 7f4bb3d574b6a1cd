"""Which rules there are."""

from __future__ import annotations

from pdtest.embedded.proxy.routing.adaptive import Adaptive
from pdtest.embedded.proxy.routing.answers import RecentAnswers
from pdtest.embedded.proxy.routing.phase import HandedOver, Phase
from pdtest.embedded.proxy.routing.pressure import Pressure
from pdtest.embedded.proxy.routing.settings import RoutingSettings
from pdtest.embedded.proxy.routing.threshold import Threshold


def phase_for(settings: RoutingSettings, pressure: Pressure, answers: RecentAnswers) -> Phase:
    """The rule that ``--phase-policy`` names."""
    if settings.phase is None:
        return HandedOver()
    if settings.phase == "threshold":
        return Threshold(input_threshold=settings.input_threshold, ratio=settings.ratio)
    return Adaptive(
        input_threshold=settings.input_threshold,
        ratio=settings.ratio,
        flex=settings.flex,
        pressure=pressure,
        answers=answers,
    )
