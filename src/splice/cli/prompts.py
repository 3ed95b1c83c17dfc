"""`splice prompts …`: which versions there are, what differs, and which answers better."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from splice.app.application import App
from splice.app.prompt_verdicts import Comparison, Figures, Side, Tried
from splice.app.prompt_versions import (
    named_prompt,
    pinned_prompts,
    prompt_of,
    prompt_on_disk,
    prompt_routes,
    release_of,
)
from splice.app.prompts import Trial, try_prompt
from splice.cli.common import Project, as_json, out, stores, talk
from splice.cli.moments import WrongOption, moment_us
from splice.core.release import Release
from splice.core.units import cost_text, plural
from splice.declare.prompt_diff import PromptDiff, prompt_diff
from splice.ports.stores import ReleaseStore

app = typer.Typer(no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_SHOWN = 10
_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


@app.command("list")
def list_(
    integration: Annotated[
        str | None, typer.Argument(help="Name of the integration; all if left out.")
    ] = None,
    json: Json = False,
) -> None:
    """List the prompt versions of every release, newest release first; the live one is marked."""
    with stores() as (_, opened):
        found = pinned_prompts(opened.releases, integration)
    if json:
        as_json([{**msgspec.structs.asdict(one), "version": one.version} for one in found])
        return
    if not found:
        talk.print("No release has a prompt.")
        return
    table = _table("prompt", "version", "integration", "release", "", "route")
    for one in found:
        live = "live" if one.live else ""
        table.add_row(one.path, one.version, one.integration, str(one.release), live, one.route)
    out.print(table)


@app.command()
def diff(
    first: Annotated[str, typer.Argument(help="FILE, FILE@RELEASE, FILE@live or an integration.")],
    second: Annotated[
        str | None, typer.Argument(help="The other; of a single file it is the live one.")
    ] = None,
    old: Annotated[int | None, typer.Option("--from", help="Release to compare from.")] = None,
    new: Annotated[int | None, typer.Option("--to", help="Release to compare to.")] = None,
    json: Json = False,
) -> None:
    """Show what differs between two versions of a prompt, part by part.

    Files: splice prompts diff triage.md@3 triage.md. Where several integrations have prompts of one
    path: triage.md@INTEGRATION:3. Releases: splice prompts diff INTEGRATION --from 3 --to 4.
    """
    with stores() as (settings, opened):
        if old is not None or new is not None:
            if second is not None:
                raise WrongOption(
                    "prompts diff", got="two prompts and releases too",
                    promised="either of them", mend="name one integration with --from and --to",
                )  # fmt: skip
            after = release_of(opened.releases, first, new)
            before = release_of(opened.releases, first, after.number - 1 if old is None else old)
            found = _between(opened.releases, before, after)
        else:
            if second is None:
                path, at, _ = first.rpartition("@")
                if at:
                    second = f"{path}@live"
                else:
                    first, second = f"{prompt_on_disk(settings, first)[1]}@live", first
            found = [
                prompt_diff(
                    named_prompt(settings, opened, first), named_prompt(settings, opened, second)
                )
            ]
    if json:
        as_json(found)
        return
    for one in found:
        _show(one)
    if not found or all(one.same for one in found):
        talk.print("No difference.")


def _between(releases: ReleaseStore, before: Release, after: Release) -> list[PromptDiff]:
    """The differences of the prompts of two releases, route by route."""
    old = {route.label: route.prompt for route in prompt_routes(before)}
    new = {route.label: route.prompt for route in prompt_routes(after)}
    for label in dict.fromkeys([*old, *new]):
        if label not in old or label not in new:
            talk.print(f"{label}: only in release {(after if label in new else before).number}")
    return [
        prompt_diff(prompt_of(releases, before, old[label]), prompt_of(releases, after, new[label]))
        for label in old
        if label in new
    ]


def _show(found: PromptDiff) -> None:
    if found.same:
        return
    out.print(f"{found.before} -> {found.after}")
    for variable in found.variables:
        out.print(f"  variable {variable}")
    for part in found.parts:
        out.print(f"  ## {part.part}")
        for line in part.lines:
            out.print(Text(f"  {line}", style=_STYLES.get(line[:1], "")))


@app.command("try")
def try_(
    integration: Annotated[str, typer.Argument(help="Name of the integration.")],
    prompt: Annotated[str, typer.Option(help="The candidate: a prompt file.")],
    against: Annotated[
        int | None,
        typer.Option(help="Release to ask again beside it; left out, what was recorded."),
    ] = None,
    route: Annotated[
        str | None, typer.Option(help="Label of the route, where several have prompts.")
    ] = None,
    calls: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, newest.")] = 20,
    since: Annotated[
        str | None, typer.Option(help='Only calls of the last "7 d", or since 2027-01-31.')
    ] = None,
    outcome: Annotated[
        list[str] | None,
        typer.Option(help="OUTCOME=FIELD: the field of the reply that foretells it."),
    ] = None,
    at_once: Annotated[int, typer.Option(min=1, max=256, help="Calls asked at a time.")] = 4,
    write: Annotated[
        Path | None, typer.Option("--out", help="Write every call as a line of JSON.")
    ] = None,
    json: Json = False,
) -> None:
    """Ask recorded calls again with another prompt, and compare.

    The model sees what the call saw then. Only the route with the prompt is asked. No call is
    recorded and no budget is charged, but the provider asks its price.
    """
    settings = Project.settings()
    text, path = prompt_on_disk(settings, prompt)
    trial = Trial(
        integration=integration,
        text=text,
        path=path,
        route=route,
        against=against,
        calls=calls,
        since_us=None if since is None else moment_us(since, "--since"),
        fields=dict(_pair(one) for one in outcome or ()),
        at_once=at_once,
    )

    async def run() -> Comparison:
        async with App(settings=settings, apply="never") as started:
            return await try_prompt(started.services, started.watched, trial)

    found = asyncio.run(run())
    if write is not None:
        rows = (msgspec.json.encode(_row(one)) + b"\n" for one in found.calls)
        write.write_bytes(b"".join(rows))
        talk.print(f"{plural(len(found.calls), 'call is', 'calls are')} in {write}")
    if json:
        as_json(_plain(found))
        return
    _print(found, settings.cost.currency)


def _pair(text: str) -> tuple[str, str]:
    name, equals, field = text.partition("=")
    if not (name and equals and field):
        raise WrongOption("--outcome", got=repr(text[:80]), promised="OUTCOME=FIELD")
    return name, field


def _row(one: Tried) -> dict[str, Any]:
    return {"call_id": one.call_id, "verdict": one.verdict, **msgspec.structs.asdict(one)}


def _plain(found: Comparison) -> dict[str, Any]:
    before, after = found.figures
    return {
        **msgspec.structs.asdict(found),
        "verdicts": found.verdicts,
        "figures": {"before": before, "after": after},
        "calls": [_row(one) for one in found.calls],
    }


def _print(found: Comparison, currency: str) -> None:
    skipped = ", ".join(f"{count} {why}" for why, count in found.skipped.items())
    if skipped:
        talk.print(f"Passed over: {skipped}.")
    if not found.calls:
        talk.print("No recorded call could be asked again.")
        return
    old = found.before if found.before_release is None else f"release {found.before_release}"
    count = len(found.calls)
    out.print(f"{found.integration}, {found.route}: {plural(count, 'call')}")
    out.print(f"  before  {'as recorded' if found.before_release is None else found.before}")
    out.print(f"  after   {found.after}")
    verdicts = ", ".join(f"{many} {name}" for name, many in found.verdicts.items() if many)
    out.print(f"  answers {verdicts}")
    before, after = found.figures
    table = _table("", "recorded" if found.before_release is None else old, "candidate")
    for name, one, two in _lines(before, after, count, currency):
        table.add_row(name, one, two)
    out.print(table)
    other = [one for one in found.calls if one.verdict not in ("same", "neither")]
    if other:
        changes = _table("call", "before", "after")
        for one in other[:_SHOWN]:
            changes.add_row(one.call_id, *_changed(one))
        out.print(changes)
    if len(other) > _SHOWN:
        talk.print(f"and {len(other) - _SHOWN} more: --out FILE writes them all")


def _lines(
    before: Figures, after: Figures, count: int, currency: str
) -> list[tuple[str, str, str]]:
    def both(name: str, show: Callable[[Figures], str]) -> tuple[str, str, str]:
        return name, show(before), show(after)

    rows = [
        both("answered", lambda one: f"{one.answered} of {count}"),
        both("in the declared type", lambda one: _share(one.typed)),
        both("right by outcome", lambda one: f"{_share(one.right)} of {one.judged}"),
        both("latency, median", lambda one: _number(one.median_ms, " ms")),
        both("latency, p95", lambda one: _number(one.p95_ms, " ms")),
        both("tokens in a call", lambda one: _number(one.input_tokens)),
        both("tokens out a call", lambda one: _number(one.output_tokens)),
        both("cost of a call", lambda one: _cost(one.cost_nano, currency)),
    ]
    return [row for row in rows if row[0] != "right by outcome" or before.judged or after.judged]


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None, unit: str = "") -> str:
    return "unknown" if value is None else f"{value:.4g}{unit}"


def _cost(nano: float | None, currency: str) -> str:
    return cost_text(None if nano is None else round(nano), currency)


def _changed(one: Tried) -> tuple[str, str]:
    """What differs in the two answers: the fields that do, where both are objects."""
    old, new = _answer(one.before), _answer(one.after)
    if isinstance(old, dict) and isinstance(new, dict):
        left, right = cast("dict[str, Any]", old), cast("dict[str, Any]", new)
        names = [k for k in dict.fromkeys([*left, *right]) if left.get(k) != right.get(k)]
        old, new = ({k: side.get(k) for k in names} for side in (left, right))
    return _short(old), _short(new)


def _answer(side: Side) -> Any:
    return f"no answer: {side.why}" if side.reply is None else msgspec.json.decode(side.reply)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text if len(text) <= 120 else f"{text[:120]}…"
