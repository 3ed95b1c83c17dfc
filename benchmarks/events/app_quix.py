"""Quix Streams: one application, whose dataframe decodes, scores and produces each event."""

from __future__ import annotations

from payments import decode, encode
from quixstreams import Application
from quixstreams.models import Deserializer, SerializationContext, Serializer
from screening import GROUP, SERVERS, SOURCE, TARGET, VARIANT, Payment, Screening, screen

COMMIT_SECONDS = 1.0
"""Five as installed: then five seconds pass before any decision can be read."""


class ToPayment(Deserializer):
    """JSON to a checked payment, by msgspec."""

    def __call__(self, value: bytes, ctx: SerializationContext) -> Payment:
        """One payment."""
        return decode(value)


class FromScreening(Serializer):
    """A decision to JSON, by msgspec."""

    def __call__(self, value: Screening, ctx: SerializationContext) -> bytes:
        """The bytes."""
        return encode(value)


app = Application(
    broker_address=SERVERS,
    consumer_group=GROUP,
    auto_offset_reset="earliest",
    processing_guarantee=VARIANT,
    commit_interval=COMMIT_SECONDS,
    auto_create_topics=False,
    use_changelog_topics=False,
    loglevel="WARNING",
)
payments = app.dataframe(app.topic(SOURCE, value_deserializer=ToPayment()))
payments.apply(screen).to_topic(app.topic(TARGET, value_serializer=FromScreening()))

if __name__ == "__main__":
    app.run()
