"""The changes that are made under load, and what the load tells of each."""

from __future__ import annotations

import json
import re
import sqlite3
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from serve.job import TOLERANCE
from switch.constant import BROKEN, Constant, Sample
from switch.project import FIRST, NAME, RULE, SECOND, argv, version_of

RELEASE = re.compile(rb'"release":(\d+)')
REFUSED = 503
FOLLOW_S = 20.0
"""A generous bound: that each worker follows within a second is measured, not awaited."""
SEEN_S = 0.5
"""So long must every answer be a new one before all workers have followed."""
WHY = ("--why", "measured under load")
BY_FIRST = f'"version":"{FIRST}","reason"'.encode()
"""In the answers of version 1: the reason follows the version that answered, and it alone."""

Is = Callable[[Sample], bool]


@dataclass(frozen=True)
class Change:
    """One command, and how an answer shows that its worker has followed.

    `shows` are bytes of the body; empty where the number of the release is another than before.
    `refuses` says that calls are refused from then on, until the next change.
    """

    name: str
    command: Sequence[str]
    shows: bytes = b""
    refuses: bool = False


LOOK = "nothing (splice release list)"
CHANGES = (
    Change(LOOK, ("release", "list")),
    Change("rollback", ("models", "rollback", NAME, "--yes")),
    Change("stop", ("stop", NAME, *WHY), b'"code":"stopped"', refuses=True),
    Change("start", ("start", NAME), BY_FIRST),
    Change("rollout start", ("rollout", "start", NAME, SECOND, "--share", "50 %", "--yes")),
    Change("rollout stop", ("rollout", "stop", NAME, "--yes")),
    Change("withdraw", ("models", "withdraw", FIRST, *WHY), RULE.encode()),
    Change("restore", ("models", "restore", FIRST), BY_FIRST),
    Change("shadow on", ("rollout", "shadow", NAME, SECOND)),
    Change("shadow off", ("rollout", "shadow", NAME, SECOND, "--off")),
)


class NotFollowedError(RuntimeError):
    """A change was not made, or a worker did not follow it: there is nothing to tell of it."""


@dataclass
class Window:
    """When a change was made under the load; seconds as `time.perf_counter` counts them."""

    change: Change
    quiet: float
    """From here on nothing happened."""
    began: float
    """The command was started."""
    made: float = 0.0
    """What it did stands in the ledger: what its audit event says, or the command's end."""
    followed: float = 0.0
    """No call that was sent later was answered as before."""
    ended: float = 0.0


@dataclass
class Script:
    """Makes one change after the other while the load runs."""

    load: Constant
    place: Path
    quiet_s: float
    changes: Sequence[Change] = CHANGES
    windows: list[Window] = field(default_factory=list[Window])

    def __iter__(self) -> Iterator[None]:
        """Goes on whenever the load looks."""
        for change in self.changes:
            yield from self._change(change)
        yield from _pause(self.quiet_s)

    def _change(self, change: Change) -> Iterator[None]:
        quiet = time.perf_counter()
        yield from _pause(self.quiet_s)
        before = self._newest(RELEASE)
        window = Window(change, quiet, time.perf_counter())
        self.windows.append(window)
        first = len(self.load.samples)
        wall = time.time() - window.began
        log = self.place / "command.log"
        with log.open("wb") as sink:
            command = subprocess.Popen(
                argv(*change.command), cwd=self.place, stdout=sink, stderr=subprocess.STDOUT
            )
        while command.poll() is None:
            yield
        if command.returncode:
            raise NotFollowedError(f"{change.name}: {log.read_text()}")
        now = time.perf_counter()
        at = made_at(self.place / ".splice" / "ledger.db", window.began + wall)
        window.made = now if at is None else at - wall
        if change.name != LOOK:
            yield from self._followed(window, _shown(change, before), first)
        window.ended = time.perf_counter()

    def _newest(self, pattern: re.Pattern[bytes]) -> bytes:
        """What the pattern finds in the newest answer that has it."""
        for sample in reversed(self.load.samples):
            found = pattern.search(sample.body)
            if found:
                return found[1]
        raise NotFollowedError("there is no answer yet")

    def _followed(self, window: Window, new: Is, seen: int) -> Iterator[None]:
        """Waits until every answer is a new one, and notes which was the last that was not.

        `seen` is how many samples were there before the change.
        """
        give_up = time.perf_counter() + FOLLOW_S
        window.followed = window.made
        newest = 0.0
        while newest < window.followed + SEEN_S:
            if time.perf_counter() > give_up:
                raise NotFollowedError(f"{window.change.name}: not every worker followed")
            yield
            for sample in self.load.samples[seen:]:
                seen += 1
                newest = max(newest, sample.sent)
                if not new(sample):
                    window.followed = max(window.followed, sample.sent)


def _pause(seconds: float) -> Iterator[None]:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        yield


def _shown(change: Change, before: bytes) -> Is:
    """Whether a sample was answered by a worker that has followed."""
    if change.shows:
        return lambda sample: change.shows in sample.body

    def another_release(sample: Sample) -> bool:
        found = RELEASE.search(sample.body)
        return found is not None and found[1] != before

    return another_release


def made_at(ledger: Path, after: float) -> float | None:
    """When the newest audit event was (Unix seconds); None where there is none after `after`."""
    connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=30)
    try:
        newest: int | None = connection.execute("SELECT max(at_us) FROM audit_events").fetchone()[0]
    finally:
        connection.close()
    return None if newest is None or newest / 1e6 < after else newest / 1e6


def judged(
    samples: Sequence[Sample], windows: Sequence[Window], said: Mapping[str, Sequence[float]]
) -> list[str]:
    """What is wrong with each sample; empty where nothing is.

    A call may be refused only while the integration is stopped: from the start of the command that
    stops it until the last worker has followed the one that starts it.
    """
    refusing: list[tuple[float, float]] = []
    for window, then in zip(windows, [*windows[1:], None], strict=True):
        if window.change.refuses:
            refusing.append((window.began, float("inf") if then is None else then.followed))
    return [_wrong(sample, refusing, said) for sample in samples]


def _wrong(
    sample: Sample,
    refusing: Sequence[tuple[float, float]],
    said: Mapping[str, Sequence[float]],
) -> str:
    if sample.status == BROKEN:
        return "no answer"
    try:
        if sample.status == REFUSED:
            code = json.loads(sample.body)["code"]
            allowed = any(began <= sample.sent <= ended for began, ended in refusing)
            return "" if code == "stopped" and allowed else f"refused: {code}"
        if sample.status != 200:
            return f"status {sample.status}"
        version, probability = version_of(sample.body)
        right = said[version][sample.row]
    except (ValueError, LookupError, TypeError) as error:
        return f"unreadable: {error!r}"
    return "" if abs(probability - right) <= TOLERANCE else f"{version} said {probability}"


def figures(samples: Sequence[Sample], wrong: Sequence[str], window: Window) -> dict[str, float]:
    """What the load tells of one change; latencies are those of calls that were answered."""
    pairs = list(zip(samples, wrong, strict=True))
    inside = [(s, w) for s, w in pairs if window.quiet <= s.due < window.ended]
    statuses = Counter(sample.status for sample, _ in inside)
    answered = [sample for sample, _ in inside if sample.status != BROKEN]
    before = [s.latency_ms for s in answered if s.due < window.began]
    during = [s.latency_ms for s in answered if s.due >= window.began]
    found = {
        "sent": float(len(inside)),
        "answered": float(statuses[200]),
        "refused": float(statuses[REFUSED]),
        "dropped": float(sum(bool(why) for _, why in inside)),
        "p99_before_ms": percentile(before, 99),
        "p99_during_ms": percentile(during, 99),
        "max_during_ms": max(during),
    }
    if window.change.name != LOOK:
        found["followed_ms"] = (window.followed - window.made) * 1e3
    return found


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that so many percent lie below; at least two values."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
