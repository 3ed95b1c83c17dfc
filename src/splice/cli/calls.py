"""`splice calls …`: what was asked and answered, and why."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, cast

import msgspec
import typer
from rich.table import Table

from splice.app.application import App
from splice.app.replay import differences
from splice.cli.common import Project, as_json, out, stores, talk
from splice.core.call import Outcome, Record, Status
from splice.core.errors import UnknownCall
from splice.core.ids import id_bytes
from splice.core.units import NANO, duration_text
from splice.ports.stores import CallFilter
from splice.serve.http.desk import call_of, iso

app = typer.Typer(no_args_is_help=True)
CallId = Annotated[str, typer.Argument(help="Id of the call.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def cost_text(nano: int | None, currency: str) -> str:
    """A cost that a person can read: unknown is said, and a small one keeps its digits."""
    if nano is None:
        return "unknown"
    amount = nano / NANO
    return f"{currency} {amount:.2f}" if amount >= 1 else f"{currency} {amount:.3g}"


@app.command("list")
def list_(
    integration: Annotated[str | None, typer.Option(help="Only of this integration.")] = None,
    entity: Annotated[str | None, typer.Option(help="Only about this entity.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only that ended so.")] = None,
    route: Annotated[str | None, typer.Option(help="Only answered by this route.")] = None,
    release: Annotated[int | None, typer.Option(help="Only by this release.")] = None,
    before: Annotated[str | None, typer.Option(help="Only older than this call: pages.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    json: Json = False,
) -> None:
    """List recorded calls, newest first."""
    wanted = CallFilter(
        integration=integration, entity=entity, status=status, route=route, release=release,
        before_id=before, limit=limit,
    )  # fmt: skip
    with stores() as (settings, opened):
        records = opened.records.find(wanted)
        currency = settings.cost.currency
    if json:
        as_json([call_of(record, [], currency) for record in records])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("call", no_wrap=True, min_width=36)
    table.add_column("when (UTC)", no_wrap=True)
    for column in ("integration", "answered by"):
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    table.add_column("ms", justify="right", no_wrap=True, min_width=5)
    table.add_column("cost", justify="right", no_wrap=True)
    for one in records:
        by = one.version if one.status is Status.ANSWERED else f"nobody: {one.reason}"
        if one.reason == "fallback":
            by += " (fallback)"
        table.add_row(
            one.call_id,
            iso(one.asked_us)[5:19].replace("T", " "),
            one.integration,
            by,
            f"{one.duration_us / 1000:.2f}",
            cost_text(one.cost_nano, currency),
        )
    out.print(table)


def _read(call_id: str) -> tuple[Record, list[Outcome], str]:
    try:
        id_bytes(call_id)
    except ValueError:
        raise UnknownCall(call_id[:80], got="something that is not a call id") from None
    with stores() as (settings, opened):
        record = opened.records.get(call_id)
        if record is None:
            raise UnknownCall(call_id, got="no such call in the ledger", mend="splice calls list")
        return record, opened.outcomes.outcomes_of(record), settings.cost.currency


@app.command()
def show(call_id: CallId) -> None:
    """Print one call whole, as JSON."""
    record, outcomes, currency = _read(call_id)
    as_json(call_of(record, outcomes, currency))


@app.command()
def explain(call_id: CallId) -> None:
    """Tell one call as a story: asked, gathered, tried, answered, cost, and what became of it."""
    record, outcomes, currency = _read(call_id)
    for line in story(record, outcomes, currency):
        out.print(line)


def story(record: Record, outcomes: list[Outcome], currency: str) -> list[str]:
    """The lines of `splice calls explain`."""
    lines = [
        f"Call {record.call_id}",
        f"  {record.integration}, release {record.release}, {iso(record.asked_us)}, "
        f"over {record.surface}" + (f", about {record.entity}" if record.entity else ""),
        "Asked",
        *_fields(record.input),
    ]
    if record.gathered:
        lines.append("Gathered")
        for one in record.gathered:
            age = "" if one.age_s is None else f", {duration_text(one.age_s)} old"
            values = ", ".join(f"{k}={v}" for k, v in one.values.items())
            lines.append(f"  {one.view} of {one.entity}: {values} (from {one.source}{age})")
    if record.context is not None:
        lines += ["Seen by the routes", *_fields(record.context)]
    lines.append("Tried")
    for number, attempt in enumerate(record.attempts, 1):
        what = f"  {number}. {attempt.route} ({attempt.version}) {attempt.ended}"
        what += f" after {attempt.latency_us / 1000:.3g} ms"
        what += f", cost {cost_text(attempt.cost_nano, currency)}"
        if attempt.usage is not None:
            tokens = (attempt.usage.input_tokens, attempt.usage.output_tokens)
            what += f", {tokens[0]} tokens in, {tokens[1]} out"
            what += " (estimated)" if attempt.usage.estimated else ""
        if attempt.first_token_us is not None:
            what += f", first token after {attempt.first_token_us / 1000:.3g} ms"
        lines.append(what)
        if attempt.why:
            lines.append(f"     because {attempt.why}")
    lines += [f"  Note: {note}" for note in record.notes]
    if record.prediction is not None:
        lines += ["Predicted", *_fields(record.prediction, skip=("cost_nano", "usage"))]
    if record.status is Status.ANSWERED:
        lines += ["Answered", *_fields(record.reply)]
        lines.append(f"  by {record.version}: {_REASONS.get(record.reason, record.reason)}")
    elif record.problem is not None:
        lines += ["Not answered", f"  {record.problem.where}: {record.problem.detail}"]
    lines.append(
        f"Took {record.duration_us / 1000:.3g} ms and cost {cost_text(record.cost_nano, currency)}"
    )
    lines.append("What became of it" if outcomes else "What became of it is not known yet")
    for outcome in outcomes:
        lines.append(f"  {outcome.name} = {outcome.value} at {iso(outcome.at_us)}")
    return lines


_REASONS = {
    "first": "the first route answered",
    "fallback": "the routes before it did not",
    "repeated": "the stored answer of the same idempotency key",
    "cached": "the kept answer to the very same question",
    "similar": "the kept answer to a question that means the same",
    "shared": "the answer to the same question, asked by another at the same time",
}


def _fields(raw: bytes | None, skip: tuple[str, ...] = ()) -> list[str]:
    if not raw:
        return ["  nothing"]
    plain: Any = msgspec.json.decode(raw)
    if not isinstance(plain, dict):
        return [f"  {plain}"]
    fields = cast("dict[str, Any]", plain)
    return [f"  {name}: {_short(value)}" for name, value in fields.items() if name not in skip]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    # What callers send may hold the escapes that a terminal obeys.
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text if len(text) <= 300 else f"{text[:300]}… ({len(text)} characters)"


@app.command()
def replay(
    call_id: CallId,
    release: Annotated[int | None, typer.Option(help="Another release to ask.")] = None,
    json: Json = False,
) -> None:
    """Run the recorded input through its release, or another, and show the difference."""

    async def run() -> tuple[Record, Record]:
        app = App(settings=Project.settings(), apply="never")
        async with app:
            recorded, answered = await app.replay(call_id, release)
            return recorded, answered.record

    recorded, again = asyncio.run(run())
    found = differences(recorded, again)
    if json:
        as_json({"call_id": call_id, "release": again.release, "differences": found})
        return
    talk.print(f"recorded by release {recorded.release}, replayed by release {again.release}")
    if not found:
        out.print("The same answer.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "recorded", "replayed"):
        table.add_column(column, overflow="fold")
    for one in found:
        table.add_row(one.what, one.recorded, one.replayed)
    out.print(table)
