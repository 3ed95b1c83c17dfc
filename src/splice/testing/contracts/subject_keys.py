"""What every SubjectKeys must hold to.

Inherit `SubjectKeysContract` and give it a fixture `keys`: an empty store.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import msgspec

from splice.ports.subjects import SubjectKey, SubjectKeys

ADA, BEN = b"a" * 16, b"b" * 16


def subject_key(
    tag: bytes = ADA, integration: str = "credit", *, kek: str = "kek-1", key_id: bytes = b""
) -> SubjectKey:
    """A key that nothing else has."""
    return SubjectKey(tag, integration, key_id or os.urandom(8), kek, os.urandom(60), 1)


class SubjectKeysContract:
    """Keys are kept by person and integration; a destroyed one is gone, and that is told."""

    def test_a_stored_key_is_found_by_whose_it_is(self, keys: SubjectKeys) -> None:
        one, other = subject_key(), subject_key(integration="fraud")

        keys.add([one, other])

        assert keys.get([(ADA, "credit"), (BEN, "credit")]) == {(ADA, "credit"): one}
        assert keys.get([(ADA, "fraud")]) == {(ADA, "fraud"): other}
        assert keys.get([]) == {}

    def test_of_two_keys_of_one_person_the_first_counts(self, keys: SubjectKeys) -> None:
        first, second, new = subject_key(), subject_key(), subject_key(BEN)
        keys.add([first])

        counts = keys.add([second, new])

        assert counts == {(ADA, "credit"): first, (BEN, "credit"): new}

    def test_many_who_add_at_once_all_get_the_same_key(self, keys: SubjectKeys) -> None:
        tags = [bytes([number]) * 16 for number in range(8)]

        def add(_: int) -> dict[tuple[bytes, str], SubjectKey]:
            return keys.add([subject_key(tag) for tag in tags])

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(add, range(16)))

        assert all(answer == answers[0] for answer in answers)

    def test_an_erased_key_is_gone_and_told_in_order(self, keys: SubjectKeys) -> None:
        mine, other, elsewhere = subject_key(), subject_key(BEN), subject_key(integration="fraud")
        keys.add([mine, other, elsewhere])

        (first,) = keys.erase(ADA, ["credit"], 5)
        (second,) = keys.erase(BEN, ["credit"], 6)

        assert keys.get([(ADA, "credit"), (BEN, "credit")]) == {}
        assert keys.get([(ADA, "fraud")]) == {(ADA, "fraud"): elsewhere}
        assert [first, second] == keys.erased()
        assert keys.erased(first.number) == [second]
        assert (first.tag, first.integration, first.id, first.at_us) == (ADA, "credit", mine.id, 5)
        assert keys.gone([mine.id, other.id, elsewhere.id, b""]) == {mine.id: 5, other.id: 6}

    def test_an_erasure_without_a_key_is_told_too(self, keys: SubjectKeys) -> None:
        (done,) = keys.erase(ADA, ["credit"], 5)

        assert done.id == b""
        assert keys.erased() == [done]
        assert keys.gone([b""]) == {}

    def test_numbers_of_erased_keys_are_never_used_again(self, keys: SubjectKeys) -> None:
        numbers = [keys.erase(ADA, ["credit"], at)[0].number for at in range(5)]

        assert numbers == sorted(set(numbers))

    def test_who_was_erased_may_have_a_new_key(self, keys: SubjectKeys) -> None:
        keys.add([subject_key()])
        keys.erase(ADA, ["credit"], 5)
        new = subject_key()

        assert keys.add([new]) == {(ADA, "credit"): new}
        assert new.id not in keys.gone([new.id])

    def test_keys_are_wrapped_anew_and_counted_by_what_wrapped_them(
        self, keys: SubjectKeys
    ) -> None:
        old, new = subject_key(), subject_key(BEN, kek="kek-2")
        keys.add([old, new])
        assert keys.count() == {"kek-1": 1, "kek-2": 1}

        assert keys.under(["kek-2"], 10) == [old]
        again = msgspec.structs.replace(old, kek="kek-2", wrapped=b"anew")
        assert keys.rewrap([again]) == 1

        assert keys.get([(ADA, "credit")]) == {(ADA, "credit"): again}
        assert keys.under(["kek-2"], 10) == []
        assert keys.count() == {"kek-2": 2}

    def test_a_key_that_was_erased_meanwhile_is_not_brought_back(self, keys: SubjectKeys) -> None:
        old = subject_key()
        keys.add([old])
        keys.erase(ADA, ["credit"], 5)
        new = subject_key()
        keys.add([new])

        assert keys.rewrap([msgspec.structs.replace(old, wrapped=b"anew")]) == 0

        assert keys.get([(ADA, "credit")]) == {(ADA, "credit"): new}
