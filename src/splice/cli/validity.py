"""`splice models validity|revalidate`: whether validations hold, and what renews them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from splice.app.clock import now_us
from splice.app.settings import user_name
from splice.app.validity import (
    declarations_of,
    revalidate,
    revalidator_of,
    standings,
    told_of,
)
from splice.app.wiring import Stores
from splice.cli.common import REFUSED, as_json, out, stores
from splice.control.cases import day
from splice.control.validity import Validity
from splice.core.errors import NotPromoted
from splice.declare.diff import validity_text

Name = Annotated[str | None, typer.Argument(help="Name of an integration; all if left out.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_to(app: typer.Typer) -> None:
    """The commands, under `splice models`."""
    app.command()(validity)
    app.command("revalidate")(again)


def validity(name: Name = None, json: Json = False) -> None:
    """Show how the versions that answer stand: validated until when, on what, and what is next.

    Exit 1 where one does not hold.
    """
    with stores() as (settings, opened):
        found = list(_standings(opened, name))
        next_us = {
            (one.release.integration, one.case.version.label): one.at_us
            for one in revalidator_of(settings, opened).due()
        }
    if json:
        as_json([_plain(one, next_us.get((one.integration, one.label))) for one in found])
    else:
        _show(found, next_us)
    if any(one.why for one in found):
        raise typer.Exit(REFUSED)


def _standings(opened: Stores, name: str | None) -> list[Validity]:
    reopened, found = declarations_of(opened), list[Validity]()
    for live in opened.releases.live():
        release = opened.releases.release(live.integration, live.number)
        if release is None or name not in (None, live.integration):
            continue
        declaration = reopened(release.manifest.bundle, release.manifest.entry)
        found += standings(opened, release, declaration, now_us())
    return found


def _plain(one: Validity, next_us: int | None) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(one)
    return {**plain, "failed": one.failed, "next_us": next_us}


def _show(found: list[Validity], next_us: dict[tuple[str, str], int]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("integration", "version", "state", "until", "again", "declared", "last"):
        table.add_column(column, overflow="fold")
    for one in found:
        due = next_us.get((one.integration, one.label))
        table.add_row(
            one.integration, one.label, one.state,
            day(one.until_us) if one.until_us else "for ever" if not one.why else "",
            day(due) if due else "", validity_text(one.terms) if one.terms else "", told_of(one),
        )  # fmt: skip
    out.print(table)


def again(
    name: Annotated[str, typer.Argument(help="Name of an integration.")], json: Json = False
) -> None:
    """Run the gates of what answers on fresh calls now, due or not; what was found is kept.

    Exit 1 where one fails, or where there are too few calls with an outcome.
    """
    with stores() as (settings, opened):
        dues = [
            one for one in revalidator_of(settings, opened).due() if one.release.integration == name
        ]
        if not dues:
            raise NotPromoted(
                name[:80], got="no gates that are asked again", promised="a live release with them",
                mend="declare gates = splice.Gates(fresh=splice.Fresh(every=…)), and apply",
            )  # fmt: skip
        done = [revalidate(settings, opened, one, user_name()) for one in dues]
    if json:
        as_json([{"said": said, "passed": passed} for said, passed in done])
    else:
        for said, _ in done:
            out.print(said)
    if not all(passed for _, passed in done):
        raise typer.Exit(REFUSED)
