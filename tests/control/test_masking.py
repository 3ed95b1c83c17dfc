"""Masking of whole documents: wherever a finding stands and however it is written."""

from __future__ import annotations

import builtins
import json
import unicodedata
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from masking_corpus import NEGATIVE, POSITIVE

from splice.control.masking import Masking, NotMasked
from splice.core.errors import DeclarationError, SettingsError

EVERY = Masking(["all"], {})
CARD, EMAIL, IBAN = "4111 1111 1111 1111", "john.doe@example.com", "DE89370400440532013000"


def masked(value: Any, masking: Masking = EVERY) -> Any:
    return msgspec.json.decode(masking.mask(json.dumps(value).encode()))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"a": {"b": [EMAIL]}}, {"a": {"b": ["[email]"]}}),
        ({EMAIL: 1, "b@example.com": 2, "c": 3}, {"[email]": 1, "[email] 2": 2, "c": 3}),
        (EMAIL, "[email]"),
        (4111111111111111, "[card]"),
        (4111111111111111.0, "[card]"),
        ({"phone": 491711234567}, {"phone": "[phone]"}),
        ({"phone": "612345678"}, {"phone": "[phone]"}),
        ({"order": 491711234567}, {"order": 491711234567}),
        ({"password": "open sesame", "n": 1}, {"password": "[secret]", "n": 1}),
        ({"db_password": 123456}, {"db_password": "[secret]"}),
        ({"properties": {"password": {"type": "string"}}},
         {"properties": {"password": {"type": "string"}}}),
        ({"arguments": json.dumps({"to": EMAIL, "n": [1.5]})},
         {"arguments": '{"to":"[email]","n":[1.5]}'}),
        ({"arguments": '{"to":"a\\u0040b.com"}'}, {"arguments": '{"to":"[email]"}'}),
        ({"arguments": '{"to":"a\\u0040b.com", "cut'}, {"arguments": '{"to":"[email]", "cut'}),
        ({"arguments": '{"a": 1}'}, {"arguments": '{"a": 1}'}),
        ({"arguments": '{"a":"x@example.com","a":"b"}'}, {"arguments": '{"a":"[email]","a":"b"}'}),
        ({"choices": [{"logprobs": {"content": [{"token": "4111"}]}}]},
         {"choices": [{"logprobs": None}]}),
        ({"logprobs": True}, {"logprobs": True}),
        (None, None),
        (True, True),
        (12345678901234567890123, 12345678901234567890123),
        ({"created": 1793880000, "at_us": 1793880000000000}, {"created": 1793880000,
         "at_us": 1793880000000000}),
    ],
)  # fmt: skip
def test_a_finding_is_masked_wherever_it_stands(document: Any, expected: Any) -> None:
    assert masked(document) == expected


def test_the_first_of_two_fields_of_one_name_does_not_get_through() -> None:
    got = EVERY.mask(b'{"a":"john@example.com","a":"b"}')

    assert b"john" not in got


@pytest.mark.parametrize("text", [CARD, EMAIL, IBAN, "sk-proj-abc123def456ghi789jkl"])
def test_texts_of_one_message_are_searched_as_if_they_were_one(text: str) -> None:
    for cut in range(1, len(text)):
        parts = [
            {"type": "text", "text": f"It is {text[:cut]}"},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            {"type": "text", "text": f"{text[cut:]} , thanks"},
        ]

        got = masked({"messages": [{"role": "user", "content": parts}]})

        one, image, two = got["messages"][0]["content"]
        assert one["text"].startswith("It is [")
        assert two["text"].endswith("] , thanks")
        assert not set(text) & set(one["text"].removeprefix("It is ")) - set("[]emailcrdbnst")
        assert image == parts[1]


def test_a_word_in_the_text_before_says_what_a_number_is() -> None:
    parts = [{"type": "text", "text": "My phone number is "}, {"type": "text", "text": "5551234"}]

    assert [one["text"] for one in masked(parts)] == ["My phone number is ", "[phone]"]


def test_strings_of_a_list_are_apart_unless_only_together_they_are_something() -> None:
    assert masked(["4111 1111", " 1111 1111"]) == ["[card]", "[card]"]
    assert masked([EMAIL, "admin"]) == ["[email]", "admin"]
    assert masked(["john@example.com", "jane@example.com"]) == ["[email]", "[email]"]


def test_a_file_leaves_its_length_and_its_hash() -> None:
    url = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg=="
    audio = "QUJD" * 200

    got = masked({"url": url, "text": f"see ![x]({url}) there", "data": audio, "a": "data: none"})

    assert got["url"].startswith(f"[data image/png, {len(url)} characters, sha256 ")
    assert got["text"].startswith("see ![x]([data image/png, ")
    assert got["text"].endswith("]) there")
    assert got["data"].startswith("[base64, 800 characters, sha256 ")
    assert got["a"] == "data: none"
    assert masked(got) == got


@pytest.mark.parametrize(
    "document",
    [b"", b"plain words", b"\xff", b'"\xff"', b'"\\ud800"', b'{"a":', b"[" * 100_000, b"NaN",
     b'"a" "b"', b"[" * 5000 + b"]" * 5000],
)  # fmt: skip
def test_what_cannot_be_read_is_not_let_through(document: bytes) -> None:
    with pytest.raises(NotMasked):
        EVERY.mask(document)


def test_an_error_quotes_nothing_of_the_document() -> None:
    with pytest.raises(NotMasked) as caught:
        EVERY.mask(f'{{"a":"{EMAIL}", "b": {EMAIL}}}'.encode())

    assert "john" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_json_in_strings_is_opened_again_and_again_but_not_for_ever() -> None:
    text = EMAIL
    for _ in range(6):
        text = json.dumps({"a": text})

    assert "john" not in json.dumps(masked(text))

    deep = "[1]"
    for _ in range(18):
        deep = json.dumps(deep)
    with pytest.raises(NotMasked):
        masked(deep)


@pytest.mark.parametrize(
    "text",
    ["a@" * 125_000, "1" * 250_000, "4 " * 75_000, "01 " * 25_000, "DE89 " * 25_000,
     "-----BEGIN A-----" * 12_500, "password:" * 25_000, "a:" * 100_000, '"' * 125_000,
     "data:" * 37_500, "a\u200b" * 50_000, "+(" * 100_000, "%40" * 50_000, '{"a":' * 25_000,
     "\0" * 125_000, "\x1e" * 125_000, "1.1." * 25_000, "eyJ" * 75_000, "tel 0 " * 25_000],
    ids=lambda text: ascii(text[:8]),
)  # fmt: skip
def test_a_hostile_text_of_a_quarter_of_a_megabyte_is_searched_to_its_end(text: str) -> None:
    got = masked(f"{text} {EMAIL}")

    assert "john.doe" not in got


def test_a_custom_rule_is_searched_as_it_is_and_as_it_looks() -> None:
    masking = Masking(["customer"], {"customer": r"\bKD-\d{6}\b", "unused": "e"})

    assert masked("for KD-123456 and john@example.com", masking) == (
        "for [customer] and john@example.com"
    )
    assert masked("for KD\u2010１２３\u200b４５６", masking) == "for [customer]"
    assert masked(["größe KD-123456"], masking) == ["größe [customer]"]


def test_a_pattern_that_matches_nothing_at_all_changes_nothing() -> None:
    assert masked("abc", Masking(["nothing"], {"nothing": "x*"})) == "abc"


@pytest.mark.parametrize(
    ("rules", "custom", "error", "said"),
    [
        (["emial"], {}, DeclarationError, "email"),
        (["mine"], {"other": "x"}, DeclarationError, "other"),
        (["mine"], {"mine": "(?=x)y"}, SettingsError, "RE2"),
        (["mine"], {"mine": "("}, SettingsError, "RE2"),
        ([], {"email": "x"}, SettingsError, "taken"),
        ([], {"all": "x"}, SettingsError, "taken"),
        ([], {"A b": "x"}, SettingsError, "lower-case"),
    ],
)
def test_a_wrong_rule_is_named_with_its_mend(
    rules: list[str], custom: dict[str, str], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        Masking(rules, custom)


def test_without_the_library_masking_cannot_be_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "splice.control.masking_rules":
            raise ModuleNotFoundError("No module named 're2'", name="re2")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)

    with pytest.raises(DeclarationError, match=r"splice-ai\[masking\]"):
        Masking(["email"], {})


WORDS = st.text("abc äß\n,.;:!?()[]{}'\"\\/é日本\u00ad\u200b😀%&#0123456789+-@=_", max_size=12)
HOSTILE = st.lists(
    st.one_of(
        WORDS,
        st.sampled_from([text for texts in POSITIVE.values() for text in texts]),
        st.sampled_from([text for texts in NEGATIVE.values() for text in texts]),
    ),
    max_size=5,
).map("".join)
DOCUMENTS = st.recursive(
    HOSTILE | st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(-1e9, 1e9),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(HOSTILE | st.sampled_from(["text", "password"]), inner, max_size=4),
        inner.map(json.dumps),
        st.lists(st.fixed_dictionaries({"text": HOSTILE}), max_size=3),
    ),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(DOCUMENTS)
def test_what_is_masked_once_is_masked(document: Any) -> None:
    once = EVERY.mask(json.dumps(document).encode())

    assert EVERY.mask(once) == once


def written(text: str) -> Iterator[str]:
    """The same to a reader, in ways that a plain search would miss."""
    yield text
    yield "".join(chr(ord(c) + 0xFEE0) if c.isdigit() or c == "@" else c for c in text)
    yield "\u200b".join(text)
    yield "\u00ad".join(text)
    yield "".join(f"{c}\u0301" if c.isalnum() else c for c in text)
    yield "".join(f"\\u{ord(c):04x}" for c in text)
    yield "".join(f"%{ord(c):02X}" for c in text)
    yield "".join(f"&#{ord(c)};" for c in text)
    yield text.replace("e", "е").replace("o", "о").replace("a", "а")  # Cyrillic
    yield "\x00".join(text)
    yield json.dumps({"deep": json.dumps([text])})
    yield "\x1e".join(text)


def seen(text: str) -> str:
    return "".join(
        c
        for c in unicodedata.normalize("NFKC", text)
        if unicodedata.category(c) not in ("Cf", "Mn")
    )


@pytest.mark.parametrize("canary", [CARD, EMAIL, IBAN, "4111111111111111"])
def test_however_it_is_written_a_finding_does_not_get_through(canary: str) -> None:
    for form in written(canary):
        got = EVERY.mask(json.dumps({"a": [f"it is {form} there"]}).encode()).decode()

        assert canary not in seen(got), ascii(form)
        assert form not in json.loads(got)["a"][0], ascii(form)
