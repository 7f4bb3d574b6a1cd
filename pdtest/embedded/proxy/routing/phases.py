"""Which rules there are."""

from __future__ import annotations

from pdtest.embedded.proxy.routing.phase import HandedOver, Phase
from pdtest.embedded.proxy.routing.settings import RoutingSettings
from pdtest.embedded.proxy.routing.threshold import Threshold


def phase_for(settings: RoutingSettings) -> Phase:
    """The rule that ``--phase-policy`` names."""
    if settings.phase is None:
        return HandedOver()
    return Threshold(input_threshold=settings.input_threshold, ratio=settings.ratio)
