"""`splice monitors …`: what is watched, what was found, and who is told of it."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from splice.app import alerting, labelling, rolling
from splice.app.clock import Ids, now_us
from splice.app.settings import Settings, user_name
from splice.app.wiring import Stores
from splice.cli.common import REFUSED, as_json, out, stores, talk
from splice.cli.moments import WrongOption
from splice.core.alerts import Alert, Finding, Message, Mute, Note
from splice.core.errors import BusError, DeclarationError, RequestError
from splice.core.monitors import PinnedMonitor
from splice.core.release import Release
from splice.core.units import duration_text, seconds
from splice.monitor.rounds import is_muted
from splice.monitor.watch import open_alerts
from splice.monitor.words import bound_text, one_line, part_text, title, value_text
from splice.ports.alerts import AlertFilter
from splice.serve.http.desk import iso

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str | None, typer.Argument(help="Only of this integration.")]
Which = Annotated[str | None, typer.Argument(help="Only this monitor.")]
Why = Annotated[str, typer.Option("--why", help="Reason, kept with it.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class UnknownMonitor(RequestError):
    """There is no monitor, alert or channel of that name."""

    code = "unknown_monitor"


@app.command("list")
def list_(name: Name = None, json: Json = False) -> None:
    """List monitors of live releases with what they found last."""
    with stores() as (settings, opened):
        found = {(one.integration, one.monitor): one for one in opened.alerts.findings(name)}
        mutes = opened.alerts.mutes(now_us())
        declared = _declared(opened, name)
        _, wrong = alerting.notifiers_of(settings)
        waiting = opened.alerts.messages()
    if json:
        as_json([
            {
                "integration": release.integration, "release": release.number,
                "muted": is_muted(mutes, release.integration, one.name), "monitor": one,
                "finding": found.get((release.integration, one.name)),
            }
            for release, one in declared
        ])  # fmt: skip
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("integration", "monitor", "bound", "state", "value", "looked at (UTC)", "then"):
        table.add_column(column, no_wrap=True)
    for release, one in declared:
        last = found.get((release.integration, one.name))
        muted = " (muted)" if is_muted(mutes, release.integration, one.name) else ""
        table.add_row(
            release.integration, one.name, bound_text(one, settings.cost.currency),
            ("not yet" if last is None else last.state) + muted, _value(last),
            "" if last is None else _when(last.at_us), ", ".join(one.then),
        )  # fmt: skip
    out.print(table)
    for channel, why in wrong.items():
        talk.print(f"channel {channel} cannot be told: {why}", style="red")
    for message in waiting:
        if message.error:
            talk.print(f"channel {message.channel} was not told yet: {message.error}")


def _value(finding: Finding | None) -> str:
    measured = None if finding is None else finding.measured
    if finding is None or measured is None or measured.value is None:
        return ""
    return value_text(finding.asked, measured.value, measured.unit)


def _when(at_us: int) -> str:
    return iso(at_us)[:16].replace("T", " ")


def _declared(opened: Stores, name: str | None) -> list[tuple[Release, PinnedMonitor]]:
    pairs: list[tuple[Release, PinnedMonitor]] = []
    live = opened.releases.live()
    if name is not None and name not in {one.integration for one in live}:
        raise UnknownMonitor(
            name[:80], got="no live release of that name",
            promised=f"one of {', '.join(one.integration for one in live) or 'none yet'}",
        )  # fmt: skip
    for one in live:
        release = opened.releases.release(one.integration, one.number)
        if release is not None and name in (None, one.integration):
            pairs += [(release, monitor) for monitor in release.manifest.monitors]
    return pairs


def _chosen(
    opened: Stores, name: str | None, monitor: str | None
) -> list[tuple[Release, PinnedMonitor]]:
    declared = _declared(opened, name)
    chosen = [one for one in declared if monitor in (None, one[1].name)]
    if not chosen:
        names = ", ".join(repr(one.name) for _, one in declared) or "none is declared"
        where = f"{name or 'monitors'}: {monitor}" if monitor else name or "monitors"
        raise UnknownMonitor(where[:160], got="no such monitor", promised=f"one of {names}")
    return chosen


@app.command()
def show(
    what: Annotated[str, typer.Argument(help="Name of an integration, or id of an alert.")],
    monitor: Which = None,
    json: Json = False,
) -> None:
    """Show monitors with their figures and open alerts, or one alert."""
    with stores() as (settings, opened):
        alert = opened.alerts.alert(what) if _is_id(what) else None
        if alert is not None:
            if json:
                as_json(alert)
            else:
                _tell_alert(alert)
            return
        chosen = _chosen(opened, what, monitor)
        found = {one.monitor: one for one in opened.alerts.findings(what)}
        alerts = open_alerts(opened.alerts, what)
    if json:
        as_json([
            {
                "monitor": one, "finding": found.get(one.name),
                "alerts": [alert for alert in alerts if alert.monitor == one.name],
            }
            for _, one in chosen
        ])  # fmt: skip
        return
    for _, one in chosen:
        out.print(f"{one.name}: {title(one)} {bound_text(one, settings.cost.currency)}")
        out.print(
            f"  window {duration_text(one.window_s)}, every {duration_text(one.every_s)}, "
            f"{one.severity}, then {', '.join(one.then)}"
        )
        _tell_finding(found.get(one.name))
        for alert in alerts:
            if alert.monitor == one.name:
                out.print(f"  alert {alert.id}, open since {_when(alert.opened_us)} UTC")


def _is_id(text: str) -> bool:
    return len(text) == 36 and text.count("-") == 4


def _tell_finding(finding: Finding | None) -> None:
    if finding is None:
        out.print("  not evaluated yet")
        return
    out.print(f"  {finding.state} since {_when(finding.since_us)} UTC: {finding.why}")
    measured = finding.measured
    if measured is None:
        return
    for part in measured.parts[:5]:
        out.print(f"    {'!' if part.beyond else ' '} {part_text(finding.asked, part)}")
    for call in measured.calls:
        out.print(f"    splice calls explain {call}")


def _tell_alert(alert: Alert) -> None:
    out.print(f"alert {alert.id}  {alert.state}  {alert.severity}")
    out.print(f"  {alert.integration}: {alert.monitor}, release {alert.release}")
    out.print(f"  opened {_when(alert.opened_us)} UTC: {alert.why}")
    if alert.acknowledged_us:
        why = f": {alert.acknowledged_why}" if alert.acknowledged_why else ""
        said = f"  acknowledged {_when(alert.acknowledged_us)} UTC by {alert.acknowledged_by}{why}"
        out.print(said)
    for deed in alert.deeds:
        out.print(f"  {deed.action}: {deed.state}{f': {deed.detail}' if deed.detail else ''}")
    if alert.resolved_us:
        out.print(f"  resolved {_when(alert.resolved_us)} UTC: {alert.resolved_why}")
    if alert.measured is not None:
        for call in alert.measured.calls:
            out.print(f"  splice calls explain {call}")


@app.command()
def alerts(
    name: Name = None,
    all_: Annotated[bool, typer.Option("--all", help="Also those that were resolved.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    json: Json = False,
) -> None:
    """List alerts: those that are open, newest first."""
    wanted = AlertFilter(integration=name, state=None if all_ else "open", limit=limit)
    with stores() as (_, opened):
        found = opened.alerts.alerts(wanted)
    if json:
        as_json(found)
    else:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("alert", "opened (UTC)", "integration", "monitor", "severity", "state"):
            table.add_column(column, no_wrap=True)
        for one in found:
            state = "acknowledged" if one.state == "open" and one.acknowledged_us else one.state
            table.add_row(
                one.id, _when(one.opened_us), one.integration, one.monitor, one.severity, state
            )
        out.print(table)


@app.command("test")
def evaluate(name: Name = None, monitor: Which = None, json: Json = False) -> None:
    """Evaluate now and say what would happen; nothing is stored, told or done.

    Exit 1 where one would fire, or cannot tell.
    """
    with stores() as (settings, opened):
        chosen = _chosen(opened, name, monitor)
        rounds = alerting.rounds_of(settings, opened)
        rolling.catch_up(opened)  # where no server runs, nobody else counts what was recorded
        labelling.catch_up(opened, now_us())
        at = now_us()
        judged = [(release, one, rounds.test(release, one, at)) for release, one in chosen]
    bad = False
    for release, one, result in judged:
        finding = result.finding
        bad |= finding.state in ("waiting", "firing", "cannot tell")
        if json:
            continue
        out.print(f"{release.integration}: {one.name}")
        _tell_finding(msgspec.structs.replace(finding, since_us=at))
        out.print(f"  {_would(finding, one, opened_now=bool(result.opened))}")
    if json:
        as_json([result.finding for _, _, result in judged])
    if bad:
        raise typer.Exit(REFUSED)


def _would(finding: Finding, monitor: PinnedMonitor, *, opened_now: bool) -> str:
    then = " and ".join(monitor.then)
    if finding.state == "waiting":
        left = monitor.for_s - (finding.at_us - finding.beyond_us) / 1e6
        return f"it would fire if this stays so for {duration_text(max(left, 1))}, and then: {then}"
    if finding.state == "firing":
        return f"it would fire now, and then: {then}" if opened_now else "its alert stays open"
    return {
        "cooling": "its alert stays open until it was fine for long enough",
        "cannot tell": "it would be told that it cannot tell, if this stays so",
    }.get(finding.state, "nothing would be done")


@app.command()
def ack(
    alert: Annotated[str, typer.Argument(help="Id of the alert.")],
    why: Why = "",
) -> None:
    """Acknowledge an alert: it is not told of again while it stays open. Audited."""
    with stores() as (_, opened):
        found = opened.alerts.alert(alert) if _is_id(alert) else None
        if found is None:
            raise UnknownMonitor(
                f"alert {alert[:80]}", got="no such alert", mend="splice monitors alerts"
            )
        if found.state == "open" and not found.acknowledged_us:
            opened.alerts.save_alert(
                msgspec.structs.replace(
                    found, acknowledged_us=now_us(), acknowledged_by=user_name(),
                    acknowledged_why=one_line(why),
                ),
                action="alert.acknowledge",
            )  # fmt: skip
            out.print(f"Alert {alert} is acknowledged.")
        else:
            out.print(
                f"Alert {alert} is {'acknowledged' if found.state == 'open' else 'resolved'}."
            )


@app.command()
def mute(
    name: Annotated[str, typer.Argument(help="Name of the integration.")],
    monitor: Which = None,
    for_: Annotated[str, typer.Option("--for", help='For how long: "2 h".')] = "",
    off: Annotated[bool, typer.Option("--off", help="End it.")] = False,
    why: Why = "",
) -> None:
    """Tell nobody and do nothing for a while; what is found is kept all the same. Audited."""
    if off == bool(for_):
        raise WrongOption("--for", got="neither" if not off else "--off too", promised='"2 h"')
    until = 0
    if for_:
        try:
            until = now_us() + round(seconds(for_, "--for") * 1e6)
        except DeclarationError as error:
            raise WrongOption("--for", got=error.got, promised=error.promised) from None
    with stores() as (_, opened):
        if not off:
            _chosen(opened, name, monitor)
        said = Mute(name, monitor or "", until, user_name(), one_line(why))
        opened.alerts.set_mute(said, now_us())
    what = f"{name}: {monitor}" if monitor else name
    out.print(f"{what} is muted until {_when(until)} UTC." if until else f"{what} is not muted.")


@app.command()
def tell(channel: Annotated[str, typer.Argument(help="Name of [alerts.NAME].")]) -> None:
    """Send a message to a channel now, to try it. Exit 1 where it is not taken."""
    with stores() as (settings, _):
        _check_channel(settings, channel)
        notifier = alerting.notifier_of(settings, channel)
        try:
            notifier.tell(_trial(channel))
        except BusError as error:
            talk.print(str(error), style="red")
            raise typer.Exit(REFUSED) from None
        finally:
            notifier.close()
    out.print(f"Channel {channel} took the message.")


def _check_channel(settings: Settings, channel: str) -> None:
    if channel not in settings.alerts:
        known = ", ".join(sorted(settings.alerts)) or "none yet"
        raise UnknownMonitor(
            f"alerts.{channel[:80]}", got="no such channel", promised=f"one of {known}",
            mend=f"add [alerts.{channel[:40]}] to splice.toml",
        )  # fmt: skip


def _trial(channel: str) -> Message:
    text = f"trial by {user_name()}; nothing is wrong"
    note: Any = Note(channel, "trial", "", "opened", now_us(), "info", text, name="trial")
    return Message(Ids().new(), channel, "trial", "waiting", now_us(), (note,), ())
