"""Undoing: what a monitor rolls back to, once for one firing, and never in circles."""

from __future__ import annotations

from collections.abc import Sequence

from splice.control.rollouts import Rollouts, Who
from splice.core.alerts import MONITOR, Alert
from splice.core.errors import Overtaken, RefusedError
from splice.core.release import Release
from splice.core.rollout import challenger_of
from splice.core.units import duration_text
from splice.ports.alerts import AlertFilter, AlertStore
from splice.ports.audit import AuditLog
from splice.ports.stores import LiveChange, ModelStore

ACTION = "monitor.rollback"
PAUSE_US = 86_400_000_000
"""After a rollback for a reason, the same reason rolls back nothing for so long: it did not help,
so its cause is elsewhere, and going through all releases would make it worse."""


class Undoing:
    """Rolls back, as the monitor's principal.

    Args:
        rollouts: Ends rollouts; knows the releases.
        models: Which versions are withdrawn.
        alerts: What was rolled back before, and why.
        audit: What was done.
    """

    def __init__(
        self, rollouts: Rollouts, models: ModelStore, alerts: AlertStore, audit: AuditLog
    ) -> None:
        self._rollouts = rollouts
        self._models = models
        self._alerts = alerts
        self._audit = audit

    def roll_back(self, alert: Alert, now_us: int) -> str:
        """Do it for an alert, once however often it is called; says what was done.

        A rollout that runs is ended. Else the newest older release answers that ran no challenger,
        has no withdrawn version, and was not rolled back for the same reason itself.

        Raises:
            RefusedError: There is no such release, or the same reason rolled back a while ago.
            StoreError: Nothing was done.
        """
        release = self._rollouts.live(alert.integration)
        if release.number != alert.release:
            return self._done_before(alert, release)
        past = self._past(alert)
        recent = [at for at, _ in past if 0 <= now_us - at < PAUSE_US]
        if recent:
            ago = duration_text(max(1.0, (now_us - max(recent)) / 1e6))
            raise RefusedError(
                alert.integration,
                got=f"a rollback for the same reason {ago} ago, which did not help",
                mend="look for a cause that all releases share",
            )
        who = Who(MONITOR, f"{alert.monitor}: {alert.why}", now_us)
        try:
            if challenger_of(release.manifest.rollout) is not None:
                back = self._rollouts.stop(
                    alert.integration, who, live=release, action="monitor.rollout_stop"
                )
                return f"the rollout ended; release {back.number} answers"
            target = self._target(release, [number for _, number in past])
            change = LiveChange(
                ACTION, release.number, {"alert": alert.id, "monitor": alert.monitor}
            )
            self._rollouts.releases.go_live(
                alert.integration, target, by=who.by, why=who.why, now_us=now_us, change=change
            )
        except Overtaken:
            return self._done_before(alert, self._rollouts.live(alert.integration))
        return f"release {target} answers instead of {release.number}"

    def _past(self, alert: Alert) -> list[tuple[int, int]]:
        """When this monitor rolled back before, and from which release; newest first."""
        wanted = AlertFilter(integration=alert.integration, monitor=alert.monitor, limit=1000)
        return [
            (deed.at_us, one.release)
            for one in self._alerts.alerts(wanted)
            if one.id != alert.id
            for deed in one.deeds
            if deed.action == "roll back" and deed.state == "done"
        ]

    def _target(self, live: Release, bad: Sequence[int]) -> int:
        withdrawn = self._models.withdrawn()
        older = [
            one
            for one in self._rollouts.releases.releases(live.integration)
            if one.number < live.number
            and one.manifest.digest != live.manifest.digest
            and challenger_of(one.manifest.rollout) is None
        ]
        for one in older:
            if one.number not in bad and not any(
                route.sha256 in withdrawn for route in one.manifest.routes
            ):
                return one.number
        why = "was rolled back itself, or has a withdrawn version" if older else "is there"
        raise RefusedError(
            live.integration,
            got="no release to roll back to" if not older else f"{len(older)} older, each {why}",
            promised="an older release that answered without a challenger",
            mend=f"splice release list {live.integration}",
        )

    def _done_before(self, alert: Alert, live: Release) -> str:
        """What to say where another release answers than the one that the alert is about."""
        since = 0
        while events := self._audit.events(subject=alert.integration, since=since):
            for event in events:
                if event.action == ACTION and event.details.get("alert") == alert.id:
                    now = event.details.get("release")
                    return f"release {now} answers instead of {alert.release}"
            since = events[-1].number
        return f"release {live.number} answers already, which somebody else made live"
