"""Server-sent events, however their bytes come."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splice.adapters.providers.sse import EventCutter, events_of

EVENTS = [
    b'data: {"a": 1}\n\n',
    b"event: delta\ndata: two\n\n",
    b": a comment\n\n",
    b"data: x\ndata: y\n\n",
    "data: Grüße\n\n".encode(),
]


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(one % (len(body) + 1) for one in places), len(body)]
    return [body[a:b] for a, b in itertools.pairwise(edges)]


@given(
    st.lists(st.sampled_from(EVENTS), min_size=1, max_size=6),
    st.lists(st.integers(min_value=0), max_size=12),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
def test_events_are_whole_wherever_the_bytes_are_cut(
    events: list[bytes], places: list[int], end: bytes
) -> None:
    body = b"".join(events)
    cutter = EventCutter()

    blocks = [cutter.feed(part) for part in cut(body.replace(b"\n", end), places) if part]

    assert b"".join(blocks) + cutter.rest() == body
    assert all(not block or block.endswith(b"\n\n") for block in blocks)


def test_a_mark_at_the_beginning_is_no_part_of_the_first_event() -> None:
    assert EventCutter().feed(b"\xef\xbb\xbfdata: 1\n\n") == b"data: 1\n\n"


def test_an_event_without_its_empty_line_is_given_at_the_end() -> None:
    cutter = EventCutter()

    assert cutter.feed(b"data: 1\n\ndata: 2\n") == b"data: 1\n\n"
    assert cutter.rest() == b"data: 2\n\n"
    assert cutter.rest() == b""


def test_a_large_event_in_many_pieces_is_joined_once() -> None:
    cutter = EventCutter()
    piece = b"x" * 65536

    assert all(cutter.feed(piece) == b"" for _ in range(160))

    assert len(cutter.feed(b"\n\n")) == 160 * 65536 + 2


@pytest.mark.parametrize(
    ("event", "kind", "content"),
    [
        (b'data: {"a":1}', b"", b'{"a":1}'),
        (b'data:{"a":1}', b"", b'{"a":1}'),
        (b"event: ping\ndata: {}", b"ping", b"{}"),
        (b"data: a\nid: 7\ndata: b", b"", b"a\nb"),
        (b": nothing", b"", b""),
    ],
)
def test_type_and_data_are_read(event: bytes, kind: bytes, content: bytes) -> None:
    assert list(events_of(event + b"\n\n")) == [(event + b"\n\n", kind, content)]
