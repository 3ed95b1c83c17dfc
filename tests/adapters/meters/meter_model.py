"""A meter as simple as can be, to compare the others with."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st

from splice.core.access import NEVER_US
from splice.ports.meters import Meter, Slot, Take

NAMES = st.sampled_from(["a", "b", "c"])
TAKES = st.lists(st.tuples(NAMES, st.integers(0, 6), st.integers(0, 12)), max_size=4)
CHANGES = st.lists(st.tuples(NAMES, st.integers(-9, 9)), max_size=4)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), TAKES),
        st.tuples(st.just("settle"), CHANGES),
        st.tuples(st.just("raise"), st.tuples(NAMES, st.integers(0, 12))),
    ),
    max_size=20,
)


async def follow_a_model(meter: Meter, prefix: str, operations: list[tuple[str, object]]) -> None:
    """Does each thing to the meter and to a model of it, and compares them."""
    model: Counter[str] = Counter()

    def slot(name: str, limit: int = 0) -> Slot:
        return Slot(prefix + name, limit, NEVER_US)

    for verb, what in operations:
        if verb == "reserve":
            takes = [Take(slot(name, limit), amount) for name, amount, limit in what]
            after, refused = model.copy(), None
            for take, (name, amount, limit) in zip(takes, what, strict=True):
                after[name] += amount
                if amount and after[name] > limit:
                    refused = take
                    break
            assert await meter.reserve(takes) is refused
            model = model if refused else after
        elif verb == "settle":
            await meter.settle([Take(slot(name), amount) for name, amount in what])
            for name, amount in what:
                model[name] = max(0, model[name] + amount)
        else:
            name, amount = what
            await meter.raise_to(slot(name), amount)
            model[name] = max(model[name], amount)
        assert await meter.used([slot(name) for name in "abc"]) == [model[name] for name in "abc"]
