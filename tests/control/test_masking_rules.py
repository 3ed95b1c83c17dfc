"""How often each built-in rule is right, over texts that hold what it finds and others."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from masking_corpus import NEGATIVE, POSITIVE

from splice.control.masking import Masking


def found(rule: str, text: str) -> bool:
    masked = Masking([rule], {}).mask(msgspec.json.encode(text))
    return f"[{rule}]" in msgspec.json.decode(masked, type=str)


@pytest.mark.parametrize("rule", list(POSITIVE))
def test_a_rule_finds_all_that_it_is_for_and_nothing_else(rule: str) -> None:
    hits = [text for text in POSITIVE[rule] if found(rule, text)]
    false = [text for text in NEGATIVE[rule] if found(rule, text)]

    recall = len(hits) / len(POSITIVE[rule])
    precision = len(hits) / (len(hits) + len(false))
    print(f"{rule:8} precision {precision:.2f} recall {recall:.2f} of {len(POSITIVE[rule])}")

    assert false == []
    assert [text for text in POSITIVE[rule] if text not in hits] == []


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to john@example.com, or call", "write to [email], or call"),
        ("**john@example.com**", "**[email]**"),
        ("IBAN DE89 3704 0044 0532 0130 00 danke", "IBAN [iban] danke"),
        ("12 4111 1111 1111 1111 12/29", "12 [card] 12/29"),
        ("password=hunter2&x=1", "password=[secret]&x=1"),
        ("Authorization: Bearer abcdef0123456789", "Authorization: Bearer [secret]"),
        ("jo\u00adhn@exa\u0301mple.com!", "[email]!"),
        ("a (415) 555-2671 b", "a [phone] b"),
        ("e\u0301 john@example.com", "e\u0301 [email]"),
        ("postgres://app:hunter2@db.example/x", "postgres://app:[secret]/x"),
    ],
)  # fmt: skip
def test_what_stands_around_a_finding_stays(text: str, masked: str) -> None:
    got = Masking(["all"], {}).mask(msgspec.json.encode(text))

    assert msgspec.json.decode(got) == masked


def test_no_positive_of_any_rule_survives_when_all_rules_are_on() -> None:
    every = Masking(["all"], {})

    left = [
        text
        for texts in POSITIVE.values()
        for text in texts
        if every.mask(msgspec.json.encode(text)) == msgspec.json.encode(text)
    ]

    assert left == []


@pytest.mark.parametrize("digits", [8, 9, 10, 11, 12, 14])
def test_numbers_of_orders_are_no_telephones_and_rarely_anything_else(digits: int) -> None:
    random = Random(digits)
    numbers = [str(random.randrange(10 ** (digits - 1), 10**digits)) for _ in range(1000)]
    texts = [form.format(one) for one in numbers for form in ("{}", "Your order {} is on its way")]
    every = Masking(["all"], {})

    masked = [msgspec.json.decode(every.mask(msgspec.json.encode(one))) for one in texts]

    assert not [one for one in masked if "[phone]" in one]
    others = sum("[" in one for one in masked) / len(masked)
    print(f"{digits} digits: {others:.4f} masked")
    assert others <= 0.005


def test_one_random_number_of_sixteen_digits_in_forty_looks_like_a_card_at_most() -> None:
    random = Random(16)
    cards = Masking(["card"], {})
    numbers = [str(random.randrange(10**15, 10**16)) for _ in range(2000)]

    wrong = [one for one in numbers if b"card" in cards.mask(msgspec.json.encode(one))]

    print(f"16 digits: {len(wrong) / len(numbers):.4f} masked")
    assert len(wrong) / len(numbers) < 1 / 40
