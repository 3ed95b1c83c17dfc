"""Studying: the chore that keeps studies of experiments up to date."""

from __future__ import annotations

from splice.app.chores import Chore
from splice.app.wiring import Services
from splice.monitor.experiments import Studies

EVERY_S = 60.0
"""An experiment lasts for days: a minute is soon enough, and costs nothing where nothing is new."""


def chores_of_studies(services: Services) -> list[Chore]:
    """The chore that looks after the studies of every integration."""
    studies = Studies(services.stores, services.settings.cost.currency)
    return [Chore("studies", EVERY_S, studies.look)]
