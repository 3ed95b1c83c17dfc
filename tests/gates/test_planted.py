"""A version with one fault fails the gate for that fault, and no other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from gates_house import (
    Bank,
    bad,
    by_kind,
    column,
    fitted,
    good,
    integration,
    labelled,
    logistic,
    other,
)

from splice.app.wiring import registry_of
from splice.core.errors import NotPromoted

MUST = (
    'splice.AtLeast("auc", 0.65)',
    'splice.AtMost("log_loss", 0.75)',
    'splice.NotWorse("average_precision", margin=0.1)',
    'splice.NotWorse("auc", margin=0.04)',
    'splice.Slices("rate_class", "auc", worst=0.55)',
    'splice.Slices("region", "brier", gap=0.05)',
    'splice.Latency(p50="2 ms", rows=40)',
    'splice.Size("50 kB")',
    "splice.SameSchema()",
    "splice.Robust(shift=0.1, flips=0.1)",
    "splice.Calibrated(ece=0.1)",
)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    """A project in which a good model answers."""
    made = Bank(tmp_path_factory.mktemp("bank"), integration(*MUST))
    made.add(good(), alias="champion")
    made.apply()
    yield made
    made.close()


def test_another_good_model_fails_nothing(bank: Bank) -> None:
    version = bank.add(other())

    validation = bank.validate(version)

    assert validation.passed, validation
    assert (validation.champion, validation.rows) == (1, 300)
    gates = {one.gate for one in validation.results}
    assert len(gates) == len(MUST) + 3  # Answers; and Robust gives three


FAULTS = {
    # Scores of whoever pays the smallest rate say nothing: a fifth of the rows, in no sum.
    "Slices rate_class auc": logistic(
        """part = Gather<axis = 1>(x, place)
           small = Less(part, edge)
           changed = Where(small, level, logit)""",
        place=column("rate_class"),
        edge="float[1] edge = {1.5}",
        level="float[1] level = {-1.0}",
    ),
    "Calibrated": logistic("changed = Mul(logit, steep)", steep="float[1] steep = {2.6}"),
    "Latency p50": logistic(
        """any = ReduceMean(x)
           wide = Expand(any, size)
           once = MatMul(wide, wide)
           twice = MatMul(once, wide)
           again = MatMul(twice, wide)
           lost = ReduceMin<keepdims = 0>(again)
           none = Mul(lost, zero)
           changed = Add(logit, none)""",
        size="int64[2] size = {400, 400}",
        zero="float[1] zero = {0.0}",
    ),
    "Size": logistic(
        "part = ReduceSum(big)\n changed = Add(logit, part)",
        big=f"float[20000] big = {{{', '.join('0' for _ in range(20000))}}}",
    ),
    "SameSchema": logistic(out="one"),
    "NotWorse auc": logistic(model=fitted(blind=True)),
    # One in five applications is small: the logarithm of less than nothing is no number.
    "Answers": logistic(
        """part = Gather<axis = 1>(x, place)
           more = Sub(part, edge)
           ratio = Log(more)
           none = Mul(ratio, zero)
           changed = Add(logit, none)""",
        place=column("amount_dm"),
        edge="float[1] edge = {1000.0}",
        zero="float[1] zero = {0.0}",
    ),
    "Robust shift": logistic(
        """part = Gather<axis = 1>(x, place)
           waves = Mul(part, often)
           wave = Sin(waves)
           push = Mul(wave, much)
           changed = Add(logit, push)""",
        place=column("amount_dm"),
        often="float[1] often = {0.05}",
        much="float[1] much = {0.45}",
    ),
}


@pytest.mark.parametrize("gate", FAULTS)
def test_a_fault_fails_its_gate_and_no_other(bank: Bank, gate: str) -> None:
    version = bank.add(FAULTS[gate])

    assert bank.failing(version) == {gate}


def test_a_floor_and_a_ceiling_say_by_how_much(tmp_path: Path) -> None:
    must = ('splice.AtLeast("auc", 0.7)', "splice.AtMost(mistakes, 0.35)")
    with closing(Bank(tmp_path, integration(*must))) as bank:
        bank.add(good(), alias="champion")
        bank.apply()
        version = bank.add(bad())

        with pytest.raises(NotPromoted) as refused:
            bank.promote(version)

        assert "AtLeast auc: auc is 0.5" in refused.value.got
        assert "wanted at least 0.7: 0.1" in refused.value.got
        assert "AtMost mistakes: mistakes is 0.5" in refused.value.got
        assert (bank.champion, bank.runs) == (1, "credit@1")


@pytest.mark.parametrize(
    ("sure", "unsure"),
    [
        ('splice.AtLeast("auc", 0.75, sure=True)', 'splice.AtLeast("auc", 0.75)'),
        ('splice.AtMost("brier", 0.18, sure=True)', 'splice.AtMost("brier", 0.18)'),
        ("splice.Calibrated(0.05, sure=True)", "splice.Calibrated(0.05)"),
    ],
)
def test_a_gate_that_wants_to_be_sure_looks_at_the_worse_end(
    tmp_path: Path, sure: str, unsure: str
) -> None:
    with closing(Bank(tmp_path / "sure", integration(sure))) as bank:
        bank.add(good(), alias="champion")
        with pytest.raises(NotPromoted, match=r"for the (lower|upper) end"):
            bank.apply()
    with closing(Bank(tmp_path / "unsure", integration(unsure))) as bank:
        bank.add(good(), alias="champion")
        bank.apply()


@pytest.mark.parametrize(
    ("must", "says"),
    [
        ('splice.Slices("shoe_size", "auc", worst=0.5)', "no column shoe_size"),
        ('splice.Slices("region", "auc", worst=0.5, least_rows=500)', "no group of region has 500"),
        ('splice.Slices("region", "auc", worst=0.5, edges=(1,))', "no number that edges="),
        ('splice.AtMost("rmse", 5)', "a prediction is not a number"),
        ("splice.AtMost(broken, 5)", "broken.. raised ZeroDivisionError"),
    ],
)
def test_what_the_data_cannot_tell_fails(tmp_path: Path, must: str, says: str) -> None:
    broken = "def broken(labels, scores, decisions):\n    return 1 / 0\n\n\nclass Credit("
    source = integration(must).replace("class Credit(", broken)
    with closing(Bank(tmp_path, source)) as bank:
        bank.add(labelled(good()), alias="champion")

        with pytest.raises(NotPromoted, match=f"the data cannot tell: .*{says}"):
            bank.apply()


CONTEXT = '''
import splice


class Order(splice.Request):
    customer: splice.Entity
    kind: str
    amount: float | None = None
    note: str = ""


class Verdict(splice.Reply):
    bad: bool


class Orders(splice.Integration):
    """Find bad orders."""

    routes = [splice.Model("orders@champion")]
    gates = splice.Gates(
        data=splice.Labelled("orders.jsonl", label="bad"), must=[splice.Robust(MUST)]
    )

    async def context(self, order: Order, look: splice.Lookup) -> dict:
        return {"kind": order.kind, "amount": GIVEN}

    def decide(self, order: Order, prediction: splice.Prediction) -> Verdict:
        return Verdict(prediction.score > 0.5)
'''


def _failed(folder: Path, given: str, unknown: float, must: str = "") -> set[str]:
    """The gates that a model of orders fails; `unknown` is the code of a word it does not know."""
    source = CONTEXT.replace("GIVEN", given).replace("MUST", must)
    with closing(Bank(folder, source)) as bank:
        orders = (
            {"customer": f"c{i}", "kind": "ab"[i % 2], "amount": float(i), "bad": i % 2 == 1}
            for i in range(60)
        )
        (folder / "orders.jsonl").write_text("".join(json.dumps(one) + "\n" for one in orders))
        file = folder / "orders.onnx"
        file.write_bytes(by_kind(unknown))
        registry_of(bank.settings, bank.stores).register("orders", file, now_us=1)
        version = bank.stores.models.resolve("orders", "1")
        assert version is not None
        validation = bank.validator.validate(bank.declared(version), by="ada", now_us=2)
        return {one.gate for one in validation.results if not one.passed}


NAN = float("nan")


@pytest.mark.parametrize(
    ("given", "unknown", "must", "fails"),
    [
        ("order.amount", NAN, "", set()),  # nothing is imputed: refused before and in the graph
        ("order.amount or 0.0", NAN, "", {"Robust missing"}),
        ("order.amount or 0.0", NAN, "missing=1.0", set()),
        ("order.amount", 0.0, "", {"Robust unknown"}),
        ("order.amount", 0.0, "unknown=0.4", {"Robust unknown"}),  # half of them become good
        ("order.amount", 0.0, "unknown=0.6", set()),
    ],
)
def test_a_value_that_is_silently_made_up_is_found(
    tmp_path: Path, given: str, unknown: float, must: str, fails: set[str]
) -> None:
    assert _failed(tmp_path, given, unknown, must) == fails


@pytest.mark.parametrize(
    ("gate", "says"),
    [
        ('splice.NotWorse("auc", margin=0.02)', "at most 0.02 worse: 0.0.* too much"),
        ('splice.NotWorse("brier", margin=-0.5)', "at least 0.5 better: 0.5.* too little"),
        ("splice.NotWorse(mistakes, higher_is_better=False)", "worse by 0.0.* at most 0 worse"),
        ('splice.NotWorse("auc", margin=0.05, sure=True)', "also at the worse end"),
    ],
)
def test_a_comparison_knows_which_way_is_better(tmp_path: Path, gate: str, says: str) -> None:
    with closing(Bank(tmp_path, integration(gate))) as bank:
        bank.add(good(), alias="champion")
        bank.apply()

        with pytest.raises(NotPromoted, match=says):
            bank.promote(bank.add(logistic(model=fitted(blind=True))))
