"""librdkafka below its Python client, for what that client cannot be made to do."""

from __future__ import annotations

import ctypes
from pathlib import Path

import confluent_kafka
import pytest
from confluent_kafka import Producer

_TOPIC, _VALUE, _FLAGS, _HEADERS, _END = 1, 4, 7, 10, 0  # rd_kafka_vtype_t
_COPY = 2  # RD_KAFKA_MSG_F_COPY


def library() -> ctypes.CDLL:
    """The one that the client runs on."""
    folder = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
    found = sorted(folder.glob("librdkafka*"))
    if not found:
        pytest.skip("the client does not bring its librdkafka as a file")
    return ctypes.CDLL(str(found[0]))


def pointer(client: Producer) -> ctypes.c_void_p:
    """The librdkafka client behind an object: its first field, behind the head of every object."""
    return ctypes.c_void_p(ctypes.c_void_p.from_address(id(client) + 16).value)


def break_for_good(producer: Producer) -> None:
    """What an idempotent producer does when the broker lost what it acknowledged."""
    code = ctypes.c_int(46)  # DUPLICATE_SEQUENCE_NUMBER
    library().rd_kafka_test_fatal_error(pointer(producer), code, b"broken by a test")


def produce_with_header(producer: Producer, topic: str, value: bytes, name: bytes) -> None:
    """Write a message with a header of any name."""
    rdkafka = library()
    rdkafka.rd_kafka_headers_new.restype = ctypes.c_void_p
    headers = ctypes.c_void_p(rdkafka.rd_kafka_headers_new(ctypes.c_size_t(1)))
    refused = rdkafka.rd_kafka_header_add(
        headers, name, ctypes.c_ssize_t(-1), b"1", ctypes.c_ssize_t(1)
    )
    assert not refused
    refused = rdkafka.rd_kafka_producev(
        pointer(producer),
        ctypes.c_int(_TOPIC), ctypes.c_char_p(topic.encode()),
        ctypes.c_int(_VALUE), ctypes.c_char_p(value), ctypes.c_size_t(len(value)),
        ctypes.c_int(_FLAGS), ctypes.c_int(_COPY),
        ctypes.c_int(_HEADERS), headers,
        ctypes.c_int(_END),
    )  # fmt: skip
    assert not refused
    assert producer.flush(60) == 0
