"""Service levels: what is overdue is measured, told in words, and shows the calls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from test_opening import manifest

from splice.adapters.ledgers.sql import Ledger, open_ledger
from splice.core.choosing import review_of
from splice.core.release import Release
from splice.core.reviews import PinnedReview, Terms
from splice.declare.review_reading import overdue_monitor
from splice.monitor.figures import Sources, measure
from splice.monitor.words import finding_text
from splice.testing.contracts.reviews import NOW, record_of, said

HOUR = 3600 * 1_000_000
(OVERDUE,) = overdue_monitor(PinnedReview(), ())


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = open_ledger(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "blobs")
    yield made
    made.close()


@pytest.fixture
def release(ledger: Ledger) -> Release:
    return ledger.releases.add_release(manifest(PinnedReview()), by="a", why="", now_us=NOW)


def found(ledger: Ledger, release: Release, now_us: int, **changes: Any) -> Any:
    sources = Sources(
        ledger, ledger.rollups, ledger.records, ledger.labels, ledger.releases, "EUR",
        lambda _: None,
    )  # fmt: skip
    asked = msgspec.structs.replace(OVERDUE, **changes)
    return measure(sources, asked, release, now_us)


def test_what_is_overdue_is_measured_with_the_calls_that_are_due_first(
    ledger: Ledger, release: Release
) -> None:
    terms = Terms(within_s=3600.0)
    some = [review_of(record_of(n), "reply", "x", NOW, terms) for n in range(4)]
    other = review_of(record_of(0, "refunds"), "reply", "x", NOW, terms)
    ledger.reviews.open_reviews([*some, other])
    ledger.reviews.judge(some[3].id, said("ada"))

    early = found(ledger, release, NOW + HOUR // 2)
    late = found(ledger, release, NOW + HOUR + 90 * 1_000_000)  # of the first two
    waits = found(ledger, release, NOW, figure="open", above=2.0)

    assert (early.value, early.beyond, early.calls) == (0.0, False, ())
    assert (late.value, late.count, late.beyond) == (2.0, 3, True)
    assert late.calls == (some[0].call_id, some[1].call_id)
    assert (waits.value, waits.beyond) == (3.0, True)
    text = finding_text(OVERDUE, late)
    assert text == "number of reviews that are overdue is 2, above 0; 3 wait in all"
