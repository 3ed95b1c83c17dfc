"""Sections of a report: what people changed, and what is missing."""

from __future__ import annotations

from splice.console import units
from splice.console.report.blocks import Block, Column, Section, Table
from splice.console.report.words import plural
from splice.core.audit import AuditEvent
from splice.core.release import Manifest
from splice.monitor.reporting import MonthFigures

_VERBS = {
    "release.live": "Release {release} went live",
    "release.promote": "Release {release} went live with a promoted model",
    "release.rollback": "Back to an older release, as release {release}",
    "integration.stop": "Switched off",
    "integration.start": "Switched on again",
    "rollout.start": "A rollout began, release {release}",
    "rollout.shadow": "A shadow began, release {release}",
    "rollout.move": "The rollout moved, release {release}",
    "rollout.advance": "The rollout took its next step, release {release}",
    "rollout.stop": "The rollout ended, release {release}",
    "rollout.abort": "The rollout was taken back by its guards, release {release}",
    "model.register": "Model registered",
    "model.register_pickle": "Pickled model registered",
    "model.alias": "Alias moved",
    "model.validate": "Model validated",
    "model.approve": "Model approved",
    "model.promote": "Model promoted",
    "model.rollback": "Model rolled back",
    "model.withdraw": "Model withdrawn",
    "model.restore": "Model restored",
    "model.card": "Card of the model changed",
    "alert.acknowledge": "Alert acknowledged",
    "monitor.mute": "Monitor muted",
    "monitor.unmute": "Monitor unmuted",
    "pipeline.ask": "Retraining asked for",
    "pipeline.done": "Retraining done",
    "pipeline.failed": "Retraining failed",
}
_MOST = 200


def change_section(found: MonthFigures) -> Section:
    """Releases and every other control action, with who and why."""
    month = found.month
    shown = found.changes[-_MOST:]
    lead = "Nothing was changed."
    if found.changes:
        made = plural(len(found.made), "release") if found.made else "no release"
        lead = f"{plural(len(found.changes), 'change')}, of which {made}."
    rows = tuple(
        (month.time_of(one.at_us), _text(one, found.integration), one.by, one.why) for one in shown
    )
    columns = (Column("When"), Column("What"), Column("By"), Column("Why", wide=True))
    caption = "Changes"
    if len(found.changes) > _MOST:
        caption += f": the last {_MOST} of {units.count(len(found.changes))}"
    blocks: list[Block] = [Table(caption, columns, rows)] if rows else []
    if found.release is not None:
        number = found.release.number
        runs = _runs(found.release.manifest)
        heads = (Column("Route", wide=True), Column("Runs", wide=True), Column("Share"))
        blocks.append(Table(f"What answered at the end: release {number}", heads, runs))
    return Section("Changes", lead, tuple(blocks))


def _text(event: AuditEvent, integration: str) -> str:
    known = _VERBS.get(event.action, event.action.replace(".", " ").replace("_", " "))
    text = known.replace("{release}", str(event.details.get("release", "")))
    return text if event.subject == integration else f"{text}: {event.subject}"


def _runs(manifest: Manifest) -> tuple[tuple[str, ...], ...]:
    rows = [(one.label, one.version, "") for one in manifest.routes]
    for variant in manifest.rollout.variants if manifest.rollout else ():
        share = units.share(variant.share / 10_000)
        rows += [(one.label, one.version, f"{share} ({variant.name})") for one in variant.routes]
    for one in manifest.rollout.shadows if manifest.rollout else ():
        rows.append((one.label, one.version, "shadow"))
    return tuple(rows)


def missing_section(found: MonthFigures) -> Section:
    """What would have to be there for this report to say more, and who could give it."""
    asked = [(what, ask) for holds, what, ask in _checks(found) if holds]
    if not asked:
        return Section("What is missing", "Nothing that this report needs.")
    columns = (Column("What is missing", wide=True), Column("Ask for", wide=True))
    lead = f"{plural(len(asked), 'thing')} would make the next report say more."
    return Section("What is missing", lead, (Table("To be asked for", columns, tuple(asked)),))


def _checks(found: MonthFigures) -> list[tuple[bool, str, str]]:
    manifest, totals, quality = found.declared.manifest, found.totals, found.quality
    objective, worth = manifest.objective, found.worth
    counts = quality.counts
    known = totals.cost_known
    open_alerts = [one for one in found.alerts if not one.resolved_us and not one.acknowledged_us]
    blind = [one.monitor for one in found.findings if one.state == "cannot tell"]
    return [
        (not objective, "An objective: the business figure that it must move",
         "the owner: which figure, from where, to where, until when"),
        (bool(objective) and objective.get("baseline") is None,
         "A baseline: where the figure stood before",
         "whoever reports the figure today"),
        (bool(objective) and not objective.get("value_per_unit"),
         "What one unit of the figure is worth in a year", "the owner, or finance"),
        (not manifest.truths, "A declared truth: which outcome tells whether an answer was right",
         "the application's developers (splice.Truth)"),
        (bool(manifest.truths) and bool(counts.mature) and not counts.labelled,
         "Outcomes: none came of the calls that are old enough",
         "the system that knows what became of them"),
        (bool(counts.labelled) and counts.awaited > counts.labelled,
         f"Outcomes of {plural(counts.awaited, 'call that is', 'calls that are')} overdue",
         "the system that knows what became of them"),
        (bool(objective) and not worth.value.causal,
         "A proof that it caused the effect",
         "a holdout, or a challenger in a rollout: then the effect is no estimate"),
        (bool(totals.calls) and (known or 0.0) < 0.999,
         f"The cost of {units.share(1 - (known or 0.0))} of the calls",
         "prices of these routes, or the price of an hour of the machine"),
        (not manifest.monitors, "Monitors that watch it", "the application's developers"),
        (bool(open_alerts), f"Somebody who looked at {plural(len(open_alerts), 'open alert')}",
         "whoever is on duty: splice monitors"),
        (bool(blind), f"What monitors cannot tell: {', '.join(sorted(blind)[:5])}",
         "the developers: splice monitors says why"),
    ]  # fmt: skip
