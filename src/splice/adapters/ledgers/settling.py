"""What a transaction stores of settled events, made ready before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from splice.adapters.ledgers import outbox, queue, target_tables
from splice.adapters.ledgers.database import Into
from splice.adapters.ledgers.queued import New
from splice.core.call import Record
from splice.core.events import DeadLetter, Message, Settled

NOTE = "settled by another"
"""Noted in the record of a call whose event another has answered meanwhile."""

INBOX = Into(
    "inbox",
    (("event", "bytea"), ("body", "bytea"), ("call_id", "uuid"), ("at_us", "bigint")),
    or_ignore=True,
)  # fmt: skip


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What is known of one that came too late, or that was stored before."""

    late: bool  # another has answered it; else this very call has, and it is stored already
    ours: bool  # a row of a queue that is still leased to us


class Plan(msgspec.Struct, gc=False):
    """Rows, in the forms in which they are stored, and how many of them must be new."""

    records: list[Record] = []
    inbox: list[tuple[bytes, bytes, str, int]] = []
    held: dict[str, list[tuple[int, int]]] = {}
    """By queue, numbers of rows, and tokens by which we hold them."""
    new: list[New] = []  # rows for queues and for the outbox
    queues: set[str] = set()  # those that are touched
    tables: dict[str, list[tuple[Any, ...]]] = {}
    dead: list[DeadLetter] = []


def doubles(settled: Sequence[Settled]) -> dict[int, Verdict]:
    """Those that settle an event once more within the same batch."""
    found: dict[int, Verdict] = {}
    events = [one.inbox.event for one in settled if one.inbox is not None]
    if len(set(events)) == len(events):
        return found
    seen = set[bytes]()
    for place, one in enumerate(settled):
        if one.inbox is not None:
            if one.inbox.event in seen:
                found[place] = Verdict(late=True, ours=bool(one.event.token))
            seen.add(one.inbox.event)
    return found


def plan_of(settled: Sequence[Settled], verdicts: dict[int, Verdict], now_us: int) -> Plan:
    """Everything of those without a verdict; of late ones their records alone.

    Raises:
        SettingsError: A message goes to a table of a name that cannot be.
    """
    plan = Plan()
    records, inbox, held = plan.records, plan.inbox, plan.held
    for place, one in enumerate(settled):
        record, event = one.record, one.event
        verdict = verdicts.get(place) if verdicts else None
        if verdict is not None:
            if verdict.late and record is not None:
                records.append(msgspec.structs.replace(record, notes=(*record.notes, NOTE)))
            if verdict.ours:
                held.setdefault(event.origin.stream, []).append((event.origin.offset, event.token))
            continue
        if record is not None:
            records.append(record)
        if one.inbox is not None:
            inbox.append((one.inbox.event, one.inbox.body, one.inbox.call_id, now_us))
        if event.token:
            held.setdefault(event.origin.stream, []).append((event.origin.offset, event.token))
        if one.dead is not None:
            plan.dead.append(one.dead)
        if one.messages:
            call_id = record.call_id if record is not None else None
            _send(plan, one.messages, one.inbox.call_id if one.inbox else call_id, now_us)
    plan.queues.update(held, [row.queue for row in plan.new])
    inbox.sort()  # one order for all, so that no two wait for each other
    return plan


def _send(plan: Plan, messages: Sequence[Message], call_id: str | None, now_us: int) -> None:
    for message in messages:
        target = message.target
        if target.startswith("queue:"):
            row = queue.row_of(target, message.key, message.value, message.headers, now_us)
            plan.new.append(row)
        elif target.startswith("table:"):
            name = target_tables.table_of(target)
            row = target_tables.row_of(message, call_id, now_us)
            plan.tables.setdefault(name, []).append(row)
        else:
            plan.new.append(outbox.row_of(message))
