"""`splice reviews …`: calls that a person must look at, and what he says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from splice.app import rolling
from splice.app.clock import now_us
from splice.app.overseeing import Explanations, declared_by, oversight_of
from splice.app.settings import Settings, user_name
from splice.app.wiring import Stores
from splice.cli.common import REFUSED, as_json, confirm, out, stores, talk
from splice.cli.moments import WrongOption
from splice.console.replying import inputs_of
from splice.control.oversight import Oversight, Ruling
from splice.core.access import Grant, Principal, Role
from splice.core.call import Record
from splice.core.erasure import in_place_of_texts
from splice.core.explanations import Attributions
from splice.core.release import Release
from splice.core.reviews import CHOICES, Review, ReviewState
from splice.core.units import duration_text
from splice.ports.reviews import ReviewFilter
from splice.serve.http.desk import iso
from splice.serve.reviews import explained, shown

app = typer.Typer(no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="Id of the review.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
_STATES: tuple[ReviewState, ...] = ("open", "escalated", "decided", "expired")
_WAIT_S = 60.0


@app.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(help="Only of this integration.")] = None,
    state: Annotated[
        str, typer.Option(help="open, escalated, decided or expired; what waits if left out.")
    ] = "",
    overdue: Annotated[bool, typer.Option("--overdue", help="Only those that are late.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    json: Json = False,
) -> None:
    """List calls that wait for a person, those that are due first at first."""
    known: ReviewState | None = next((one for one in _STATES if one == state), None)
    if state and known is None:
        raise WrongOption("--state", got=repr(state), promised=f"one of {', '.join(_STATES)}")
    wanted = ReviewFilter(
        None if name is None else (name,), known, None if known else True,
        due_before_us=now_us() if overdue else None, limit=limit,
    )  # fmt: skip
    with stores() as (settings, opened):
        rolling.catch_up(opened)  # where no server runs, nobody else opens what waits
        found = _desk(settings, opened).listed(_me(), wanted)
    if json:
        as_json([shown(one, now_us()) for one in found])
        return
    if not found:
        talk.print("Nothing waits for a person." if known is None else f"None is {known}.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("review", "integration", "asked (UTC)", "left", "state"):
        table.add_column(column, no_wrap=True)
    table.add_column("why", overflow="fold")
    for one in found:
        table.add_row(
            one.id, one.integration, iso(one.asked_us)[:19].replace("T", " "), left_text(one),
            _state(one), one.why,
        )  # fmt: skip
    out.print(table)


@app.command()
def show(
    review_id: Id,
    why: Annotated[
        bool, typer.Option("--why", help="Also what the answer rests on; takes some seconds.")
    ] = False,
    json: Json = False,
) -> None:
    """Show a review with its call: what was asked, what was answered, and what people said."""
    with stores() as (settings, opened):
        review = _desk(settings, opened).one(_me(), review_id)
        record = opened.records.get(review.call_id)
        explanation = None
        if why and record is not None:
            explains = Explanations(settings, opened, declared_by(opened))
            try:
                currency = settings.cost.currency
                explanation = explained(explains, record, lambda _: True, currency, _WAIT_S)
            finally:
                explains.close()
    if json:
        call = None if record is None else _call(record)
        as_json({
            "review": shown(review, now_us()), "call": call, "explanation": explanation,
        })  # fmt: skip
        return
    out.print(f"{review.id}  {_state(review)}, {left_text(review)}")
    out.print(f"  {review.integration}, release {review.release}: {review.why}")
    if record is None:
        out.print("  the call is not in the ledger any more")
    else:
        gone = in_place_of_texts(record.notes)
        for title, document in (
            ("asked", record.input), ("predicted", record.prediction), ("decided", record.reply),
        ):  # fmt: skip
            out.print(f"  {title}: {_plain(document, gone)}")
        out.print(f"  by {record.version or record.route}; splice calls show {record.call_id}")
    for said in review.verdicts:
        text = f"  {iso(said.at_us)[:19].replace('T', ' ')} {said.by}: {said.choice}"
        out.print(": ".join(one for one in (text, said.reason, said.note) if one))
        if said.reply:
            out.print(f"    {_plain(said.reply.encode())}")
    if explanation is not None and explanation.attributions is not None:
        _rests_on(explanation.attributions)


@app.command()
def decide(
    review_id: Id,
    choice: Annotated[
        str,
        typer.Argument(
            help="approve; override, with --reply and --reason; or escalate, with --reason.",
            show_default=False,
        ),
    ] = "",
    reply: Annotated[
        str, typer.Option(help="The decision as it should be: JSON, or @FILE. Of an override.")
    ] = "",
    reason: Annotated[str, typer.Option(help="Why it was wrong, or another must decide.")] = "",
    note: Annotated[str, typer.Option(help="What else is to be known.")] = "",
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Say of a call whether its decision stands; what is said is final."""
    if choice not in CHOICES:
        raise WrongOption(
            "choice", got=repr(choice) if choice else "none",
            promised=f"one of {', '.join(CHOICES)}",
            mend="an override needs --reply and --reason, an escalation --reason",
        )  # fmt: skip
    body = _file(reply[1:]) if reply.startswith("@") else reply.encode()
    with stores() as (settings, opened):
        desk = _desk(settings, opened)
        review = desk.one(_me(), review_id)
        record = opened.records.get(review.call_id)
        release = opened.releases.release(review.integration, review.release)
        _check_whole(review, release, Ruling(choice, body, reason, note))
        if record is not None:
            talk.print(f"decided: {_plain(record.reply, in_place_of_texts(record.notes))}")
        if choice == "override":
            talk.print(f"instead: {_plain(body)}")
        if not confirm(f"{choice} as {user_name()}?", yes):
            raise typer.Exit(REFUSED)
        done = desk.decide(_me(), review_id, Ruling(choice, body, reason, note), now_us())
    if json:
        as_json(shown(done, now_us()))
        return
    out.print(f"{done.id} is {done.state}{_next(done)}")


@app.command()
def again(
    review_id: Id,
    why: Annotated[str, typer.Option("--why", help="Why it must be looked at once more.")],
    json: Json = False,
) -> None:
    """Have a decided call looked at once more; what was decided stays as it is."""
    with stores() as (settings, opened):
        new = _desk(settings, opened).again(_me(), review_id, why, now_us())
    if json:
        as_json(shown(new, now_us()))
        return
    out.print(f"{new.id} is open.")


def _check_whole(review: Review, release: Release | None, ruling: Ruling) -> None:
    """Names all that a verdict lacks at once, with what may stand there."""
    reason, known = ruling.reason.strip(), review.terms.reasons
    lacks: list[tuple[str, str, str]] = []
    if ruling.choice == "override":
        if not ruling.reply:
            lacks.append(("--reply", "", _replies_told(release)))
        if not reason or (known and reason not in known):
            among = f"one of {', '.join(known)}" if known else "why it was wrong"
            lacks.append(("--reason", reason, among))
    if ruling.choice == "escalate" and not (reason or ruling.note.strip()):
        lacks.append(("--reason", "", "why somebody else must decide"))
    if lacks:
        raise WrongOption(
            ruling.choice,
            got=" and ".join(
                f"{n} {given[:80]!r}" if given else f"no {n}" for n, given, _ in lacks
            ),
            promised="; ".join(f"{name}: {among}" for name, _, among in lacks),
        )


def _replies_told(release: Release | None) -> str:
    """What a corrected decision is made of: "JSON of chance (number), action (pay, review)"."""
    schema = {} if release is None else release.manifest.reply_schema
    fields = [one for one in inputs_of(schema, None, None) if one.name]
    told = ", ".join(f"{one.name} ({', '.join(one.options) or one.kind})" for one in fields)
    return f"JSON of {told}" if told else "the decision as it should be, in JSON"


def left_text(one: Review) -> str:
    """How much of the service level is left, or by how much it was missed."""
    left = (one.due_us - (one.decided_us or now_us())) / 1e6
    text = duration_text(max(1.0, abs(left)))
    if not one.waits:
        return f"{text} before its time" if left >= 0 else f"{text} too late"
    return f"{text} left" if left >= 0 else f"{text} overdue"


def _me() -> Principal:
    # Who can open the ledger could write into it: here, nobody is kept from anything.
    return Principal(name=user_name(), grants=(Grant(Role.ADMIN),))


def _desk(settings: Settings, opened: Stores) -> Oversight:
    return oversight_of(settings, opened, declared_by(opened))


def _state(one: Review) -> str:
    standing = one.standing(now_us())
    return f"claimed by {one.holder}" if standing == "claimed" else standing


def _next(one: Review) -> str:
    if one.state == "escalated":
        return ": somebody else, who may approve, decides."
    return ": a second person decides." if one.state == "open" else "."


def _rests_on(found: Attributions) -> None:
    if found.why:
        out.print(f"  what it rests on: {found.why}")
        return
    out.print(f"  {found.of} {found.answer:.4g}, of {found.background} others {found.base:.4g}:")
    for part in found.parts[:10]:
        out.print(f"    {part.adds:+.4f}  {part.feature} {part.value}")


def _call(record: Record) -> dict[str, Any]:
    return {
        "call_id": record.call_id, "input": _json(record.input), "reply": _json(record.reply),
        "prediction": _json(record.prediction), "version": record.version,
        "notes": record.notes,
    }  # fmt: skip


def _json(document: bytes | None) -> Any:
    try:
        return msgspec.json.decode(document) if document else None
    except msgspec.DecodeError:
        return (document or b"").decode("utf-8", "replace")


def _plain(document: bytes | None, gone: str = "") -> str:
    text = document.decode("utf-8", "replace") if document else gone or "nothing"
    # What callers send may hold the escapes that a terminal obeys.
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text if len(text) <= 2000 else f"{text[:2000]}…"


def _file(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise WrongOption("--reply", got=str(error), promised="a file that can be read") from None
