"""`splice release …`, and the switch: `splice stop`, `splice start`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from splice.app import wiring
from splice.app.clock import now_us
from splice.app.settings import Settings, user_name
from splice.cli.common import REFUSED, as_json, confirm, mistakes, out, stores, talk
from splice.cli.naming import TheOnly, the_only
from splice.control.apply import Control, Plan
from splice.control.registry import CHAMPION
from splice.core.errors import DeclarationError, UnknownIntegration, UnknownRelease
from splice.core.release import Release
from splice.declare.diff import manifest_diff, rollout_text, source_diff
from splice.declare.discover import find
from splice.serve.http.desk import iso

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the integration.")]
OptionalName = Annotated[
    str | None, typer.Argument(help="Name of the integration; all if left out.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Why = Annotated[str, typer.Option("--why", help="Reason, kept with the change.")]


@app.command("list")
def list_(name: OptionalName = None, json: Json = False) -> None:
    """List releases, newest first; the live one is marked."""
    with stores() as (_, opened):
        live = {one.integration: one for one in opened.releases.live()}
        names = [name] if name else sorted(live)
        found = [(one, opened.releases.releases(one)) for one in names]
    if json:
        as_json(
            [
                {
                    "integration": release.integration,
                    "release": release.number,
                    "live": integration in live and live[integration].number == release.number,
                    "created_at": iso(release.created_us),
                    "by": release.by,
                    "why": release.why,
                    "routes": [route.version for route in release.manifest.routes],
                }
                for integration, releases in found
                for release in releases
            ]
        )
        return
    if not any(releases for _, releases in found):
        talk.print("No release yet: splice release apply makes the first.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("integration", "release", "", "when (UTC)", "by"):
        table.add_column(column, no_wrap=True)
    for column in ("runs", "why"):
        table.add_column(column, overflow="fold")
    for integration, releases in found:
        for release in releases:
            here = live.get(integration)
            mark = "live" if here is not None and here.number == release.number else ""
            if mark and here is not None and here.stopped:
                mark = "stopped"
            runs = ", ".join(route.version for route in release.manifest.routes)
            if release.manifest.rollout is not None and release.manifest.rollout.variants:
                runs += f"; {rollout_text(release.manifest.rollout)}"
            when = iso(release.created_us)[:19].replace("T", " ")
            table.add_row(
                integration, str(release.number), mark, when, release.by, runs, release.why
            )
    out.print(table)


def _found(settings: Settings, control: Control, name: str | None) -> list[Plan]:
    root, modules = wiring.modules_of(settings)
    found, wrong = find(root, modules)
    if name is not None:
        found = [one for one in found if one.declaration.name == name]
    for one in found:
        wrong.extend(control.check(one))
    if wrong:
        mistakes(wrong, Path(settings.root))
        raise typer.Exit(REFUSED)
    if not found:
        raise DeclarationError(
            name or ", ".join(modules), got="no such integration in the declarations",
            mend="splice check lists what is declared",
        )  # fmt: skip
    return [control.plan(one, now_us=now_us()) for one in found]


def _show(plan: Plan) -> None:
    name = plan.manifest.integration
    for model in plan.new_models:
        out.print(f"  model {model.label} is new: {model.sha256[:12]}")
    if plan.before is None:
        routes = " -> ".join(route.version for route in plan.manifest.routes)
        out.print(f"{name}  first release: {routes}")
        return
    if not plan.is_new:
        out.print(f"{name}  release {plan.before.number} is what is declared")
        return
    out.print(f"{name}  changes to release {plan.before.number}:")
    for change in plan.changes:
        out.print(Text(f"  {change}", style="red" if change.breaking else ""))


@app.command()
def diff(
    name: OptionalName = None,
    old: Annotated[int | None, typer.Option("--from", help="Release to compare from.")] = None,
    new: Annotated[int | None, typer.Option("--to", help="Release to compare to.")] = None,
) -> None:
    """Show what the declaration on disk, or another release, changes against the live one."""
    with stores() as (settings, opened):
        control = wiring.control_of(settings, opened)
        if old is None and new is None:
            for plan in _found(settings, control, name):
                _show(plan)
                if plan.before is not None and plan.is_new:
                    before = opened.releases.bundle(plan.before.manifest.bundle)
                    out.print(source_diff(before, plan.found.bundle))
            return
        name = the_only(name or "")
        first = _release(opened, control, name, old)
        second = _release(opened, control, name, new)
        for change in manifest_diff(first.manifest, second.manifest):
            out.print(f"  {change}")
        sources = (opened.releases.bundle(one.manifest.bundle) for one in (first, second))
        out.print(source_diff(*sources))


def _release(opened: wiring.Stores, control: Control, name: str, number: int | None) -> Release:
    found = control.live_release(name) if number is None else opened.releases.release(name, number)
    if found is None:
        raise UnknownRelease(
            name, got=f"no release {number or 'live'}", mend=f"splice release list {name}"
        )
    return found


@app.command()
def apply(name: OptionalName = None, yes: Yes = False, why: Why = "") -> None:
    """Number what is declared as the next release and make it live, after showing the change."""
    with stores() as (settings, opened):
        control = wiring.control_of(settings, opened)
        plans = _found(settings, control, name)
        for plan in plans:
            _show(plan)
            _tell_what_returns(opened, plan)
        plans = [plan for plan in plans if plan.is_new]
        if not plans:
            talk.print("Nothing to apply.")
            return
        if not confirm("Apply?", yes):
            raise typer.Exit(REFUSED)
        for plan in plans:
            release = control.apply(plan, by=user_name(), why=why, now_us=now_us())
            undo = ""
            if plan.before is not None:
                undo = f" Undo: splice release rollback {release.integration}"
                if plan.before.number != release.number - 1:  # the one before was taken back
                    undo += f" --to {plan.before.number}"
            out.print(f"Release {release.number} of {release.integration} is live.{undo}")


def _tell_what_returns(opened: wiring.Stores, plan: Plan) -> None:
    """Whoever took a release back and applies again gets what the files say, not what runs."""
    if plan.before is None or not plan.is_new:
        return
    newest = opened.releases.releases(plan.manifest.integration)[0]
    if newest.number > plan.before.number:
        again = newest.manifest.digest == plan.manifest.digest
        state = "which is that of release" if again else "which is newer than release"
        talk.print(
            f"Release {newest.number} was rolled back to {plan.before.number}. Applying makes the "
            f"state of the files live again, {state} {newest.number}.", style="yellow",
        )  # fmt: skip


@app.command()
def rollback(
    name: Name,
    to: Annotated[
        int | None, typer.Option("--to", help="Release; the one before if left out.")
    ] = None,
    yes: Yes = False,
    why: Why = "",
) -> None:
    """Make an older release live again; running servers follow within a second."""
    with stores() as (settings, opened):
        control = wiring.control_of(settings, opened)
        now = control.live_release(name)
        shown = "none" if now is None else str(now.number)
        target = "the one before" if to is None else str(to)
        if not confirm(f"{name}: from release {shown} to {target}?", yes):
            raise typer.Exit(REFUSED)
        live = control.rollback(name, to, by=user_name(), why=why, now_us=now_us())
        out.print(f"Release {live.number} of {name} is live (was {shown}).")
        release = opened.releases.release(name, live.number)
        _tell_what_ends(now, release)
        _tell_what_runs(opened, release)


def _tell_what_ends(before: Release | None, after: Release | None) -> None:
    """Whoever goes back to before calls were protected, watched or looked at is told."""
    if before is None or after is None:
        return
    kept = ("protect", "policies", "review", "monitors")
    for change in manifest_diff(before.manifest, after.manifest):
        if change.field in kept:
            talk.print(f"With this: {change}", style="yellow")


def _tell_what_runs(opened: wiring.Stores, release: Release | None) -> None:
    """Whoever goes back by numbers may bring back what somebody took away."""
    for route in () if release is None else release.manifest.routes:
        champion = opened.models.aliases(route.model).get(CHAMPION) if route.model else None
        if champion is not None and champion != route.model_version:
            talk.print(
                f"It runs {route.version}, and the champion is {route.model}@{champion}: the next "
                f"apply takes that. splice models rollback {route.model} moves both."
            )


def _must_be_live(opened: wiring.Stores, name: str) -> None:
    known = sorted(one.integration for one in opened.releases.live())
    if name not in known:
        raise UnknownIntegration(
            name[:80], got="no live release of that name",
            promised=f"one of {', '.join(known) or 'none yet'}",
        )  # fmt: skip


def stop(
    why: Annotated[str, typer.Option("--why", help="Reason; callers are told it.")],
    name: TheOnly = "",
) -> None:
    """Switch an integration off: every worker refuses its calls within a second.

    It stays off after a restart, until splice start.
    """
    with stores() as (_, opened):
        _must_be_live(opened, name)
        opened.releases.set_stopped(name, why, by=user_name(), now_us=now_us())
    out.print(f"{name} is stopped: {why.rstrip('.')}. On again: splice start {name}")


def start(name: TheOnly = "") -> None:
    """Switch an integration on again."""
    with stores() as (_, opened):
        _must_be_live(opened, name)
        (before,) = [one for one in opened.releases.live() if one.integration == name]
        opened.releases.set_stopped(name, "", by=user_name(), now_us=now_us())
    was = f"it was stopped for: {before.stopped}" if before.stopped else "it was not stopped"
    out.print(f"{name} answers again; {was}")
