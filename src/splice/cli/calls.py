"""`splice calls …`: what was asked and answered, and why."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Annotated, Any, cast

import msgspec
import typer
from rich.table import Table

from splice.app.application import App
from splice.app.replay import differences
from splice.cli.common import Project, as_json, out, stores, talk
from splice.core.call import Outcome, Reason, Record, Status
from splice.core.erasure import in_place_of_texts, is_erased
from splice.core.errors import UnknownCall
from splice.core.ids import id_bytes, id_text
from splice.core.policies import policy_told
from splice.core.reviews import Review
from splice.core.rollout import CHALLENGER, SHADOW
from splice.core.schedule import moment_text
from splice.core.units import cost_text, duration_text
from splice.ports.reviews import ReviewFilter
from splice.ports.stores import CallFilter
from splice.serve.http.desk import call_of, iso

app = typer.Typer(no_args_is_help=True)
CallId = Annotated[str, typer.Argument(help="Id of the call.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
# What stands before the id of the call where an answer of the gateway's own needs an id.
_OURS = re.compile("^(chatcmpl-|msg_|resp_|req_)")


@app.command("list")
def list_(
    integration: Annotated[str | None, typer.Option(help="Only of this integration.")] = None,
    entity: Annotated[str | None, typer.Option(help="Only about this entity.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only that ended so.")] = None,
    route: Annotated[str | None, typer.Option(help="Only answered by this route.")] = None,
    variant: Annotated[
        str | None, typer.Option(help="Only of this variant: champion, challenger, shadow.")
    ] = None,
    reason: Annotated[Reason | None, typer.Option(help="Only answered for this reason.")] = None,
    release: Annotated[int | None, typer.Option(help="Only by this release.")] = None,
    before: Annotated[str | None, typer.Option(help="Only older than this call: pages.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    archived: Annotated[
        bool, typer.Option("--archived", help="Of those that moved to the archive.")
    ] = False,
    json: Json = False,
) -> None:
    """List recorded calls, newest first."""
    wanted = CallFilter(
        integration=integration, entity=entity, status=status, route=route, release=release,
        variant=variant, reason=reason,
        before_id=before, limit=limit,
    )  # fmt: skip
    with stores() as (settings, opened):
        find = opened.records.find_archived if archived else opened.records.find
        records = find(wanted)
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
        by = _answered_by(one) if one.status is Status.ANSWERED else f"nobody: {one.reason}"
        marks = [one.variant] if one.variant in (CHALLENGER, SHADOW) else []
        marks += ["fallback"] if one.reason == "fallback" else []
        if marks:
            by += f" ({', '.join(marks)})"
        table.add_row(
            one.call_id,
            iso(one.asked_us)[5:19].replace("T", " "),
            one.integration,
            by,
            f"{one.duration_us / 1000:.2f}",
            cost_text(_cost(one), currency),
        )
    out.print(table)


def _answered_by(record: Record) -> str:
    """Which model, or whose answer: one that was kept has no route of its own."""
    if record.version:
        return record.version
    return "another's answer" if record.reason is Reason.SHARED else "a kept answer"


def _cost(record: Record) -> int | None:
    """What it cost: nothing where nothing was tried, though nobody wrote that down."""
    return 0 if record.status is Status.REFUSED and not record.attempts else record.cost_nano


def _call_id(written: str) -> str:
    """The id of a call: as it is, or within the id of an answer that this gateway wrote.

    Raises:
        UnknownCall: It is neither.
    """
    text = _OURS.sub("", written)
    if re.fullmatch("[0-9a-f]{32}", text):
        text = id_text(bytes.fromhex(text))
    try:
        id_bytes(text)
    except ValueError:
        raise UnknownCall(
            written[:80],
            got="something that is not a call id",
            promised="a UUID",
            mend="take it from the answer (call_id, or the header splice-call-id), "
            "or from splice calls list",
        ) from None
    return text


def _read(call_id: str) -> tuple[Record, list[Outcome], str]:
    call_id = _call_id(call_id)
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
    with stores() as (_, opened):
        reviews = opened.reviews.reviews(ReviewFilter(call_id=record.call_id))
    for line in story(record, outcomes, currency, reviews):
        out.print(line)


def story(
    record: Record, outcomes: list[Outcome], currency: str, reviews: Sequence[Review] = ()
) -> list[str]:
    """The lines of `splice calls explain`."""
    lines = [
        f"Call {record.call_id}",
        f"  {record.integration}, release {record.release}, {iso(record.asked_us)}, "
        f"over {record.surface}" + (f", about {record.entity}" if record.entity else ""),
    ]
    if record.shadow_of:
        lines.append(f"  a shadow of call {record.shadow_of}: nobody got its answer")
    elif record.variant:
        lines.append(f"  variant {record.variant}")
    gone = in_place_of_texts(record.notes)
    if record.input or gone:
        lines += ["Asked", *_fields(record.input, gone)]
    if record.gathered:
        lines.append("Gathered")
        for one in record.gathered:
            age = "" if one.age_s is None else f", {duration_text(one.age_s)} old"
            values = ", ".join(f"{k}={v}" for k, v in one.values.items())
            lines.append(f"  {one.view} of {one.entity}: {values} (from {one.source}{age})")
    if record.context is not None:
        lines += ["Seen by the routes", *_fields(record.context)]
    if record.attempts:
        lines += ["Tried", *_tried(record, currency)]
    lines += [f"  Note: {note}" for note in record.notes]
    if record.policies:
        lines += ["Policies", *(f"  {one.policy} {policy_told(one)}" for one in record.policies)]
    if record.prediction is not None:
        lines += ["Predicted", *_fields(record.prediction, skip=("cost_nano", "usage"))]
    elif gone and record.version:
        lines += ["Predicted", f"  {gone}"]
    lines += _ended(record, gone)
    lines += _reviewed(reviews, gone)
    took, cost = _time(record.duration_us), cost_text(_cost(record), currency)
    lines.append(f"Took {took} and cost {cost}")
    if outcomes:
        lines.append("What became of it")
    elif is_erased(record.notes):
        lines.append(
            "What became of it: outcomes that were texts are erased, others there are none"
        )
    else:
        lines.append("What became of it is not known yet")
    for outcome in outcomes:
        lines.append(f"  {outcome.name} = {outcome.value} at {iso(outcome.at_us)}")
    return lines


def _tried(record: Record, currency: str) -> list[str]:
    lines: list[str] = []
    for number, attempt in enumerate(record.attempts, 1):
        what = f"  {number}. {attempt.route} ({attempt.version}) {attempt.ended}"
        what += f" after {_time(attempt.latency_us)}"
        what += f", cost {cost_text(attempt.cost_nano, currency)}"
        if attempt.usage is not None:
            tokens = (attempt.usage.input_tokens, attempt.usage.output_tokens)
            what += f", {tokens[0]} tokens in, {tokens[1]} out"
            what += " (estimated)" if attempt.usage.estimated else ""
        if attempt.first_token_us is not None:
            what += f", first token after {_time(attempt.first_token_us)}"
        lines.append(what)
        if attempt.why:
            lines.append(f"     because {attempt.why}")
    return lines


def _ended(record: Record, gone: str) -> list[str]:
    """The answer and why it was given; or why there is none, and what came before."""
    if record.status is Status.ANSWERED:
        why = _REASONS.get(record.reason, record.reason)
        if record.reason is Reason.FALLBACK and len({one.route for one in record.attempts}) == 1:
            why = "an earlier try did not"
        by = f"  by {record.version}: {why}" if record.version else f"  {why}"
        return ["Answered", *_fields(record.reply, gone), by]
    lines: list[str] = []
    if record.problem is not None:
        place, detail = f"{record.problem.where}: ", record.problem.detail or gone
        if record.reason in (Reason.DISCONNECTED, Reason.CANCELLED):
            # Nothing was got: somebody left.
            place, detail = "", detail.removeprefix("got ")
        lines += ["Not answered", f"  {place}{detail}"]
    if record.reply:
        said = _said(record.reply)
        lines += ["What came before", *([f"  {_short(said)}"] if said else _fields(record.reply))]
    return lines


_VERDICTS = {"approve": "Approved", "override": "Overridden", "escalate": "Escalated"}


def _reviewed(reviews: Sequence[Review], gone: str) -> list[str]:
    """What people said of it, the oldest first: who, when, why, and what it should have been."""
    lines: list[str] = []
    for review in sorted(reviews, key=lambda one: one.opened_us):
        for said in review.verdicts:
            why = f": {said.reason}" if said.reason else ""
            lines.append(f"{_VERDICTS[said.choice]} by {said.by}, {moment_text(said.at_us)}{why}")
            if said.note:
                lines.append(f"  note: {_short(said.note)}")
            if said.choice == "override":
                lines += _fields(said.reply.encode(), gone)
        if review.waits:
            lines.append(f"Waits for a person: {review.why} (splice reviews show {review.id})")
    return lines


def _said(reply: bytes) -> str:
    """The text in a chat completion, a message or a response; empty where there is none."""
    try:
        found = msgspec.json.decode(reply, type=_Reply)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    texts = [part.text for part in found.content]
    texts += [part.text for item in found.output for part in item.content]
    texts += [one.message.content for one in found.choices]
    return "\n".join(text for text in texts if text)


class _Part(msgspec.Struct):
    text: str | None = None


class _Item(msgspec.Struct):
    content: list[_Part] = []


class _Message(msgspec.Struct, frozen=True):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message = _Message()


class _Reply(msgspec.Struct):
    choices: list[_Choice] = []
    content: list[_Part] = []
    output: list[_Item] = []


def _time(microseconds: int) -> str:
    """A time that a person can read: "1.2 s", "3.4 ms"."""
    return duration_text(float(f"{microseconds / 1e6:.3g}"))


_REASONS = {
    "first": "the first route answered",
    "fallback": "the routes before it did not",
    "repeated": "the stored answer of the same idempotency key",
    "cached": "the kept answer to the very same question",
    "similar": "the kept answer to a question that means the same",
    "shared": "the answer to the same question, asked by another at the same time",
}


def _fields(raw: bytes | None, gone: str = "", skip: tuple[str, ...] = ()) -> list[str]:
    if not raw:
        return [f"  {gone or 'nothing'}"]
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
    call_id = _call_id(call_id)

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
