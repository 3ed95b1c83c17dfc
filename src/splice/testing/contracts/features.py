"""What every feature store must do, whatever database is behind it."""

from __future__ import annotations

import asyncio
import json

import pytest

from splice.core.errors import StoreError
from splice.ports.features import FeatureStore

HOSTILE = ("", "' OR '1'='1", "c1'; DROP TABLE customers; --", "%", ":entity", "c1\x01", "ü" * 500)


class FeatureStoreContract:
    """Inherit it, and give it the fixture `store`.

    The store has a view `customer` that knows the entity `c1` with exactly these values, as of one
    hour ago: age 41 (a whole number), income 52000.5, country "DE", vip True, note None.
    """

    async def test_a_known_entity_has_its_values(self, store: FeatureStore) -> None:
        features = await store.read("customer", "c1")

        assert features.values == {
            "age": 41,
            "income": 52000.5,
            "country": "DE",
            "vip": True,
            "note": None,
        }

    async def test_values_are_json(self, store: FeatureStore) -> None:
        features = await store.read("customer", "c1")

        assert json.loads(json.dumps(features.values, allow_nan=False)) == features.values

    async def test_the_source_and_the_age_are_told(self, store: FeatureStore) -> None:
        features = await store.read("customer", "c1")

        assert features.source
        assert features.age_s == pytest.approx(3600, abs=60)

    async def test_an_unknown_entity_has_no_values(self, store: FeatureStore) -> None:
        features = await store.read("customer", "nobody")

        assert features.values == {}
        assert features.age_s is None

    async def test_an_unknown_view_is_an_error_that_names_the_known_ones(
        self, store: FeatureStore
    ) -> None:
        with pytest.raises(StoreError, match="customer"):
            await store.read("nothing", "c1")

    @pytest.mark.parametrize("entity", HOSTILE)
    async def test_a_hostile_key_is_only_an_unknown_one(
        self, store: FeatureStore, entity: str
    ) -> None:
        assert (await store.read("customer", entity)).values == {}
        assert (await store.read("customer", "c1")).values["age"] == 41

    async def test_reads_at_the_same_time_are_all_answered(self, store: FeatureStore) -> None:
        entities = ["c1", "nobody"] * 20

        read = await asyncio.gather(*(store.read("customer", entity) for entity in entities))

        assert [bool(features.values) for features in read] == [True, False] * 20

    async def test_a_cancelled_read_leaves_the_store_usable(self, store: FeatureStore) -> None:
        reading = asyncio.create_task(store.read("customer", "c1"))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

        assert (await store.read("customer", "c1")).values["age"] == 41

    async def test_closing_twice_is_harmless_and_later_reads_are_store_errors(
        self, store: FeatureStore
    ) -> None:
        await store.close()
        await store.close()

        with pytest.raises(StoreError):
            await store.read("customer", "c1")
