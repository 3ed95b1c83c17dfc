"""Call ids: UUID version 7, as RFC 9562 lays it out."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splice.core.ids import (
    derived_uuid7,
    id_bytes,
    id_text,
    id_unix_ms,
    ids_bytes,
    ids_texts,
    split_ids,
    uuid7,
)

MS = st.integers(0, 2**48 - 1)
BITS = st.integers(0, 2**74 - 1)


@given(MS, BITS)
def test_every_bit_stands_where_the_rfc_puts_it(ms: int, bits: int) -> None:
    text = uuid7(ms, bits)
    made = uuid.UUID(text)

    assert str(made) == text
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == ms == id_unix_ms(text)
    rand_a, rand_b = made.int >> 64 & 0xFFF, made.int & (1 << 62) - 1
    assert rand_a << 62 | rand_b == bits


def test_the_example_of_the_rfc_is_ours() -> None:
    # RFC 9562, appendix A.6: 22 February 2022, 14:22:22 at -05:00.
    bits = 0xCC3 << 62 | 0x18C4DC0C0C07398F

    assert uuid7(0x017F22E279B0, bits) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@given(MS, BITS, MS, BITS)
def test_texts_are_in_the_order_of_time(a: int, x: int, b: int, y: int) -> None:
    if a != b:
        assert (uuid7(a, x) < uuid7(b, y)) == (a < b)


@given(MS, BITS)
def test_bytes_and_text_are_two_forms_of_one_id(ms: int, bits: int) -> None:
    text = uuid7(ms, bits)

    assert id_text(id_bytes(text)) == text
    assert id_bytes(text) == uuid.UUID(text).bytes


GOOD = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@pytest.mark.parametrize(
    "text",
    ["", GOOD[:-1], GOOD + "0", GOOD.replace("-", ""), "{" + GOOD + "}", GOOD[:-1] + "g",
     GOOD[:-2] + "  ", " " + GOOD[:-1], "017f22e279b0-7cc3-98c4-dc0c-0c07398f",
     GOOD.replace("-", "_"), "----" + GOOD.replace("-", ""), "０" + GOOD[1:], GOOD + "\n"],
)  # fmt: skip
def test_what_is_not_the_canonical_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its message is the text itself
        id_bytes(text)


def test_a_derived_id_is_the_same_again_and_another_for_another_name() -> None:
    first = derived_uuid7(1, "job", "5")

    assert derived_uuid7(1, "job", "5") == first
    assert uuid.UUID(first).version == 7
    assert id_unix_ms(first) == 1
    named = [(1, "job", "6"), (1, "job2", "5"), (2, "job", "5"), (1, "job5")]
    assert len({first} | {derived_uuid7(*one) for one in named}) == 5


@given(st.lists(st.tuples(MS, BITS), max_size=5))
def test_the_bytes_of_many_are_those_of_each(ids: list[tuple[int, int]]) -> None:
    texts = [uuid7(*one) for one in ids]

    raw = ids_bytes(texts)

    assert raw == [id_bytes(text) for text in texts]
    assert split_ids(b"".join(raw)) == raw
    assert ids_texts(b"".join(raw)) == texts


@pytest.mark.parametrize(
    "wrong",
    [
        "017f22e279b0-7cc3-98c4-dc0c0c07398f-",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
        "017f22e2-79b0-7cc3-98c4-dc0c0c0739 f",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07--8f",
        "",
    ],
)
def test_one_among_many_that_is_no_id_is_refused(wrong: str) -> None:
    right = uuid7(1, 1)

    for texts in ([wrong], [right, wrong], [wrong, right], [wrong + right[-1:], right[:-1]]):
        with pytest.raises(ValueError):  # noqa: PT011 - as above
            ids_bytes(texts)
