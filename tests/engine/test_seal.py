"""The seal: what of a call may be written, whatever it holds and however it is split."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from engine_house import record_of
from hypothesis import given, settings
from hypothesis import strategies as st

from splice.control.masking import Masking
from splice.core.call import Attempt, Gathered, Problem, Record, Status
from splice.core.errors import DeclarationError, StoreError
from splice.declare.spec import Log
from splice.engine.seal import NOT_MASKED, NOT_SAMPLED, Seal

EVERY = Masking(["all"], {})
EMAIL, CARD = "john.doe@example.com", "4111 1111 1111 1111"
MASKED = Seal(Log(mask=("all",)), EVERY)


class Broken:
    """A masker that cannot read anything."""

    def mask(self, document: bytes) -> bytes:
        raise StoreError("masker", got=f"nonsense: {document!r}")


def raw(value: Any) -> bytes:
    return json.dumps(value).encode()


def full(text: str, number: int = 1) -> Record:
    """A record with a text in every field that can hold one."""
    return record_of(
        number, entity=text, key=text, input=raw({"q": text}), context=raw([text]),
        prediction=raw({"value": {"a": text}}), reply=raw(text),
        gathered=(Gathered("view", text, {"mail": text, "n": 1}, "crm", 3.0),),
        attempts=(
            Attempt("llm:a", "bad_answer", 0, 5, "v", f"got {text}", cost_nano=7),
            Attempt("rule:b", "answered", 5, 5, "v"),
        ),
        problem=Problem("bad_answer", "a.b", f"said {text}"), notes=("as it was",),
    )  # fmt: skip


def written(record: Record) -> str:
    return repr(msgspec.to_builtins(record)) + "".join(
        repr(one) for one in (record.input, record.context, record.prediction, record.reply)
    )


def test_without_a_log_the_record_is_the_very_same() -> None:
    record = full(EMAIL)

    assert Seal(None, None).sealed(record) is record
    assert Seal(None, EVERY).sealed(record) is record
    assert Seal(Log(), None).sealed(record) is record


def test_masking_that_is_declared_and_cannot_be_done_is_refused_at_once() -> None:
    with pytest.raises(DeclarationError, match=r"splice-ai\[masking\]"):
        Seal(Log(mask=("email",)), None)


def test_every_field_that_can_quote_somebody_is_masked_and_the_others_stay() -> None:
    record = full(EMAIL)

    sealed = MASKED.sealed(record)

    assert "john" not in written(sealed)
    assert sealed.input == b'{"q":"[email]"}'
    assert sealed.context == b'["[email]"]'
    assert sealed.reply == b'"[email]"'
    assert sealed.gathered[0].values == {"mail": "[email]", "n": 1}
    assert sealed.attempts[0].why == "got [email]"
    assert sealed.attempts[1] == record.attempts[1]
    assert sealed.problem == Problem("bad_answer", "a.b", "said [email]")
    assert sealed.notes == ("as it was",)
    assert (sealed.call_id, sealed.status, sealed.attempts[0].cost_nano) == (
        record.call_id, Status.ANSWERED, 7,
    )  # fmt: skip


def test_a_join_key_that_is_somebody_has_the_same_pseudonym_each_time() -> None:
    first, second = MASKED.sealed(full(EMAIL, 1)), MASKED.sealed(full(EMAIL, 2))
    plain = MASKED.sealed(record_of(3, entity="c-1"))

    assert first.entity == second.entity == MASKED.entity(EMAIL) == first.gathered[0].entity
    assert first.entity is not None
    assert first.entity.startswith("sha256:")
    assert len(first.entity) == len("sha256:") + 16
    assert plain.entity == "c-1"
    assert Seal(Log(keep=0.5), None).entity(EMAIL) == EMAIL


@pytest.mark.parametrize("masker", [None, EVERY])
def test_of_a_call_that_is_not_kept_no_words_remain(masker: Masking | None) -> None:
    seal = Seal(Log(keep=0.0, mask=("all",) if masker else ()), masker)

    sealed = seal.sealed(full("free words"))

    assert "free words" not in written(
        msgspec.structs.replace(sealed, entity=None, key=None, gathered=())
    )
    assert (sealed.input, sealed.context, sealed.prediction, sealed.reply) == (
        b"",
        None,
        None,
        None,
    )
    assert sealed.gathered[0].values == {}
    assert sealed.problem == Problem("bad_answer", "a.b")
    assert [one.ended for one in sealed.attempts] == ["bad_answer", "answered"]
    assert sealed.attempts[0].cost_nano == 7
    assert sealed.entity == "free words"
    assert sealed.notes == ("as it was", NOT_SAMPLED)


def test_the_share_that_is_kept_is_the_share_declared_and_the_same_calls_each_time() -> None:
    seal = Seal(Log(keep=0.25), None)
    ids = [record_of(number).call_id for number in range(4000)]

    kept = [call_id for call_id in ids if seal.keeps(call_id)]

    assert 0.22 < len(kept) / len(ids) < 0.28
    assert kept == [call_id for call_id in ids if Seal(Log(keep=0.25), None).keeps(call_id)]
    assert set(kept) < {call_id for call_id in ids if Seal(Log(keep=0.5), None).keeps(call_id)}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input", b"not JSON " + EMAIL.encode()),
        ("reply", b"[" * 100_000),
        ("context", b'"\\ud800 john.doe@example.com"'),
        ("prediction", b"\xff"),
    ],
)
def test_what_cannot_be_masked_is_not_kept_and_a_note_says_so(field: str, value: bytes) -> None:
    record = msgspec.structs.replace(full(EMAIL), **{field: value})

    sealed = MASKED.sealed(record)

    assert "john" not in written(sealed)
    assert sealed.input == b""
    assert sealed.reply is None
    assert sealed.notes == ("as it was", NOT_MASKED)
    assert sealed.entity == MASKED.entity(EMAIL)


def test_a_masker_that_fails_lets_nothing_through() -> None:
    seal = Seal(Log(mask=("email",)), Broken())

    sealed = seal.sealed(full("some words"))

    assert "some words" not in written(sealed)
    assert sealed.notes[-1] == NOT_MASKED


AROUND = st.text("abc äß\n,;😀é日\u200b", max_size=10).map(lambda text: f"{text} ")
WRAPPED = st.recursive(
    st.just(None),
    lambda inner: st.tuples(st.sampled_from(["list", "dict", "key", "string", "text"]), inner),
    max_leaves=4,
)


def wrapped(text: str, how: Any) -> Any:
    if how is None:
        return text
    kind, inner = how
    value = wrapped(text, inner)
    if kind == "key":
        return {value if isinstance(value, str) else json.dumps(value): 1}
    return {
        "list": [0, value], "dict": {"a": value}, "string": json.dumps(value),
        "text": [{"type": "text", "text": value}],
    }[kind]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([EMAIL, CARD]), AROUND, AROUND, WRAPPED)
def test_no_canary_survives_in_any_field_however_it_is_wrapped(
    canary: str, before: str, after: str, how: Any
) -> None:
    text = f"{before}{canary} {after}"
    value = wrapped(text, how)
    record = msgspec.structs.replace(
        full(text), input=raw(value), context=raw({"c": value}), reply=raw([value]),
        prediction=raw({"value": value}), gathered=(Gathered("v", text, {"v": value}, "s"),),
    )  # fmt: skip

    sealed = MASKED.sealed(record)

    assert canary not in written(sealed)
    assert not sealed.notes[1:]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([EMAIL, CARD]), st.lists(st.integers(1, 18), max_size=4), AROUND)
def test_no_canary_survives_in_the_texts_that_it_is_split_over(
    canary: str, cuts: list[int], before: str
) -> None:
    places = [0, *sorted(set(cuts)), len(canary)]
    pieces = [canary[a:b] for a, b in pairwise(places)]
    parts = [{"type": "text", "text": piece} for piece in pieces]
    parts[0]["text"] = before + parts[0]["text"]
    record = record_of(1, input=raw({"messages": [{"role": "user", "content": parts}]}))

    sealed = MASKED.sealed(record)

    got = json.loads(sealed.input)["messages"][0]["content"]
    assert "".join(one["text"] for one in got).removeprefix(before).strip("[]cardemil") == ""
