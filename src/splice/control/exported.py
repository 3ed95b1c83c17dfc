"""Verifying an export: a file of events, leaves of calls and signed heads, and no ledger."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import msgspec

from splice.control.following import Follower, Leaf
from splice.control.proving import EXPORT
from splice.control.verifying import Chain, broken_head
from splice.core.audit import AuditEvent
from splice.core.errors import SpliceError
from splice.core.heads import Note, PublicKey, notes
from splice.core.inspection import Broken, Inspection
from splice.core.leaves import CallLeaf

_ANY = 1 << 62


class BadExport(SpliceError):
    """A file that is no export, or has a line that is none."""

    code = "bad_export"


class _Line(msgspec.Struct):
    """One line: what it is of is what is set."""

    format: str = ""
    head: str = ""
    event: AuditEvent | None = None
    call: CallLeaf | None = None
    id: str = ""
    leaf: str = ""
    index: int = -1


_decode = msgspec.json.Decoder(_Line).decode


def verify_export(
    lines: Callable[[], Iterator[bytes]],
    key: PublicKey | None,
    kept: Callable[[], Iterable[Note]] = list,
) -> Inspection:
    """What holds of an export, and the first that does not.

    Args:
        lines: Opens the file anew each time; it is read once for each thing that is in it.
        key: What heads must be signed with; None checks no signature, and says so.
        kept: Heads that somebody kept besides, in the order of their numbers.

    Raises:
        BadExport: The file is none.
    """
    seen = Inspection(warnings=[])
    if next(_read(lines), _Line()).format != EXPORT:
        raise BadExport("export", got="another kind of file", promised="one of splice audit export")
    if key is None:
        seen.warnings.append("no public key was given: signatures were not checked")
    places = {"the export": lambda: _heads(lines), "what was kept": kept}
    for place, source in places.items():
        seen.broken = seen.broken or broken_head(source(), place, key)
    for check in (_events, _calls):
        if seen.broken is None:
            heads = sorted_by(check is _events, _heads(lines), kept())
            seen.broken = check(lines, heads, seen)
    if seen.broken is None and not seen.heads:
        seen.warnings.append("no signed head is in it: whoever wrote it may have made it up")
    return seen


def sorted_by(is_events: bool, heads: Iterable[Note], kept: Iterable[Note]) -> Iterator[Note]:
    """Heads of both by their size of one tree."""

    def size(note: Note) -> int:
        return note.head.events if is_events else note.head.calls

    rest = sorted(kept, key=size)
    for note in heads:
        while rest and size(rest[0]) <= size(note):
            yield rest.pop(0)
        yield note
    yield from rest


def _events(
    lines: Callable[[], Iterator[bytes]], heads: Iterator[Note], seen: Inspection
) -> Broken | None:
    chain = Chain()
    events = (line.event for line in _read(lines) if line.event is not None)
    leaves, again = itertools.tee(chain.leaves(events, _ANY))
    follower = Follower("event", (leaf.stored or b"" for leaf in again), heads)
    broken = follower.follow(leaves)
    seen.events = chain.count
    return chain.broken if chain.is_before(broken) else broken


def _calls(
    lines: Callable[[], Iterator[bytes]], heads: Iterator[Note], seen: Inspection
) -> Broken | None:
    def calls() -> Iterator[tuple[Leaf, bytes]]:
        for line in _read(lines):
            if line.id:
                yield _leaf(line, seen.calls), _hex(line.leaf)
                seen.calls += 1

    pairs, again = itertools.tee(calls())
    follower = Follower("call", (kept for _, kept in again), heads)
    broken = follower.follow(leaf for leaf, _ in pairs)
    seen.heads, seen.covered = follower.agreed, follower.covered
    return broken


def _leaf(line: _Line, index: int) -> Leaf:
    if line.index != index:
        return Leaf(line.id, None, f"is leaf {line.index}, in the place of leaf {index}")
    if line.call is None:
        return Leaf(line.id, None)
    if line.call.call_id != line.id:
        return Leaf(line.id, None, "is another call than its line says")
    try:
        return Leaf(line.id, line.call.hashed())
    except ValueError:
        return Leaf(line.id, None, "has no digest of its payload")


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _heads(lines: Callable[[], Iterator[bytes]]) -> Iterator[Note]:
    for line in itertools.islice(_read(lines), 1, None):
        if not line.head:
            return
        found = notes(line.head)
        if len(found) != 1 or found[0].text != line.head:
            raise BadExport("export", got="a head that is no signed note")
        yield found[0]


def _read(lines: Callable[[], Iterator[bytes]]) -> Iterator[_Line]:
    for number, body in enumerate(lines(), 1):
        try:
            yield _decode(body)
        except msgspec.MsgspecError as error:
            raise BadExport(f"line {number} of the export", got=str(error)) from None
