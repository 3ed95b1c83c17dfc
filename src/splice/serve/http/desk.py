"""What an HTTP surface needs of the process behind it, and the shapes that go over the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from splice.control.erasure import Eraser
from splice.core.call import Attempt, Gathered, Outcome, Problem, Record, Usage
from splice.core.erasure import in_place_of_texts
from splice.core.policies import PolicyRun
from splice.core.units import NANO
from splice.engine.engine import Engine
from splice.engine.observe import Snapshot
from splice.ports.stores import OutcomeStore, RecordStore
from splice.serve.events.publishing import Publisher
from splice.serve.oversight import Overseer


class Desk(Protocol):
    """The process that answers."""

    draining: bool

    @property
    def started(self) -> bool:
        """Whether calls can be taken."""
        ...

    @property
    def engine(self) -> Engine:
        """Answers calls."""
        ...

    @property
    def records(self) -> RecordStore:
        """The ledger's calls."""
        ...

    @property
    def outcomes(self) -> OutcomeStore:
        """The ledger's outcomes."""
        ...

    @property
    def publisher(self) -> Publisher:
        """Puts events into the streams of integrations."""
        ...

    @property
    def overseer(self) -> Overseer:
        """What people decide of calls, and what they are shown."""
        ...

    @property
    def eraser(self) -> Eraser:
        """Erases persons, and gives out what is known of them."""
        ...

    async def start(self) -> None:
        """Start, if nobody did."""
        ...

    def drain(self) -> None:
        """Take no new calls; those that run have their time to end."""
        ...

    async def stop(self) -> None:
        """Let calls end, write what waits, let go."""
        ...

    def new_id(self) -> str:
        """A fresh call id."""
        ...

    def not_ready(self) -> list[str]:
        """What keeps the process from answering."""
        ...

    def degraded(self) -> list[str]:
        """What works less well than it should."""
        ...

    def snapshots(self) -> list[Snapshot]:
        """Metrics of every worker."""
        ...


class AttemptShown(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One try of one route; `ended` is `answered` or why it did not; `cost` is null if unknown.

    `first_token_ms` is when, in this try, the first token of a stream came.
    """

    route: str
    ended: str
    latency_ms: float
    version: str = ""
    why: str = ""
    usage: Usage | None = None
    cost: float | None = None
    first_token_ms: float | None = None


class CallAnswer(msgspec.Struct, frozen=True, gc=False):
    """The reply to a call, with which route gave it and why the earlier ones did not.

    `reason` is `first` (the first route answered), `fallback`, or `repeated` (the stored answer
    of the same idempotency key). `cost` is in `currency`; null where it is unknown.
    """

    call_id: str
    integration: str
    release: int
    reply: msgspec.Raw
    route: str
    version: str
    reason: str
    attempts: tuple[AttemptShown, ...]
    cost: float | None
    currency: str
    duration_ms: float


class OutcomeShown(msgspec.Struct, frozen=True, omit_defaults=True):
    """What really happened."""

    name: str
    value: bool | int | float | str
    at: str
    call_id: str | None = None
    entity: str | None = None
    source: str = ""


class CallShown(msgspec.Struct, frozen=True, omit_defaults=True):
    """A recorded call: asked, gathered, tried, answered, cost, and what became of it.

    `texts` says why what was asked and answered is not there: erased and when, no longer kept, or
    not readable here.
    """

    call_id: str
    integration: str
    release: int
    asked_at: str
    duration_ms: float
    status: str
    reason: str
    surface: str
    input: Any = None
    context: Any = None
    gathered: tuple[Gathered, ...] = ()
    attempts: tuple[AttemptShown, ...] = ()
    prediction: Any = None
    reply: Any = None
    route: str = ""
    version: str = ""
    variant: str = ""
    caller: str = ""
    entity: str | None = None
    idempotency_key: str | None = None
    cost: float | None = None
    currency: str = ""
    problem: Problem | None = None
    notes: tuple[str, ...] = ()
    texts: str = ""
    shadow_of: str | None = None
    policies: tuple[PolicyRun, ...] = ()
    outcomes: tuple[OutcomeShown, ...] = ()


_HEX = "[0-9a-fA-F]"
_UUID = Meta(
    min_length=36,
    max_length=36,
    extra_json_schema={
        "format": "uuid",
        "pattern": f"^{_HEX}{{8}}(-{_HEX}{{4}}){{3}}-{_HEX}{{12}}$",
    },
)
_ZONED = Meta(
    extra_json_schema={  # RFC 3339, for tools to which "date-time" is only a remark
        "pattern": "^[1-9][0-9]{3}-"
        "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
        "|02-(0[1-9]|[12][0-9]))"
        "[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?"
        "([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
    }
)


class OutcomeIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What really happened, told later: by the call's id, or by the entity key of its request."""

    integration: Annotated[str, Meta(min_length=1, max_length=63)]
    name: Annotated[str, Meta(min_length=1, max_length=63)]
    value: bool | int | float | Annotated[str, Meta(max_length=1000)]
    call_id: Annotated[str, _UUID] | None = None
    entity: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    at: Annotated[datetime, _ZONED] | None = None
    source: Annotated[str, Meta(max_length=200)] = ""


class OutcomesTaken(msgspec.Struct, frozen=True):
    """How many outcomes came, and how many of them were not known yet."""

    received: int
    new: int


def iso(unix_us: int) -> str:
    """ISO 8601 in UTC, to the microsecond."""
    seconds, micros = divmod(unix_us, 1_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)
    return moment.isoformat().replace("+00:00", "Z")


def cost_of(nano: int | None) -> float | None:
    """Cost in whole units of the currency."""
    return None if nano is None else nano / NANO


def attempts_of(record: Record) -> tuple[AttemptShown, ...]:
    """The attempts of a record as they are shown."""
    if len(record.attempts) == 1:
        return (_shown(record.attempts[0]),)
    return tuple([_shown(one) for one in record.attempts])


def _shown(one: Attempt) -> AttemptShown:
    return AttemptShown(
        one.route, one.ended, one.latency_us / 1000, one.version, one.why, one.usage,
        None if one.cost_nano is None else one.cost_nano / NANO,
        None if one.first_token_us is None else one.first_token_us / 1000,
    )  # fmt: skip


def answer_of(record: Record, currency: str) -> CallAnswer:
    """What the caller of an answered call gets."""
    return CallAnswer(
        record.call_id,
        record.integration,
        record.release,
        msgspec.Raw(record.reply or b"null"),
        record.route,
        record.version,
        record.reason,
        attempts_of(record),
        cost_of(record.cost_nano),
        currency,
        record.duration_us / 1000,
    )


def call_of(record: Record, outcomes: list[Outcome], currency: str) -> CallShown:
    """A recorded call as it is shown."""

    def plain(raw: bytes | None) -> Any:
        if not raw:
            return None
        try:
            return msgspec.json.decode(raw)
        except msgspec.DecodeError:
            return raw.decode("utf-8", "replace")

    return CallShown(
        call_id=record.call_id,
        integration=record.integration,
        release=record.release,
        asked_at=iso(record.asked_us),
        duration_ms=record.duration_us / 1000,
        status=record.status,
        reason=record.reason,
        surface=record.surface,
        input=plain(record.input),
        context=plain(record.context),
        gathered=record.gathered,
        attempts=attempts_of(record),
        prediction=plain(record.prediction),
        reply=plain(record.reply),
        route=record.route,
        version=record.version,
        variant=record.variant,
        caller=record.caller,
        entity=record.entity,
        idempotency_key=record.key,
        cost=cost_of(record.cost_nano),
        currency=currency,
        problem=record.problem,
        notes=record.notes,
        texts=in_place_of_texts(record.notes),
        shadow_of=record.shadow_of,
        policies=record.policies,
        outcomes=tuple(
            OutcomeShown(o.name, o.value, iso(o.at_us), o.call_id, o.entity, o.source)
            for o in outcomes
        ),
    )
