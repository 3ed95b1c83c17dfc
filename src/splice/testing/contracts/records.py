"""What every RecordStore must hold to.

Inherit `RecordStoreContract` and give it a fixture `records`: a store that is empty.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from splice.core.call import (
    Attempt,
    Gathered,
    Problem,
    Reason,
    Record,
    Status,
    Trace,
    Usage,
)
from splice.core.errors import StoreError
from splice.core.ids import uuid7
from splice.ports.stores import CallFilter, Claim, RecordStore

NOON_MS = 1_793_880_000_000  # 2026-11-05, 12:00 UTC
DAY_MS = 86_400_000
WORDS = ("", "plain", "Grüße 你好 🎲", 'it\'s "quoted"\\ and\ttabbed\n', r"\u0000 {null} %s $1 ?")


def call_id(rng: random.Random, unix_ms: int = NOON_MS) -> str:
    """An id that this generator always makes."""
    return uuid7(unix_ms, rng.getrandbits(74))


def simple_record(rng: random.Random, unix_ms: int = NOON_MS) -> Record:
    """A record of the kind there are most of."""
    return Record(
        call_id=call_id(rng, unix_ms), integration="credit", release=3, asked_us=unix_ms * 1000,
        duration_us=900, status=Status.ANSWERED, reason=Reason.FIRST, surface="http",
        caller="app", entity=f"customer-{rng.randrange(1000)}", route="model:credit",
        version="credit@3", cost_nano=12, input=b'{"age":41}', reply=b'{"action":"approve"}',
    )  # fmt: skip


def any_record(rng: random.Random, unix_ms: int = NOON_MS) -> Record:
    """A record with something odd in every field, now and then."""
    maybe = rng.random
    attempt = Attempt(
        rng.choice(WORDS), rng.choice(("answered", "timeout")), rng.randrange(100), 10**9,
        usage=Usage(1, None, 3) if maybe() < 0.5 else None, cost_nano=rng.choice((None, 0, 7)),
    )  # fmt: skip
    gathered = Gathered("view", rng.choice(WORDS), {"a": [1, 2.5, None, "é"]}, "sql", age_s=0.5)
    return Record(
        call_id=call_id(rng, unix_ms),
        integration=rng.choice(("credit", "triage")),
        release=rng.randrange(1, 4),
        asked_us=unix_ms * 1000 + rng.randrange(1000),
        duration_us=rng.randrange(10**10),
        status=rng.choice(list(Status)),
        reason=rng.choice(list(Reason)),
        surface=rng.choice(("http", "python")),
        caller=rng.choice(WORDS),
        entity=rng.choice((None, "customer-1", "customer-2", *WORDS)),
        key=rng.choice((None, *WORDS)),
        route=rng.choice(("", "model:credit", "rule:scorecard")),
        variant=rng.choice(WORDS),
        version=rng.choice(WORDS),
        cost_nano=rng.choice((None, 0, 2**62)),
        input=rng.randbytes(rng.choice((0, 10, 3000))),
        gathered=(gathered,) * rng.randrange(3),
        context=rng.choice((None, b"", b"{}")),
        attempts=(attempt,) * rng.randrange(4),
        prediction=rng.choice((None, b'{"score":0.5}')),
        reply=rng.choice((None, b"{}")),
        problem=rng.choice((None, Problem("timeout", "credit.route", "late"))),
        trace=rng.choice((None, Trace("0" * 31 + "1", "0" * 15 + "2"))),
    )


def without_payload(record: Record) -> Record:
    """The record as `find` gives it."""
    return msgspec.structs.replace(
        record, key=None, input=b"", gathered=(), context=None, attempts=(), prediction=None,
        reply=None, problem=None, trace=None,
    )  # fmt: skip


def _newest_first(records: Sequence[Record]) -> list[Record]:
    return sorted(records, key=lambda record: (record.asked_us, record.call_id), reverse=True)


class RecordStoreContract:
    """Calls are stored whole, once, together or not at all."""

    def test_what_is_appended_is_read_back_whole(self, records: RecordStore) -> None:
        rng = random.Random(1)
        some = [any_record(rng) for _ in range(300)]

        records.append(some)

        assert records.get_many([record.call_id for record in some]) == {
            record.call_id: record for record in some
        }
        assert records.get(some[77].call_id) == some[77]

    @pytest.mark.parametrize("size", [0, 1, 2, 63, 64, 65, 128, 129, 1023, 1089, 2000])
    def test_a_batch_of_any_size_is_stored_whole(self, records: RecordStore, size: int) -> None:
        rng = random.Random(size)
        some = [simple_record(rng) for _ in range(size)]

        records.append(some)

        assert records.count() == size
        assert records.get_many([r.call_id for r in some]) == {r.call_id: r for r in some}

    def test_a_call_that_is_not_stored_is_none(self, records: RecordStore) -> None:
        assert records.get(call_id(random.Random(1))) is None
        assert records.get("not an id") is None
        assert records.get_many(["", "not an id", call_id(random.Random(2))]) == {}

    def test_a_call_that_is_stored_is_left_as_it_is(self, records: RecordStore) -> None:
        rng = random.Random(1)
        first, second, third = (simple_record(rng) for _ in range(3))
        records.append([first, second])

        changed = msgspec.structs.replace(second, duration_us=1, reply=b'{"action":"block"}')
        records.append([changed, third, third])

        assert records.count() == 3
        assert records.get(second.call_id) == second
        assert records.get(third.call_id) == third

    def test_a_record_that_cannot_be_stored_keeps_its_batch_out(self, records: RecordStore) -> None:
        rng = random.Random(1)
        some = [simple_record(rng) for _ in range(200)]
        some[150].cost_nano = 2**80

        with pytest.raises(StoreError):
            records.append(some)

        assert records.count() == 0
        assert records.get(some[0].call_id) is None

    def test_a_payload_that_cannot_be_encoded_keeps_its_batch_out(
        self, records: RecordStore
    ) -> None:
        rng = random.Random(1)
        some = [simple_record(rng) for _ in range(3)]
        some[1].gathered = (Gathered("view", "anna", {"a": object()}, "sql"),)

        with pytest.raises(StoreError):
            records.append(some)

        assert records.count() == 0

    def test_a_batch_may_hold_calls_of_several_days(self, records: RecordStore) -> None:
        rng = random.Random(1)
        days = (0, 1, 2, 40, 400)
        some = [simple_record(rng, NOON_MS + day * DAY_MS) for day in days for _ in range(70)]
        rng.shuffle(some)

        records.append(some)

        assert records.get_many([r.call_id for r in some]) == {r.call_id: r for r in some}

    def test_a_large_payload_comes_back(self, records: RecordStore) -> None:
        rng = random.Random(1)
        some = [simple_record(rng) for _ in range(5)]
        some[2].input = rng.randbytes(5_000_000)

        records.append(some)

        assert records.get(some[2].call_id) == some[2]
        assert records.get(some[3].call_id) == some[3]

    def test_a_nul_in_a_callers_text_harms_nobody(self, records: RecordStore) -> None:
        rng = random.Random(1)
        some = [simple_record(rng) for _ in range(3)]
        some[1].entity = some[1].caller = some[1].variant = r"a" + "\0" + r"b\u0000"

        records.append(some)

        assert records.count() == 3
        assert [r.call_id for r in records.find(CallFilter(entity=some[1].entity))] == [
            some[1].call_id
        ]

    def test_find_agrees_with_a_filter_in_plain_python(self, records: RecordStore) -> None:
        rng = random.Random(7)
        some = [any_record(rng, NOON_MS + rng.randrange(5000)) for _ in range(400)]
        records.append(some)
        for _ in range(60):
            wanted = CallFilter(
                integration=rng.choice((None, "credit", "triage", "none")),
                entity=rng.choice((None, None, "customer-1", "")),
                status=rng.choice((None, *Status)),
                route=rng.choice((None, "model:credit", "")),
                release=rng.choice((None, None, 2)),
                since_us=rng.choice((None, (NOON_MS + 2500) * 1000)),
                until_us=rng.choice((None, None, some[7].asked_us)),
                limit=rng.choice((1, 10, 1000)),
            )

            found = records.find(wanted)

            fields = ("integration", "entity", "status", "route", "release")
            expected = [
                without_payload(record)
                for record in _newest_first(some)
                if all(getattr(wanted, f) in (None, getattr(record, f)) for f in fields)
                and (wanted.since_us is None or record.asked_us >= wanted.since_us)
                and (wanted.until_us is None or record.asked_us < wanted.until_us)
            ]
            assert found == expected[: wanted.limit], wanted

    @pytest.mark.parametrize("status", [None, Status.FAILED])
    def test_pages_neither_skip_nor_repeat(
        self, records: RecordStore, status: Status | None
    ) -> None:
        rng = random.Random(3)
        some = [any_record(rng, NOON_MS + rng.randrange(50)) for _ in range(300)]
        records.append(some)

        seen: list[str] = []
        last: str | None = None
        while page := records.find(CallFilter(status=status, before_id=last, limit=7)):
            seen += [record.call_id for record in page]
            last = page[-1].call_id

        wanted = [r for r in _newest_first(some) if status in (None, r.status)]
        assert seen == [record.call_id for record in wanted]

    def test_count_counts_one_integration_or_all(self, records: RecordStore) -> None:
        rng = random.Random(1)
        some = [any_record(rng) for _ in range(100)]
        records.append(some)

        credit = sum(record.integration == "credit" for record in some)

        assert records.count() == 100
        assert records.count("credit") == credit
        assert records.count("none") == 0

    def test_appending_and_reading_at_once_lose_nothing(self, records: RecordStore) -> None:
        rng = random.Random(1)
        batches = [[simple_record(rng) for _ in range(50)] for _ in range(24)]
        everything = [record for batch in batches for record in batch]
        wrong: list[str] = []
        stop = threading.Event()

        def read() -> None:
            while not stop.is_set():
                for record in everything[:: 1 + len(everything) // 20]:
                    if records.get(record.call_id) not in (None, record):
                        wrong.append(record.call_id)

        with ThreadPoolExecutor(6) as pool:
            readers = [pool.submit(read) for _ in range(2)]
            try:
                list(pool.map(records.append, [*batches, *batches[:6]]))
            finally:
                stop.set()
            for reader in readers:
                reader.result()

        assert wrong == []
        assert records.count() == len(everything)


NOW_US = NOON_MS * 1000
LEASE_US = 30_000_000
BODY = b"b" * 32


class ClaimContract:
    """One idempotency key, one execution. Part of what every RecordStore must hold to."""

    def test_a_key_is_taken_once(self, records: RecordStore) -> None:
        first, second = call_id(random.Random(1)), call_id(random.Random(2))

        taken = records.claim("credit", "app", "k", first, BODY, NOW_US, LEASE_US)
        again = records.claim("credit", "app", "k", second, b"o" * 32, NOW_US, LEASE_US)

        assert taken == Claim(first, BODY, done=False, mine=True)
        assert again == Claim(first, BODY, done=False, mine=False)

    def test_keys_of_other_callers_and_integrations_are_other_keys(
        self, records: RecordStore
    ) -> None:
        rng = random.Random(1)
        whose = [("credit", "app", "k"), ("credit", "web", "k"), ("triage", "app", "k"),
                 ("credit", "app", "K"), ("credit", "", "k")]  # fmt: skip

        claims = [records.claim(*names, call_id(rng), BODY, NOW_US, LEASE_US) for names in whose]

        assert all(claim.mine for claim in claims)

    def test_a_claim_is_done_when_its_record_is_stored(self, records: RecordStore) -> None:
        rng = random.Random(1)
        record = msgspec.structs.replace(simple_record(rng), key="k")
        records.claim("credit", "app", "k", record.call_id, BODY, NOW_US, LEASE_US)

        records.append([record])

        later = records.claim("credit", "app", "k", call_id(rng), BODY, NOW_US, LEASE_US)
        assert later == Claim(record.call_id, BODY, done=True, mine=False)

    @pytest.mark.parametrize("status", [Status.FAILED, Status.REFUSED])
    def test_a_stored_call_that_was_not_answered_leaves_its_key_free(
        self, records: RecordStore, status: Status
    ) -> None:
        rng = random.Random(1)
        record = msgspec.structs.replace(simple_record(rng), status=status, reply=None)
        records.claim("credit", "app", "k", record.call_id, BODY, NOW_US, LEASE_US)
        records.append([record])

        held = records.claim("credit", "app", "k", call_id(rng), BODY, NOW_US, LEASE_US)
        records.release_claim("credit", "app", "k", record.call_id)
        free = records.claim("credit", "app", "k", call_id(rng), BODY, NOW_US, LEASE_US)

        assert (held.done, held.mine) == (False, False)
        assert (free.done, free.mine) == (False, True)

    def test_a_done_claim_is_never_taken_over(self, records: RecordStore) -> None:
        rng = random.Random(1)
        record = msgspec.structs.replace(simple_record(rng), key="k")
        records.claim("credit", "app", "k", record.call_id, BODY, NOW_US, LEASE_US)
        records.append([record])

        year_us = 365 * DAY_MS * 1000
        later = records.claim("credit", "app", "k", call_id(rng), BODY, NOW_US + year_us, LEASE_US)
        records.release_claim("credit", "app", "k", record.call_id)
        after = records.claim("credit", "app", "k", call_id(rng), BODY, NOW_US + year_us, LEASE_US)

        assert (later.done, later.mine, later.call_id) == (True, False, record.call_id)
        assert after == later

    def test_an_unfinished_claim_is_taken_over_after_its_lease(self, records: RecordStore) -> None:
        first, second, third = (call_id(random.Random(n)) for n in range(3))
        records.claim("credit", "app", "k", first, BODY, NOW_US, LEASE_US)

        early = records.claim("credit", "app", "k", second, BODY, NOW_US + LEASE_US - 1, LEASE_US)
        late = records.claim("credit", "app", "k", second, BODY, NOW_US + LEASE_US, LEASE_US)
        next_ = records.claim("credit", "app", "k", third, BODY, NOW_US + LEASE_US, LEASE_US)

        assert early == Claim(first, BODY, done=False, mine=False)
        assert late == Claim(second, BODY, done=False, mine=True)
        assert next_ == Claim(second, BODY, done=False, mine=False)

    def test_a_claim_given_back_can_be_taken_anew(self, records: RecordStore) -> None:
        first, second = call_id(random.Random(1)), call_id(random.Random(2))
        records.claim("credit", "app", "k", first, BODY, NOW_US, LEASE_US)

        records.release_claim("credit", "app", "k", first)

        assert records.claim("credit", "app", "k", second, BODY, NOW_US, LEASE_US).mine

    def test_only_its_holder_gives_a_claim_back(self, records: RecordStore) -> None:
        first, second = call_id(random.Random(1)), call_id(random.Random(2))
        records.claim("credit", "app", "k", first, BODY, NOW_US, LEASE_US)

        records.release_claim("credit", "app", "k", second)
        records.release_claim("credit", "app", "other", first)

        assert not records.claim("credit", "app", "k", second, BODY, NOW_US, LEASE_US).mine

    def test_of_many_at_once_one_gets_the_key(self, records: RecordStore) -> None:
        rng = random.Random(1)
        ids = [call_id(rng) for _ in range(16)]

        def claim(mine: str) -> Claim:
            return records.claim("credit", "app", "k", mine, BODY, NOW_US, LEASE_US)

        with ThreadPoolExecutor(8) as pool:
            claims = list(pool.map(claim, ids))

        assert sum(claim.mine for claim in claims) == 1
        assert len({claim.call_id for claim in claims}) == 1
