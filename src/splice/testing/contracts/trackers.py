"""What every Tracker must hold to.

Inherit `TrackerContract` and give it the fixtures `tracker` and `logged`: a function that gives,
for the id of a run that ended, what the tracker kept of it, as a `Kept`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from splice.ports.trackers import Tracker


class Kept(msgspec.Struct):
    """What a tracker kept of a run. Values of parameters are compared as texts."""

    params: dict[str, Any]
    metrics: dict[str, float]  # the last of each
    tags: dict[str, str]
    failed: bool | None  # None while it has not ended


class TrackerContract:
    """What is said of a run is kept."""

    def test_what_is_said_is_kept(self, tracker: Tracker, logged: Callable[[str], Kept]) -> None:
        run = tracker.start("credit", 1_800_000_000_000_000)

        run.params({"depth": 3, "rate": 0.1, "loss": "log ✗"})
        for step in (1, 2):
            run.metrics({"auc": step / 10}, step, 1_800_000_000_000_000 + step)
        run.metrics({"brier": 0.25}, None, 1_800_000_000_000_009)
        run.tags({"splice.data_sha256": "ab" * 32})
        run.finish(failed=False, at_us=1_800_000_001_000_000)

        kept = logged(run.id)
        texts = {name: str(value) for name, value in kept.params.items()}
        assert {"depth": "3", "rate": "0.1", "loss": "log ✗"}.items() <= texts.items()
        assert {"auc": 0.2, "brier": 0.25}.items() <= kept.metrics.items()
        assert {"splice.data_sha256": "ab" * 32}.items() <= kept.tags.items()
        assert kept.failed is False

    def test_a_failed_run_is_told_from_a_finished_one(
        self, tracker: Tracker, logged: Callable[[str], Kept]
    ) -> None:
        run = tracker.start("credit", 1_800_000_000_000_000)
        run.finish(failed=True, at_us=1_800_000_001_000_000)

        assert logged(run.id).failed is True

    def test_two_runs_of_one_moment_are_two(self, tracker: Tracker) -> None:
        first, second = (tracker.start("credit", 1_800_000_000_000_000) for _ in range(2))
        for run in (first, second):
            run.finish(failed=False, at_us=1_800_000_000_000_001)

        assert first.id != second.id
        assert first.id.partition(":")[0] == second.id.partition(":")[0] != ""
