"""`splice init` and `splice check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from splice.app import wiring
from splice.app.buses import check_consumed
from splice.app.endpoints import away
from splice.app.init import write_project
from splice.app.pipelines import mistakes_of
from splice.cli.access import check_access, open_things, tell_openness
from splice.cli.common import REFUSED, as_json, mistakes, out, stores, talk
from splice.core.errors import DeclarationError
from splice.core.units import duration_text
from splice.declare.discover import find


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write it; made if it is not there.")],
    gateway: Annotated[
        bool, typer.Option("--gateway", help="For OpenAI and Anthropic clients.")
    ] = False,
) -> None:
    """Write a small project that runs: splice.toml, one integration, one request."""
    written = write_project(folder, gateway=gateway)
    out.print(f"Wrote {', '.join(written)} in {folder}")
    path = "chat/completions" if gateway else "integrations/order-screening/calls"
    talk.print(
        f"Now: cd {folder} && splice check && splice serve\n"
        "and in another terminal:\n"
        f"  curl -s http://127.0.0.1:8000/v1/{path} "
        "-H 'Content-Type: application/json' -d @request.json",
    )


def check(
    json: Annotated[bool, typer.Option("--json", help="Print mistakes as JSON.")] = False,
    access: Annotated[
        bool, typer.Option("--access", help="Only what is open, and to whom; exit code 1 if so.")
    ] = False,
) -> None:
    """Name every mistake in the declarations, with file, line, what was expected, what to do.

    Then what is open, and to whom: host, keys, console, metrics, gRPC, MCP, what goes without TLS.
    """
    if access:
        raise typer.Exit(check_access(json=json))
    with stores() as (settings, opened):
        root, modules = wiring.modules_of(settings)
        found, wrong = find(root, modules)
        control = wiring.control_of(settings, opened)
        for one in found:
            wrong.extend(control.check(one))
        wrong.extend(mistakes_of(found))
        if not wrong:
            live = {one.integration for one in opened.releases.live()}
            check_consumed(settings, live | {one.declaration.name for one in found})
        unreached = [] if json or wrong else away(settings, opened.models, found)
        unlocked = open_things(settings, opened)
    if json:
        as_json([_plain(one) for one in wrong])
    elif wrong:
        mistakes(wrong, Path(settings.root))
        talk.print(f"{len(wrong)} mistake{'s' if len(wrong) != 1 else ''}")
    elif not found:
        talk.print(f"No integration in {', '.join(modules)}: subclass splice.Integration there.")
        raise typer.Exit(REFUSED)
    else:
        for one in found:
            declaration = one.declaration
            routes = " -> ".join(timed.route.label for timed in declaration.routes)
            out.print(
                f"{declaration.name}  {declaration.risk} risk, "
                f"{duration_text(declaration.deadline_s)}, {routes}",
            )
        for said in unreached:
            talk.print(f"{said}\nIts calls fall back until it is there.", style="yellow")
        tell_openness(unlocked)
    if wrong:
        raise typer.Exit(REFUSED)


def _plain(one: DeclarationError) -> dict[str, str | int]:
    return {
        "file": one.file,
        "line": one.line,
        "where": one.where,
        "got": one.got,
        "expected": one.promised,
        "do": one.mend,
        "code": one.code,
    }
