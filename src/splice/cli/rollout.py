"""`splice rollout …`: a challenger's share of the calls, its canary, its shadow."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.table import Table

from splice.app import wiring
from splice.app.clock import now_us
from splice.app.promoting import admit_challenger, promote_challenger
from splice.app.settings import user_name
from splice.cli.common import REFUSED, as_json, confirm, out, stores, talk
from splice.control.rollouts import Rollouts, Wanted, Who
from splice.control.steward import Standing, standing
from splice.core.audit import AuditEvent
from splice.core.errors import DeclarationError
from splice.core.figures import Figures
from splice.core.release import PinnedGuard, Release
from splice.core.rollout import SHADOW, WHOLE, challenger_of, share, share_text
from splice.core.units import duration_text, plural, seconds
from splice.declare.diff import rollout_text
from splice.declare.rollouts import read_guard
from splice.declare.spec import Guard
from splice.ports.figures import Sought
from splice.serve.http.desk import iso

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the integration.")]
Ref = Annotated[str, typer.Argument(help="MODEL@VERSION or MODEL@ALIAS.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Why = Annotated[str, typer.Option("--why", help="Reason, kept with the change.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _who(why: str) -> Who:
    return Who(user_name(), why, now_us())


def _rollouts(opened: wiring.Stores) -> Rollouts:
    return Rollouts(opened.releases, opened.models)


@app.command()
def start(
    name: Name,
    ref: Ref,
    of: Annotated[str | None, typer.Option("--share", help='A fixed share: "10 %".')] = None,
    steps: Annotated[
        str | None, typer.Option(help='Shares that a canary climbs: "1 %, 10 %, 50 %".')
    ] = None,
    every: Annotated[str | None, typer.Option(help='How long a step lasts: "10 min".')] = None,
    min_calls: Annotated[
        int | None, typer.Option(min=1, help="Calls of the challenger that a step needs.")
    ] = None,
    guard: Annotated[
        list[str] | None,
        typer.Option(help='Bound that ends it: "errors<=0.02", "latency_p95<=80 ms".'),
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="After the last step make it the champion.")
    ] = False,
    yes: Yes = False,
    why: Why = "",
) -> None:
    """Give a version its share of the calls. What is not said is what the declaration says."""
    if of is not None and steps is not None:
        raise DeclarationError(name, got="--share and --steps", promised="one of them")
    shares = None if of is None else (share(of, "--share"),)
    if steps is not None:
        shares = tuple(share(one, "--steps") for one in steps.split(","))
    wanted = Wanted(
        steps=shares,
        every_s=None if every is None else seconds(every, "--every"),
        min_calls=min_calls,
        guards=tuple(_guard(one) for one in guard) if guard else None,
        then="promote" if promote else None,
    )
    with stores() as (settings, opened):
        rollouts = _rollouts(opened)
        before = rollouts.live(name)
        ref = admit_challenger(settings, opened, name, ref, _who(why))
        if not confirm(f"{name}: a share of its calls to {ref}?", yes):
            raise typer.Exit(REFUSED)
        release = rollouts.start(name, ref, wanted, _who(why))
    out.print(f"{rollout_text(release.manifest.rollout)}")
    out.print(
        f"Release {release.number} of {name} is live (was {before.number}). "
        f"Undo: splice rollout stop {name}"
    )


_SIGNS = ("<=", ">=", "+")


def _guard(text: str) -> PinnedGuard:
    """A guard as it is typed: `errors<=0.02`, `outcome:paid>=0.9`, `cost+EUR 0.001`."""
    problems: list[str] = []

    def wrong(_: str, got: str, promised: str, mend: str) -> None:
        problems.append(f"{got}, expected {promised}")

    for sign in _SIGNS:
        figure, found, value = text.partition(sign)
        if not found:
            continue
        figure, bound = figure.strip(), _number(value)
        guards = {
            "<=": Guard(figure=figure, at_most=bound),
            ">=": Guard(figure=figure, at_least=bound),
            "+": Guard(figure=figure, worse_by=bound),
        }
        guard = read_guard(guards[sign], wrong)
        if guard is not None:
            return guard
        break
    raise DeclarationError(
        "--guard",
        got=problems[0] if problems else repr(text),
        promised="FIGURE<=BOUND, FIGURE>=BOUND or FIGURE+DISTANCE",
        mend='write --guard "errors<=0.02"',
    )


def _number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text.strip()  # a share, a duration or money


@app.command("set")
def set_(
    name: Name,
    of: Annotated[str, typer.Option("--share", help='The new share: "25 %".')],
    yes: Yes = False,
    why: Why = "",
) -> None:
    """Another share for the challenger. Whoever had it keeps it while the share grows."""
    with stores() as (_, opened):
        rollouts = _rollouts(opened)
        now, _ = rollouts.challenger(name)
        text = rollout_text(now.manifest.rollout)
        if not confirm(f"{name}: {text}: to {share_text(share(of))}?", yes):
            raise typer.Exit(REFUSED)
        release = rollouts.move(name, share(of, "--share"), _who(why))
    text = rollout_text(release.manifest.rollout)
    out.print(f"Release {release.number} of {name} is live: {text}")


@app.command()
def stop(name: Name, yes: Yes = False, why: Why = "") -> None:
    """End the rollout: every call gets the champion again, within a second."""
    with stores() as (_, opened):
        rollouts = _rollouts(opened)
        now, route = rollouts.challenger(name)
        if not confirm(f"{name}: take {route.version} away?", yes):
            raise typer.Exit(REFUSED)
        release = rollouts.stop(name, _who(why))
    out.print(f"Release {release.number} of {name} is live (was {now.number}).")


@app.command()
def finish(name: Name, yes: Yes = False, why: Why = "") -> None:
    """Make the challenger the champion, through the gates; the rollout is over then."""
    with stores() as (settings, opened):
        now, route = _rollouts(opened).challenger(name)
        if route.kind != "model":
            raise DeclarationError(
                name, got=f"a challenger that is no registered model: {route.version}",
                mend="put it in front of routes, take it out of rollout, and apply",
            )  # fmt: skip
        if not confirm(f"{name}: {route.version} for every call?", yes):
            raise typer.Exit(REFUSED)
        out.print(promote_challenger(settings, opened, now, Who(user_name(), why, now_us())))


@app.command()
def shadow(
    name: Name,
    ref: Ref,
    of: Annotated[str, typer.Option("--share", help="Share of the calls it repeats.")] = "100 %",
    off: Annotated[bool, typer.Option("--off", help="End it.")] = False,
    why: Why = "",
) -> None:
    """Let a version repeat calls: its answers are recorded, and nobody gets them."""
    with stores() as (_, opened):
        release = _rollouts(opened).shadow(name, ref, 0 if off else share(of), _who(why))
    said = "repeats nothing now" if off else f"repeats {share_text(share(of))} of the calls"
    out.print(f"Release {release.number} of {name} is live: {ref} {said}.")


@app.command()
def status(
    name: Annotated[str | None, typer.Argument(help="Name; all that run if left out.")] = None,
    json: Json = False,
) -> None:
    """What both variants came to since the step began, and how each guard stands."""
    with stores() as (settings, opened):
        rollouts = _rollouts(opened)
        names = [name] if name else sorted(one.integration for one in opened.releases.live())
        found = [_seen(rollouts, opened, rollouts.live(one)) for one in names]
        currency = settings.cost.currency
    running = [one for one in found if one.standing or one.shadows]
    if json:
        as_json([_plain(one) for one in running])
        return
    for one in running:
        if one.standing:
            _show(one.standing, currency)
        _show_shadows(one, currency)
    if not running:
        talk.print("No rollout is running.")
    for one in found:
        if one.last is not None and not one.standing:
            when = iso(one.last.at_us)[:19].replace("T", " ")
            by = f"{one.last.action} by {one.last.by}"
            talk.print(
                f"{one.release.integration}  last: {by} at {when}: {one.last.why or 'no reason'}"
            )


class Seen(msgspec.Struct, frozen=True):
    """What is to be told of one integration's rollout."""

    release: Release
    standing: Standing | None
    shadows: Figures | None
    last: AuditEvent | None


def _seen(rollouts: Rollouts, opened: wiring.Stores, live: Release) -> Seen:
    older = rollouts.releases.releases(live.integration)
    lasted_s = max(0.0, (now_us() - live.created_us) / 1e6)
    since_us = opened.releases.live_again_us(live.integration)
    rollout = live.manifest.rollout
    shadows = None
    if rollout is not None and rollout.shadows:
        shadows = opened.figures.figures(Sought(live.integration, (live.number,), SHADOW))
    events = opened.audit.events(subject=live.integration, limit=100_000)
    changes = [one for one in events if one.action.startswith("rollout.")]
    return Seen(
        live,
        standing(live, older, opened.figures, lasted_s, since_us),
        shadows,
        changes[-1] if changes else None,
    )


def _show_shadows(one: Seen, currency: str) -> None:
    rollout = one.release.manifest.rollout
    if rollout is None or one.shadows is None:
        return
    versions = ", ".join(route.version for route in rollout.shadows)
    figures, cells = one.shadows, _cells(one.shadows, [])
    out.print(
        f"{one.release.integration}  release {one.release.number}: {versions} repeats "
        f"{share_text(rollout.shadow_share)} of the calls as a shadow: "
        f"{plural(figures.calls, 'call')}, "
        f"errors {cells[1] or 'none'}, p50 {cells[2] or '?'} ms, p95 {cells[3] or '?'} ms, "
        f"{cells[4] or 'unknown'} {currency}/mio (splice calls list --variant shadow)"
    )


def _show(one: Standing, currency: str) -> None:
    release = one.release
    rollout = release.manifest.rollout
    challenger = challenger_of(rollout)
    if rollout is None or challenger is None:
        return
    out.print(f"{release.integration}  release {release.number}: {rollout_text(rollout)}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("variant", no_wrap=True)
    table.add_column("runs")
    outcomes = sorted({*one.challenger.outcomes, *one.champion.outcomes})
    for column in ("share", "calls", "errors", "p50 ms", "p95 ms", f"{currency}/mio", *outcomes):
        table.add_column(column, justify="right")
    champion = release.manifest.routes[0].version if release.manifest.routes else ""
    shares = (WHOLE - challenger.share, challenger.share)
    for label, runs, part, figures in (
        ("champion", champion, shares[0], one.champion),
        ("challenger", challenger.routes[0].version, shares[1], one.challenger),
    ):
        table.add_row(label, runs, share_text(part), *_cells(figures, outcomes))
    out.print(table)
    for judged in one.guards:
        out.print(f"  {judged.state.ljust(7)}  {judged.told}")
    out.print(f"  {one.verdict.do}: {one.verdict.why}")
    if rollout.every_s and len(rollout.steps) > 1:
        then = "becomes the champion" if rollout.then else "stays there"
        out.print(
            f"  a step lasts {duration_text(rollout.every_s)} and "
            f"{plural(rollout.min_calls, 'call')}; after "
            f"the last it {then}"
        )


def _cells(figures: Figures, outcomes: list[str]) -> list[str]:
    def ms(name: str) -> str:
        found = figures.latency.get(name)
        return "" if found is None else f"{found * 1000:.2f}"

    errors = figures.of("errors")
    return [
        f"{figures.calls}",
        "" if errors is None else f"{errors:.2%}",
        ms("latency_p50"),
        ms("latency_p95"),
        "" if figures.cost is None else f"{figures.cost * 1e6:.3g}",
        *(
            f"{figures.outcomes[one].mean:.3g} ({figures.outcomes[one].count})"
            if one in figures.outcomes and figures.outcomes[one].count
            else ""
            for one in outcomes
        ),
    ]


def _plain(seen: Seen) -> dict[str, object]:
    one = seen.standing
    plain: dict[str, object] = {
        "integration": seen.release.integration,
        "release": seen.release.number,
        "rollout": seen.release.manifest.rollout,
        "shadow": seen.shadows,
    }
    if one is None:
        return plain
    guards = [
        {"figure": each.guard.figure, "state": each.state, "measured": each.measured,
         "bound": each.against, "observations": each.count}
        for each in one.guards
    ]  # fmt: skip
    return plain | {
        "share": one.share / WHOLE,
        "champion": one.champion,
        "challenger": one.challenger,
        "verdict": {"do": one.verdict.do, "why": one.verdict.why},
        "guards": guards,
    }
