"""Signed heads: what the trees of calls and audit events were at one time, as a note.

A note is text, then an empty line, then a signature line, in the format that transparency logs use
(checkpoints of the Go checksum database, C2SP `tlog-checkpoint` and `signed-note`): origin, size
and root of the tree of calls, and lines of ours. Others' verifiers of such notes read it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime

import msgspec

NO_NOTE = "0" * 64
"""What the first head names as the hash of the note before it."""

_ALGORITHM = b"\x01"  # Ed25519, in signed notes
_LINE = "\u2014 "  # an em dash and a space begin a signature
_US = 1_000_000


class Head(msgspec.Struct, frozen=True):
    """Sizes and roots of both trees at one time.

    `origin` names the ledger, `number` counts its heads from 1. Roots are hexadecimal. `previous`
    is the SHA-256 of the note before: heads are a chain, too.
    """

    origin: str
    number: int
    at_us: int  # never before the head before, whatever the clock says
    calls: int
    calls_root: str
    events: int
    events_root: str
    previous: str = NO_NOTE

    def text(self) -> str:
        """What is signed."""
        when = datetime.fromtimestamp(self.at_us // _US, UTC).replace(microsecond=self.at_us % _US)
        return (
            f"{self.origin}\n{self.calls}\n{_base64(bytes.fromhex(self.calls_root))}\n"
            f"events {self.events} {_base64(bytes.fromhex(self.events_root))}\n"
            f"number {self.number}\ntime {when.strftime('%Y-%m-%dT%H:%M:%S.%fZ')}\n"
            f"previous {self.previous}\n"
        )


class Note(msgspec.Struct, frozen=True):
    """A head as it was signed: all of its text, the signer's name, his key's id, the signature."""

    head: Head
    text: str
    name: str
    key_id: bytes
    signature: bytes

    @property
    def signed(self) -> bytes:
        """The bytes that the signature is over."""
        return self.text.partition("\n\n")[0].encode() + b"\n"

    @property
    def sha256(self) -> str:
        """The hash by which the next head names this one."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class PublicKey(msgspec.Struct, frozen=True):
    """An Ed25519 public key and its owner's name, as `name+id+base64`."""

    name: str
    key: bytes

    @property
    def id(self) -> bytes:
        """Four bytes that tell keys apart."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ALGORITHM + self.key).digest()[:4]

    def text(self) -> str:
        """One line that says all of it."""
        return f"{self.name}+{self.id.hex()}+{_base64(_ALGORITHM + self.key)}"


def public_key(text: str) -> PublicKey:
    """The key of a line.

    Raises:
        ValueError: It is not such a line, or was bent.
    """
    name, _, rest = text.strip().partition("+")
    given, _, body = rest.partition("+")
    try:
        raw = base64.b64decode(body, validate=True)
    except ValueError:
        raw = b""
    found = PublicKey(name, raw[1:])
    if not name or raw[:1] != _ALGORITHM or len(raw) != 33 or found.id.hex() != given:
        raise ValueError("not a public key of `splice audit init`: name+id+base64")
    return found


def note(head: Head, key: PublicKey, signature: bytes) -> str:
    """The text of a signed head."""
    return f"{head.text()}\n{_LINE}{key.name} {_base64(key.id + signature)}\n"


_NOTE = re.compile(
    r"(?P<origin>[^\n]+)\n(?P<calls>\d{1,18})\n(?P<calls_root>[A-Za-z0-9+/]{43}=)\n"
    r"events (?P<events>\d{1,18}) (?P<events_root>[A-Za-z0-9+/]{43}=)\n"
    r"number (?P<number>\d{1,18})\ntime (?P<time>\S{27})\nprevious (?P<previous>[0-9a-f]{64})\n"
    r"\n" + _LINE + r"(?P<name>[^\s+]+) (?P<signature>[A-Za-z0-9+/]{91}=)\n"
)


def notes(text: str) -> list[Note]:
    """The notes in a text, in their order; what is none (a torn end, words between) is passed over.

    Raises:
        ValueError: One of them says what cannot be.
    """
    return [_note(found) for found in _NOTE.finditer(text)]


def _note(found: re.Match[str]) -> Note:
    when = datetime.strptime(found["time"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    at_us = int(when.timestamp()) * _US + when.microsecond
    signature = base64.b64decode(found["signature"])
    head = Head(
        found["origin"], int(found["number"]), at_us, int(found["calls"]),
        base64.b64decode(found["calls_root"]).hex(), int(found["events"]),
        base64.b64decode(found["events_root"]).hex(), found["previous"],
    )  # fmt: skip
    return Note(head, found[0], found["name"], signature[:4], signature[4:])


def _base64(body: bytes) -> str:
    return base64.b64encode(body).decode()
