"""Profiles of calls: what is counted, that they merge, and that they keep no personal text."""

from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest
from profiles_house import HOUR_US, NOON_US, normal, one_column, profiled, record

from splice.core.call import Status
from splice.core.profiles import PinnedProfile, Profile
from splice.monitor.profiles import MOST_SEGMENTS, Profiler, decode, merge
from splice.monitor.shapes import spread_of
from splice.monitor.sketches import distinct

PLAIN = PinnedProfile()


def profiler(plan: PinnedProfile = PLAIN) -> Profiler:
    return Profiler(lambda integration, release: plan)


def raw(profiles: object) -> bytes:
    return msgspec.msgpack.encode(profiles)


def test_numbers_are_counted_exactly_and_their_quantiles_nearly() -> None:
    values = normal(20_000, 5, 2)

    found = one_column(values).numbers

    assert found is not None
    assert found.count == 20_000
    assert found.mean == pytest.approx(np.mean(values))
    assert (found.squares / found.count) ** 0.5 == pytest.approx(np.std(values))
    assert (found.least, found.most) == (min(values), max(values))
    assert distinct(found.distinct) == pytest.approx(20_000, rel=0.2)
    spread = spread_of(found)
    assert spread is not None
    for share in (0.05, 0.5, 0.95):
        place = np.mean(np.array(values) <= spread.quantile(share))
        assert place == pytest.approx(share, abs=0.03)


def test_few_numbers_are_kept_exactly_and_not_in_the_order_of_the_calls() -> None:
    values = normal(300)

    found = one_column(values, batch=100).numbers
    at_once = one_column(values, batch=300).numbers

    spread = spread_of(found)
    assert spread is not None
    assert spread.points.tolist() == sorted(values)
    assert found is not None
    assert found.quantiles[1:] == np.sort(values).tobytes()
    assert at_once is not None
    assert at_once.quantiles == found.quantiles


def test_merging_in_any_order_counts_everything_once() -> None:
    made = profiler()
    parts = [
        next(
            body for (_, key), body in made.add([record(i, {"x": v})]).items() if key.column == "x"
        )
        for i, v in enumerate([1, "a", None, True, [1, 2], 2.5, "a", "b", False])
    ]
    forwards, backwards = b"", b""
    for one, other in zip(parts, reversed(parts), strict=True):
        forwards, backwards = merge(forwards, one), merge(other, backwards)

    found = decode(forwards)
    assert (found.calls, found.missing) == (9, 1)
    assert found.numbers is not None
    assert found.words is not None
    assert found.truths is not None
    assert found.lengths is not None
    assert (found.numbers.count, found.words.count, found.truths.count) == (2, 3, 2)
    assert sorted(found.words.counts.values() if found.words.counts else []) == [1, 2]
    assert decode(backwards).words == found.words
    assert decode(backwards).numbers == found.numbers


def test_a_profile_of_a_later_form_or_of_rubbish_counts_as_nothing() -> None:
    later = msgspec.msgpack.encode(Profile(form=99, calls=5))
    body = msgspec.msgpack.encode(Profile(calls=3, missing=3))

    assert decode(merge(body, later)).calls == 3
    assert decode(merge(b"rubbish", body)).calls == 3
    assert decode(merge(b"", b"")).calls == 0


def test_hours_releases_and_variants_are_kept_apart() -> None:
    late = record(1, {"x": 1}, at_us=NOON_US + HOUR_US)
    other = msgspec.structs.replace(record(2, {"x": 1}), release=2, variant="challenger")

    found = profiler().add([record(0, {"x": 1}), late, other])

    places = {(hour, key.release, key.variant) for hour, key in found if key.column == "x"}
    noon = NOON_US // 1_000_000
    assert places == {(noon, 1, ""), (noon + 3600, 1, ""), (noon, 2, "challenger")}


def test_calls_without_texts_and_refused_ones_are_no_part_of_it() -> None:
    bare = msgspec.structs.replace(record(0, None), input=b"")
    refused = record(1, {"x": 1}, status=Status.REFUSED)

    assert profiler().add([bare, refused]) == {}


def test_nested_fields_have_dotted_names_and_lists_their_length() -> None:
    contexts = [{"card": {"country": "DE", "ids": [1, 2, 3]}, "reply": {"to": "x"}}] * 30

    found = profiled(contexts)

    assert {"card.country", "card.ids", "context.reply.to", "*"} <= found.keys()
    lengths = found["card.ids"].lengths
    assert lengths is not None
    assert lengths.mean == 3


def test_predictions_and_replies_are_columns_and_cost_is_not() -> None:
    predicted = {"value": "good", "score": 0.3, "cost_nano": 5, "usage": {"input_tokens": 4},
                 "scores": {"a": 0.1, "b": 0.3, "c": 0.6}}  # fmt: skip
    records = [record(i, {"x": 1}, prediction=predicted, reply={"action": "ok"}) for i in range(3)]

    columns = {key.column for _, key in profiler().add(records)}

    assert columns == {
        "*", "x", "prediction.*", "prediction.value", "prediction.score", "prediction.scores.a",
        "prediction.scores.b", "prediction.scores.c", "reply.*", "reply.action",
    }  # fmt: skip


def test_of_a_chat_the_last_question_and_the_answer_are_texts() -> None:
    body = {
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q " * 30}]
    }
    said = [{"type": "text", "text": "an answer that is long enough to be taken for a text"}]
    turn = {"role": "assistant", "content": said}
    reply = {"choices": [{"message": turn, "finish_reason": "stop"}]}
    one = msgspec.structs.replace(
        record(0, None, reply=reply), input=msgspec.json.encode(body), context=None
    )

    found = {key.column: decode(body) for (_, key), body in profiler().add([one]).items()}

    assert found["messages.user"].texts is not None
    assert found["reply.text"].texts is not None
    assert found["reply.finish_reason"].words is not None
    assert found["messages"].lengths is not None


def test_hostile_contexts_make_a_bounded_number_of_columns_and_no_error() -> None:
    draw = random.Random(1)
    contexts = [
        {f"key-{draw.random()}": draw.random(), "by_mail": {f"{draw.random()}@x.example": 1}}
        for _ in range(500)
    ]
    deep: object = 1
    for _ in range(100):
        deep = {"d": deep}
    contexts += [{"huge": 10**400, "deep": deep, "": ""}]
    contexts[0] = {"jane@doe.example": 1}
    odd = msgspec.structs.replace(record(0, {}), context=b'{"a":1},{"b":2}')

    found = profiled(contexts)
    columns = {key.column for _, key in profiler().add([odd, record(1, {"c": 3})])}

    assert len(found) <= 300
    assert not any("@" in column for column in found)
    assert columns == {"*", "c"}  # what is not one JSON value shifts nobody's columns


def test_a_number_beyond_the_doubles_is_counted_as_not_finite() -> None:
    found = one_column([1.0, 10**400, 2])

    assert found.numbers is not None
    assert (found.numbers.count, found.numbers.not_finite, found.calls) == (2, 1, 3)


def test_a_word_is_named_once_it_came_in_twenty_calls() -> None:
    found = one_column(["often"] * 30 + ["seldom"] * 10, batch=7).words

    assert found is not None
    assert list(found.names.values()) == ["often"]
    assert sorted(found.counts.values() if found.counts else []) == [10, 30]


def test_words_that_the_type_declares_are_named_at_once_and_no_others() -> None:
    plan = PinnedProfile(words={"x": ("approve", "block")})

    found = one_column(["approve", *["Jane Doe"] * 50], plan=plan).words

    assert found is not None
    assert list(found.names.values()) == ["approve"]


@pytest.mark.parametrize(
    "word", ["jane@doe.example", "Jane Doe, Elm Street 5, born 1 May", "4111111", "[email]"]
)
def test_words_that_look_personal_or_were_masked_are_never_named(word: str) -> None:
    contexts = [{"x": word}] * 100

    found = profiled(contexts)

    assert word.encode() not in raw(found)


def test_who_a_call_is_about_is_never_named_under_any_field() -> None:
    made = profiler()
    records = [
        record(i, {"customer": f"customer-{i % 3}", "vip": f"customer-{i % 3}"},
               entity=f"customer-{i % 3}")
        for i in range(300)
    ]  # fmt: skip

    found = made.add(records)

    assert b"customer-" not in raw(list(found.values()))
    bodies = {key.column: decode(body) for (_, key), body in found.items()}
    assert bodies["vip"].private
    words = bodies["customer"].words
    assert words is not None
    assert words.counts is None


def test_texts_leave_no_word_behind() -> None:
    secrets = [f"my name is Ursula and my number is {i}, please call me back" for i in range(200)]

    found = profiled([{"note": text} for text in secrets])

    texts = found["note"].texts
    assert texts is not None
    assert texts.count == 200
    assert texts.length.mean == pytest.approx(np.mean([len(one) for one in secrets]))
    assert b"Ursula" not in raw(found)
    assert b"ursula" not in raw(found)


def test_more_words_than_can_be_counted_are_kept_by_bucket_and_without_names() -> None:
    values = [f"m{i % 3000}" for i in range(9000)] + ["often"] * 500

    found = one_column(values).words

    assert found is not None
    assert found.counts is None
    assert found.names == {}
    assert sum(found.buckets) == 9500
    assert distinct(found.distinct) == pytest.approx(3001, rel=0.2)


def test_segments_have_profiles_of_their_own_and_their_number_is_bounded() -> None:
    plan = PinnedProfile(segments=("country",))
    contexts = [{"country": f"c{i % 70}", "x": i} for i in range(700)]
    made = Profiler(lambda integration, release: plan)

    found = made.add([record(i, one) for i, one in enumerate(contexts)])

    segments = {key.segment for _, key in found}
    assert len(segments) == MOST_SEGMENTS + 2
    assert {"", "country=c0", "country=…"} <= segments
    whole = sum(
        decode(body).calls for (_, key), body in found.items() if key.column == "x" and key.segment
    )
    assert whole == 700


def test_a_plan_says_which_columns_are_profiled() -> None:
    contexts = [{"a": 1, "b": {"c": 1, "d": 2}, "e": 3}] * 3

    only = profiled(contexts, PinnedProfile(columns=("a", "b")))
    without = profiled(contexts, PinnedProfile(skip=("b.c", "e")))

    assert only.keys() == {"*", "a", "b.c", "b.d"}
    assert without.keys() == {"*", "a", "b.d"}
