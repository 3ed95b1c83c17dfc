"""The actions: what a form of a page does, each a function from the ledger and its fields."""

from __future__ import annotations

from splice.console.acting import Act
from splice.console.actions import dead_letters, reviews, switching

ACTIONS: dict[str, Act] = {
    "/reviews/next": reviews.take_next,
    "/reviews/{review_id}": reviews.act,
    "/dead-letters/{number}/replay": dead_letters.replay,
    "/dead-letters/{number}/drop": dead_letters.drop,
    "/integrations/{name}/stop": switching.stop,
    "/integrations/{name}/start": switching.start,
    "/integrations/{name}/rollback": switching.roll_back,
}
"""Path below `/console` to what a form that is sent there does."""
