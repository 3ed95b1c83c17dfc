"""The sections of `splice.toml` about events: Kafka, and what each integration consumes."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from splice.app.sections import Section


class KafkaSettings(Section, frozen=True):
    """The Kafka cluster that streams `kafka:TOPIC` are on."""

    servers: str = ""
    """`host:port`, several with commas between them; empty where there is none."""

    region: str = ""
    """Where the cluster is: an integration that declares regions uses it only if it is in one."""

    options: dict[str, str | int | float | bool] = {}  # noqa: RUF012 - a Struct copies it
    """Options of librdkafka by their own names, as `"security.protocol" = "SASL_SSL"`."""

    secret_options: dict[str, str] = {}  # noqa: RUF012 - as above
    """The same for secrets: the option's name to the environment variable that has its value."""

    schema_registry: str = ""
    """`http://host:8081` of a Schema Registry; empty where there is none. Then messages in its
    wire format cannot be read, and go to the dead letters."""

    registry_user_env: str = ""
    """Name of the environment variable with its user, for basic authentication."""

    registry_password_env: str = ""
    """Name of the environment variable with its password."""

    def __repr__(self) -> str:
        return "KafkaSettings(…)"  # its options may hold secrets


class ConsumeSettings(Section, frozen=True):
    """Where the events of one integration come from, and where its decisions go."""

    source: str = ""
    """`kafka:TOPIC`, or `queue:NAME` of the embedded queue, which is in the ledger; the queue with
    the integration's name if left out."""

    targets: tuple[str, ...] = ()
    """Where each decision goes: any of `kafka:TOPIC`, `queue:NAME`, `table:NAME` (in the ledger's
    database), and the URL of a webhook. The record of the call is kept in any case."""

    group: str = ""
    """Kafka's consumer group; `splice-` and the integration's name if left out."""

    format: Literal["auto", "json", "cloudevents", "registry"] = "auto"
    """How events are read: `auto` knows CloudEvents (binary and structured) and the wire format of
    a Schema Registry by their looks, and takes everything else for JSON."""

    reply_format: Literal["cloudevents", "structured", "json"] = "cloudevents"
    """How decisions are written: CloudEvents in binary mode, in structured mode, or the bare reply
    with the ids in headers."""

    exactly_once: bool = False
    """Decisions for Kafka and the position in the source in one Kafka transaction, so that readers
    with `read_committed` see each decision once. Needs source and every target on Kafka."""

    transaction_id: str = ""
    """Prefix of Kafka's transactional ids; the group's name if left out."""

    start: Literal["earliest", "latest"] = "earliest"
    """Where a group that is new to a topic begins."""

    max_in_flight: Annotated[int, Meta(ge=1, le=100_000)] = 2000
    """Events that were taken and have no answer yet; beyond it no more are taken."""

    max_batch: Annotated[int, Meta(ge=1, le=10_000)] = 4000
    """Events that are taken at once, and no more than `max_in_flight` leaves room for; where a
    model in this process answers them as they are taken, that many all the same."""

    attempts: Annotated[int, Meta(ge=1, le=1000)] = 5
    """How often an event is tried whose failure may pass, or whose process died; then it goes to
    the dead letters."""

    backoff_seconds: Annotated[float, Meta(gt=0, le=3600)] = 1.0
    """How long to wait after the first failure; twice as long each time, with some chance in it."""

    max_backoff_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 60.0
    """The longest such wait."""

    retry_delays: tuple[str, ...] = ()
    """Delayed retry topics, as `["30 s", "5 min"]`: a failing event moves to `TOPIC.retry-30s`, and
    those behind it go on. They lose the order of a key, so there are none by default."""

    dead: str = ""
    """A topic that dead letters are published to as well (`kafka:orders.dead`); they are kept in
    the ledger in any case."""

    lease_seconds: Annotated[float, Meta(ge=1, le=3600)] = 30.0
    """Embedded queue: how long an event is held before another process may take it; it is extended
    while its call runs."""

    drain_seconds: Annotated[float, Meta(gt=0, le=600)] = 20.0
    """How long running calls may take to end when partitions are taken away, or at SIGTERM."""

    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    """Processes of `splice consume`."""


class InboxSettings(Section, frozen=True):
    """What is remembered of events that were answered."""

    keep_days: Annotated[float, Meta(gt=0, le=3650)] = 14.0
    """How long an event's id is remembered: one that comes again later is answered again. Twice
    Kafka's own retention, so that no offset that can be read again is forgotten."""


class OutboxSettings(Section, frozen=True):
    """How decisions that wait in the ledger are sent to Kafka and to webhooks."""

    attempts: Annotated[int, Meta(ge=1, le=100_000)] = 300
    """How often a message for a webhook is tried before it is given up; with the waits below that
    is about three days. It stays to be seen, and can be sent again. Kafka is waited for without
    end."""

    backoff_seconds: Annotated[float, Meta(gt=0, le=3600)] = 5.0
    """How long to wait after the first failure; twice as long each time, with some chance in it."""

    max_backoff_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 900.0
    """The longest such wait."""

    keys: Annotated[int, Meta(ge=1, le=1000)] = 8
    """Requests to one webhook at once, each of another key; those of one key follow each other."""


class WebhookSettings(Section, frozen=True):
    """What is known of the webhooks below a URL."""

    url: Annotated[str, Meta(pattern="^https?://[^/?#@ ]+([/?].*)?$")]
    """`https://crm.example.com/hooks/`: the longest that begins a target counts."""

    secret_env: str = ""
    """Name of the environment variable with the secret that signs (Standard Webhooks): `whsec_` and
    base64. Several with spaces between them sign side by side. Unsigned where left out."""

    timeout_seconds: Annotated[float, Meta(gt=0, le=30)] = 15.0
    """How long a receiver may take to answer."""

    region: str = ""
    """Where they are: an integration that declares regions sends there only if it is in one."""


class RelaySettings(Section, frozen=True):
    """An outbox table in the database of an application of yours, which `splice relay` sends."""

    url_env: str
    """Name of the environment variable with the database's URL: `postgresql://…` or
    `sqlite:///…`."""

    table: Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*(\\.[A-Za-z_][A-Za-z0-9_]*)?$")] = (
        "outbox"
    )
    """The table, with its schema where it has one; `splice outbox ddl` makes it."""

    targets: tuple[str, ...] = ("kafka:outbox.event.{aggregatetype}",)
    """Where each event goes: `kafka:TOPIC` or `queue:NAME`, with `{aggregatetype}` (Debezium's
    `${routedByValue}`) for the value of that column."""

    source: str = ""
    """`source` of the CloudEvents; `/outbox/` and the aggregate type if left out."""

    order_by: Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$")] = "seq"
    """The column that grows with each row, by which they are sent."""

    after_sending: Literal["delete", "mark"] = "delete"
    """What becomes of a row that was sent: `mark` keeps it, with the time in `sent_at`."""

    batch: Annotated[int, Meta(ge=1, le=10_000)] = 500
    """Rows that are sent at once."""

    poll_seconds: Annotated[float, Meta(gt=0, le=60)] = 0.2
    """How long to wait where there is nothing to send."""

    max_backoff_seconds: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    """The longest wait for a target that is away; the first one is a second."""
