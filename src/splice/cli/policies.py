"""`splice policies …`: what may go into a model and what may come out, and tests of that."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from splice.app.policy_cases import Verdict, declared, judge, read_cases
from splice.cli.common import REFUSED, Project, as_json, out, talk
from splice.core.units import plural

app = typer.Typer(no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(
    integration: Annotated[
        str | None, typer.Argument(help="Name of the integration; all if left out.")
    ] = None,
    json: Json = False,
) -> None:
    """List the policies that are declared: where each stands, what it does, its version."""
    found = [
        (one.declaration.name, policy)
        for one in declared(Project.settings())
        for policy in one.declaration.options.policed.policies
        if integration in (None, one.declaration.name)
    ]
    if json:
        as_json([{"integration": name, **msgspec.to_builtins(one)} for name, one in found])
        return
    if not found:
        talk.print("No policy is declared: policies = [splice.Policy(…)] in an integration.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("integration", "policy", "at", "then", "version", "rule"):
        table.add_column(column, overflow="fold")
    for name, one in found:
        rule = msgspec.json.encode(one.rule).decode()
        short = rule if len(rule) <= 60 else f"{rule[:59]}…"
        table.add_row(name, one.name, ", ".join(one.at), one.then, one.version, short)
    out.print(table)


@app.command("test")
def ask(
    file: Annotated[Path, typer.Argument(help="JSONL: a case a line, with text and expect.")],
    json: Json = False,
) -> None:
    """Ask the declared policies about the texts of a file; exit code 1 if one does otherwise.

    A case has `text`, `expect` (passed, flagged, redacted, review, refused), and may have `at`,
    `policy`, `integration`, `becomes` (the text with what is taken out), `tool`, `times`.
    """
    settings = Project.settings()
    verdicts = judge(settings, declared(settings), read_cases(file))
    bad = [one for one in verdicts if not one.good]
    if json:
        as_json([{**msgspec.to_builtins(one), "good": one.good} for one in verdicts])
    else:
        for one in bad:
            out.print(f"{file}:{one.line}: {_told(one)}")
        talk.print(f"{plural(len(verdicts), 'case')}, {len(bad)} otherwise than expected")
    if bad:
        raise typer.Exit(REFUSED)


def _told(one: Verdict) -> str:
    case = one.case
    what = case.tool if case.tool is not None else case.text
    shown = what if len(what) <= 60 else f"{what[:59]}…"
    said = f"{shown!r} was {one.did}"
    if one.found:
        said += f" ({one.found})"
    if one.did == case.expect:
        return f"{said}, and became {one.became!r}, expected {case.becomes!r}"
    return f"{said}, expected {case.expect}"
