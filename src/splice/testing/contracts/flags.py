"""What every Flags must hold to.

Inherit `FlagsContract` and give it a fixture `flags`: one that names `challenger` for whoever's key
begins with `vip-` and `champion` for all others, by the flag `orders-model`, and that waits at most
10 s for it.
"""

from __future__ import annotations

import asyncio

from splice.ports.flags import Flags


class FlagsContract:
    """A flag names a variant, or nothing; it never raises."""

    async def test_a_flag_names_a_variant_by_the_entity(self, flags: Flags) -> None:
        said = [await flags.variant("orders-model", who, {}) for who in ("vip-1", "c-1", "vip-2")]

        assert said == ["challenger", "champion", "challenger"]
        assert flags.trouble == ""

    async def test_the_same_entity_gets_the_same_variant(self, flags: Flags) -> None:
        said = {await flags.variant("orders-model", "vip-1", {"caller": f"{n}"}) for n in range(20)}

        assert said == {"challenger"}

    async def test_a_flag_that_is_not_there_says_nothing(self, flags: Flags) -> None:
        assert await flags.variant("another", "vip-1", {}) is None
        assert flags.trouble

    async def test_odd_entities_and_facts_raise_nothing(self, flags: Flags) -> None:
        facts = {"integration": "orders", "caller": "", "surface": "http"}
        for who in ("Grüße 你好 🎲", "x" * 256, "a'b\"c\\", "\0", "{{ 7*7 }}"):
            assert await flags.variant("orders-model", who, facts) in ("champion", None)

    async def test_many_may_ask_at_once(self, flags: Flags) -> None:
        asked = [flags.variant("orders-model", f"vip-{n}", {}) for n in range(40)]

        assert set(await asyncio.gather(*asked)) == {"challenger"}
