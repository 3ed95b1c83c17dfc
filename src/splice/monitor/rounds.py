"""Rounds: every monitor that is due is evaluated, told of, and acted upon.

One process does it at a time, but two that do (a lease ran out, a process was killed and another
came) change nothing twice: each finding and each alert is saved against the revision that was
seen, news of it in the same transaction, and what is to be done is written down before it is done.
A monitor that fails says so in its own finding; the others go on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase

import msgspec

from splice.core.alerts import Alert, Deed, Finding, Measured, Mute, Note, NoteKind
from splice.core.errors import Overtaken, RefusedError, SpliceError
from splice.core.monitors import Action, PinnedMonitor, Severity, severity_rank
from splice.core.release import Live, Release
from splice.core.units import duration_text
from splice.monitor.judging import Asked, Judged, Reading, judge, resolved
from splice.monitor.words import one_line
from splice.ports.alerts import AlertFilter, AlertStore, Turn
from splice.ports.stores import ReleaseStore

log = logging.getLogger("splice.monitors")

_TRIES = 3
_DEEDS_MOST = 20
"""How often it is tried to do something whose failure may pass."""

Do = Callable[[Alert, int], str]
"""Does an action for an alert at a time, once however often it is called; says what it did.

Raises a `RefusedError` or `DeclarationError` where it will not, another error to be asked again.
"""


Measure = Callable[[PinnedMonitor, Release, int], Measured]
"""What a monitor of a release measures at a time; see `splice.monitor.figures.measure`."""


class Route(msgspec.Struct, frozen=True):
    """Which alerts a channel is told of: from a severity on, of integrations by patterns."""

    channel: str
    severity: Severity = "info"
    integrations: tuple[str, ...] = ("*",)

    def takes(self, alert: Alert) -> bool:
        """Whether it is told of an alert."""
        worse = severity_rank(alert.severity) >= severity_rank(self.severity)
        return worse and any(fnmatchcase(alert.integration, one) for one in self.integrations)


class Telling(msgspec.Struct, frozen=True):
    """Which channel is told of what, and how often of an alert that stays open (0: once)."""

    routes: tuple[Route, ...] = ()
    repeat_s: float = 86_400.0


class Rounds:
    """Goes round the monitors of one ledger.

    Args:
        store: Findings and alerts.
        releases: Which monitors there are.
        measure: Measures their figures.
        telling: Who is told.
        deeds: How actions are done.
        new_id: Gives a fresh UUIDv7.
    """

    def __init__(
        self,
        store: AlertStore,
        releases: ReleaseStore,
        measure: Measure,
        telling: Telling,
        deeds: Mapping[Action, Do],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._releases = releases
        self._measure = measure
        self._routes = telling.routes
        self._repeat_us = round(telling.repeat_s * 1e6)
        self._deeds = deeds
        self._new_id = new_id
        self._known: dict[tuple[str, int], Release] = {}

    def look(self, now_us: int) -> int:
        """Evaluate what is due, and do what is wanted; gives how many monitors were evaluated."""
        mutes = self._store.mutes(now_us)
        self._act(mutes, now_us)  # what one who was killed has left: he may have done it already
        before = {(one.integration, one.monitor): one for one in self._store.findings()}
        looked, there = 0, set[tuple[str, str]]()
        for live in self._releases.live():
            release = self._release(live)
            for monitor in () if release is None else release.manifest.monitors:
                key = (live.integration, monitor.name)
                there.add(key)
                found = before.get(key)
                if release is not None and is_due(found, monitor, live.number, now_us):
                    asked = Asked(live.integration, live.number, monitor, now_us, self._new_id)
                    muted = is_muted(mutes, *key)
                    self._guarded(self._evaluate, (asked, release, found, live.stopped, muted))
                    looked += 1
        for key, found in before.items():
            if key not in there:
                self._guarded(self._drop, (found, now_us))
        if looked:
            self._act(mutes, now_us)
        return looked

    def test(self, release: Release, monitor: PinnedMonitor, now_us: int) -> Judged:
        """What an evaluation would come to now; nothing is stored, told or done."""
        known = {one.monitor: one for one in self._store.findings(release.integration)}
        found = known.get(monitor.name)
        asked = Asked(release.integration, release.number, monitor, now_us, self._new_id)
        return judge(asked, found, self._read(asked, release, ""), self._alerts_of(found))

    def _release(self, live: Live) -> Release | None:
        key = (live.integration, live.number)
        if key not in self._known:
            found = self._releases.release(*key)
            if found is None:
                return None
            self._known = {one: was for one, was in self._known.items() if one[0] != key[0]}
            self._known[key] = found
        return self._known[key]

    def _guarded(self, do: Callable[..., None], arguments: tuple[object, ...]) -> None:
        """One monitor must not stop the others."""
        try:
            do(*arguments)
        except Overtaken:
            pass  # another process was faster: it has told, too
        except SpliceError as error:
            log.warning("a monitor is not evaluated for now: %s", error)
        except Exception:  # a mistake of ours, in one monitor
            log.exception("a monitor could not be evaluated")

    def _evaluate(
        self, asked: Asked, release: Release, before: Finding | None, stopped: str, muted: bool
    ) -> None:
        reading = self._read(asked, release, stopped)
        judged = judge(asked, before, reading, self._alerts_of(before))
        self._store.settle(self._turn(judged, self._alerts_of(before), muted))

    def _read(self, asked: Asked, release: Release, stopped: str) -> Reading:
        if stopped:
            return Reading(idle=f"the integration is switched off: {one_line(stopped)}")
        try:
            return Reading(self._measure(asked.monitor, release, asked.now_us))
        except SpliceError as error:
            return Reading(trouble=one_line(error.detail or str(error)))
        except Exception as error:  # a mistake of ours, which must be told like any other
            log.exception("%s of %s failed", asked.monitor.name, asked.integration)
            return Reading(trouble=one_line(f"{type(error).__name__}: {error}"))

    def _alerts_of(self, finding: Finding | None) -> dict[str, Alert]:
        ids = () if finding is None else (finding.alert, finding.blind)
        found = [self._store.alert(one) for one in ids if one]
        return {one.id: one for one in found if one is not None and one.state == "open"}

    def _turn(self, judged: Judged, known: dict[str, Alert], muted: bool) -> Turn:
        """A turn of the store: alerts, with news of them for whoever is to be told."""
        now, notes = judged.finding.at_us, list[Note]()
        opened = [self._news(one, judged, muted, notes) for one in judged.opened]
        changed = {one.id: one for one in judged.changed}
        ended = {one.id for one in judged.resolved}
        for alert_id, alert in known.items():
            if alert_id not in ended:
                one = changed.get(alert_id, alert)
                told = self._news(one, judged, muted, notes)
                if told != alert:
                    changed[alert_id] = told
        for one in judged.resolved:
            changed[one.id] = one
            if one.told_us and not muted:
                notes += self._notes(one, "resolved", now, one.resolved_why)
        return Turn(judged.finding, tuple(opened), tuple(changed.values()), tuple(notes))

    def _news(self, alert: Alert, judged: Judged, muted: bool, notes: list[Note]) -> Alert:
        """An open alert, told of where that is due."""
        now = judged.finding.at_us
        if muted:
            return alert if alert.told_us else msgspec.structs.replace(alert, muted=True)
        if not alert.told_us:
            notes += self._notes(alert, "opened", now, alert.why)
        elif alert.acknowledged_us or not self._repeat_us or now - alert.told_us < self._repeat_us:
            return alert
        else:
            open_for = duration_text(max(1.0, (now - alert.opened_us) / 1e6))
            why = judged.finding.why if alert.kind == "firing" else alert.why
            notes += self._notes(alert, "still open", now, f"open for {open_for}: {why}")
        return msgspec.structs.replace(alert, told_us=now, muted=False)

    def _notes(self, alert: Alert, kind: NoteKind, now_us: int, text: str) -> list[Note]:
        return [
            Note(one.channel, alert.integration, alert.id, kind, now_us, alert.severity, text)
            for one in self._routes
            if one.takes(alert)
        ]

    def _drop(self, finding: Finding, now_us: int) -> None:
        """The live release has this monitor no more."""
        ended = [
            resolved(one, "the live release has no such monitor", now_us)
            for one in self._alerts_of(finding).values()
        ]
        for one in ended:
            told = self._notes(one, "resolved", now_us, one.resolved_why) if one.told_us else []
            self._store.save_alert(one, told)
        self._store.forget(finding)

    def _act(self, mutes: Iterable[Mute], now_us: int) -> None:
        for alert in self._store.alerts(AlertFilter(state="open", limit=1000)):
            # One that opened while it was muted is told of first, when the mute is over.
            if alert.told_us and not is_muted(mutes, alert.integration, alert.monitor):
                for deed in alert.deeds:
                    if deed.state == "wanted":
                        self._guarded(self._do, (alert, deed, now_us))

    def _do(self, alert: Alert, deed: Deed, now_us: int) -> None:
        do = self._deeds.get(deed.action)
        tried = msgspec.structs.replace(deed, at_us=now_us, attempts=deed.attempts + 1)
        try:
            if do is None:
                raise RefusedError(deed.action, got="an action that nobody here can do")
            done = msgspec.structs.replace(tried, state="done", detail=do(alert, now_us))
        except SpliceError as error:
            # What was refused will be so again; what is away comes back.
            over = not error.retryable or tried.attempts >= _DEEDS_MOST
            state = "refused" if over else "wanted"
            detail = one_line(error.detail or str(error))
            done = msgspec.structs.replace(tried, state=state, detail=detail)
        if done.state != "wanted":
            log.warning(
                "%s: %s: %s %s: %s", alert.integration, alert.monitor, done.action, done.state,
                done.detail,
            )  # fmt: skip
        self._save(alert.id, done)

    def _save(self, alert_id: str, done: Deed) -> None:
        """Note what came of a deed, whoever acknowledged the alert meanwhile."""
        for _ in range(_TRIES):
            alert = self._store.alert(alert_id)
            if alert is None:
                return
            if not any((one.action, one.state) == (done.action, "wanted") for one in alert.deeds):
                return  # another process did it at the same time, and has said so
            deeds = tuple(done if one.action == done.action else one for one in alert.deeds)
            changed = msgspec.structs.replace(alert, deeds=deeds)
            told = done.state != "wanted" and alert.told_us
            text = f"{done.action}: {done.state}: {done.detail}"
            notes = self._notes(alert, "acted", done.at_us, text) if told else []
            try:
                self._store.save_alert(changed, notes)
            except Overtaken:
                continue
            return


def is_due(found: Finding | None, monitor: PinnedMonitor, release: int, now_us: int) -> bool:
    """Whether a monitor is to be evaluated now; a clock that was set back makes it so."""
    if found is None or found.asked != monitor:
        return True
    if monitor.rolls_back and found.release != release:
        return True
    return not 0 <= now_us - found.at_us < monitor.every_s * 1e6


def is_muted(mutes: Iterable[Mute], integration: str, monitor: str) -> bool:
    """Whether a monitor tells nobody and does nothing now."""
    return any(one.integration == integration and one.monitor in ("", monitor) for one in mutes)
