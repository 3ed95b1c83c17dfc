"""Which chores a process that serves has: a line for each part of the house that needs one."""

from __future__ import annotations

from splice.app.alerting import chores_of_monitors
from splice.app.archiving import chores_of_archive
from splice.app.auditing import chores_of_audit
from splice.app.chores import Chore
from splice.app.incidents import chores_of_incidents
from splice.app.labelling import chores_of_labels
from splice.app.reviewing import chores_of_reviews
from splice.app.rolling import chores_of_rollups
from splice.app.studying import chores_of_studies
from splice.app.tending import chores_of_encryption
from splice.app.validity import chores_of_validity
from splice.app.wiring import Services


def chores_of(services: Services) -> list[Chore]:
    """The chores, in no particular order; those of an extra that is not installed are left out."""
    return [
        *chores_of_archive(
            services.settings, services.stores.archives, services.stores.duties.freezes
        ),
        *chores_of_audit(services),
        *chores_of_incidents(services),
        *chores_of_encryption(services),
        *chores_of_labels(services),
        *chores_of_monitors(services),
        *chores_of_reviews(services.stores),
        *chores_of_rollups(services),
        *chores_of_studies(services),
        *chores_of_validity(services),
    ]
