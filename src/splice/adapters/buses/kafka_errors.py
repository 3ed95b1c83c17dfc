"""What Kafka says went wrong, as errors of ours: the only place that knows its codes.

A text of librdkafka names brokers, topics and groups, and no secrets; but for what it says of an
option, which repeats the value: of that only the name is kept.
"""

from __future__ import annotations

import logging
import re

from confluent_kafka import KafkaError, KafkaException

from splice.core.errors import BusError, Fenced, SettingsError

log = logging.getLogger("splice.kafka")
"""Where librdkafka logs. That a broker is away is raised as well, so it is logged for debugging."""

K = KafkaError

_NEVER = frozenset({
    K.MSG_SIZE_TOO_LARGE, K.RECORD_LIST_TOO_LARGE, K.INVALID_MSG_SIZE, K.INVALID_MSG,
    K.INVALID_RECORD, K.INVALID_TIMESTAMP, K.POLICY_VIOLATION, K.TOPIC_EXCEPTION,
    K.UNKNOWN_TOPIC_OR_PART, K._UNKNOWN_TOPIC, K._UNKNOWN_PARTITION,
    K.TOPIC_AUTHORIZATION_FAILED, K.GROUP_AUTHORIZATION_FAILED, K.CLUSTER_AUTHORIZATION_FAILED,
    K.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, K.SASL_AUTHENTICATION_FAILED, K._AUTHENTICATION,
    K.UNSUPPORTED_VERSION, K.UNSUPPORTED_SASL_MECHANISM, K.UNSUPPORTED_FOR_MESSAGE_FORMAT,
    K._UNSUPPORTED_FEATURE, K._INVALID_ARG, K._NOT_CONFIGURED, K.INVALID_GROUP_ID,
    K.INCONSISTENT_GROUP_PROTOCOL, K.INVALID_CONFIG, K.INVALID_TRANSACTION_TIMEOUT,
    K.OFFSET_OUT_OF_RANGE, K._AUTO_OFFSET_RESET,
})  # fmt: skip

_NAMED = re.compile(r'property[: ]+"([\w.]+)|^Failed to create \w+: \D*?\b([a-z]+(?:\.[a-z]+)+)')

_UNREACHABLE = frozenset({K._TRANSPORT, K._TIMED_OUT, K._ALL_BROKERS_DOWN, K._RESOLVE})

_FENCED = frozenset({
    K._FENCED, K.PRODUCER_FENCED, K.INVALID_PRODUCER_EPOCH, K.FENCED_INSTANCE_ID,
})  # fmt: skip

_MENDS = {
    K.UNKNOWN_TOPIC_OR_PART: "create the topic, or mend its name in splice.toml",
    K._UNKNOWN_TOPIC: "create the topic, or mend its name in splice.toml",
    K._UNKNOWN_PARTITION: "read only partitions that the topic has",
    K.MSG_SIZE_TOO_LARGE: "raise max.message.bytes of the topic, or send less",
    K.RECORD_LIST_TOO_LARGE: "raise max.message.bytes of the topic, or send less",
    K.TOPIC_AUTHORIZATION_FAILED: "let this user read or write the topic (kafka-acls)",
    K.GROUP_AUTHORIZATION_FAILED: "let this user read by the group (kafka-acls)",
    K.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "let this user write by the id (kafka-acls)",
    K.SASL_AUTHENTICATION_FAILED: "mend user and password in [kafka] of splice.toml",
    K._AUTHENTICATION: "mend user and password in [kafka] of splice.toml",
    K._SSL: "mend the ssl options in [kafka] of splice.toml",
    K.OFFSET_OUT_OF_RANGE: "begin with what the topic still keeps",
    K._AUTO_OFFSET_RESET: "begin with what the topic still keeps",
    K.UNSUPPORTED_VERSION: "use Kafka 2.5 or newer",
}


def bus_error(error: KafkaError, where: str, *, retryable: bool | None = None) -> BusError:
    """The error as ours.

    Args:
        error: As Kafka says it.
        where: What it happened to: a stream, a target, or the servers.
        retryable: Whether trying again may help, where the caller knows better than the code.
    """
    code = error.code()
    if is_fenced(error):
        return Fenced(where, got=_said(error), mend="let only one process have this name at a time")
    mend = _MENDS.get(code, "")
    if code in _UNREACHABLE:
        mend = "start the broker, or mend kafka.servers in splice.toml"
    made = BusError(where, got=_said(error), mend=mend)
    made.retryable = code not in _NEVER if retryable is None else retryable
    return made


def is_fenced(error: KafkaError) -> bool:
    """Whether another has taken this one's name, or the broker gave its transaction up."""
    # A consumer is told only that it is at an end, and the reason in words.
    text = error.str() if error.code() == K._FATAL else ""
    return error.code() in _FENCED or "group.instance.id" in text


def fault_of(error: BaseException) -> KafkaError:
    """What an exception of the client is about."""
    if isinstance(error, KafkaException) and error.args and isinstance(error.args[0], KafkaError):
        return error.args[0]
    return KafkaError(K._FAIL, f"{type(error).__name__}: {error}")


def settings_error(error: BaseException) -> SettingsError:
    """An option that librdkafka does not take. Its value is not shown: it may be a secret."""
    text = fault_of(error).str()
    named = _NAMED.search(text)
    name = next((part for part in named.groups() if part), "") if named else ""
    unknown = text.startswith("No such")
    return SettingsError(
        f"kafka.options.{name}" if name else "kafka.options",
        got="no such option of librdkafka" if unknown else "a value that librdkafka refuses",
        mend="see librdkafka's CONFIGURATION.md",
    )


def _said(error: KafkaError) -> str:
    text = error.str()
    return f"{error.name()}: {text}" if text else error.name()


def _wanted(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    if text.startswith("CONFWARN"):  # it shows values, and so secrets
        return False
    if record.levelno > logging.DEBUG and text.startswith(("FAIL", "ERROR")):
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return log.isEnabledFor(logging.DEBUG)
    return True


log.addFilter(_wanted)
