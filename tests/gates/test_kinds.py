"""Gates of models that give numbers, and of models of more than two classes."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from gates_house import Bank, rows
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, r2_score

from splice.app.wiring import registry_of
from splice.core.validation import GateResult

SOURCE = '''
import splice


class Loan(splice.Request):
    duration: float
    rate: float


class Answer(splice.Reply):
    said: ANSWER


class Loans(splice.Integration):
    """Say something of a loan."""

    routes = [splice.Model("loans")]
    gates = splice.Gates(data=splice.Labelled("loans.jsonl", label="truth"), must=[MUST])

    def decide(self, loan: Loan, prediction: splice.Prediction) -> Answer:
        return Answer(prediction.value)
'''


def held_out() -> tuple[Any, Any, Any, Any]:
    """Durations and rates to train on and to test on, with the amounts."""
    parts: list[Any] = []
    for part in (rows().train, rows().held_out):
        matrix = rows().matrix(part)
        parts += [matrix[:, [1, 6]], matrix[:, 3]]
    return tuple(parts)  # type: ignore[return-value]


def validated(folder: Path, source: str, graph: str, data: Any, truth: Any) -> list[GateResult]:
    """The results of the gates for a model of two inputs."""
    with closing(Bank(folder, source)) as bank:
        lines = (
            json.dumps({"duration": float(x[0]), "rate": float(x[1]), "truth": y})
            for x, y in zip(data, truth, strict=True)
        )
        (folder / "loans.jsonl").write_text("\n".join(lines))
        made = onnx.parser.parse_model(graph)
        if "three" in graph:
            made.metadata_props.add(key="splice.classes", value='["small", "middle", "large"]')
        onnx.save(made, folder / "loans.onnx")
        registry = registry_of(bank.settings, bank.stores)
        registry.register("loans", folder / "loans.onnx", now_us=1)
        version = bank.stores.models.resolve("loans", "1")
        assert version is not None
        validation = bank.validator.validate(bank.declared(version), by="ada", now_us=2)
        return list(validation.results)


def _floats(values: Any) -> str:
    return ", ".join(f"{float(one):.9g}" for one in np.ravel(values))


def test_a_model_of_numbers_is_measured_in_the_unit_of_its_label(tmp_path: Path) -> None:
    x, y, test, truth = held_out()
    model = LinearRegression().fit(x, y)
    graph = f"""
        <ir_version: 8, opset_import: ["": 17]>
        amounts (float[N,1] duration, float[N,1] rate) => (float[N,1] amount)
        <float[2,1] w = {{{_floats(model.coef_)}}}, float b = {{{float(model.intercept_):.9g}}}>
        {{
            both = Concat<axis = 1>(duration, rate)
            product = MatMul(both, w)
            amount = Add(product, b)
        }}
    """
    must = 'splice.AtMost("mae", 2000), splice.AtLeast("r2", 0.9), splice.Robust(shift=0.2)'
    source = SOURCE.replace("ANSWER", "float").replace("MUST", must)

    found = validated(tmp_path, source, graph, test, [float(one) for one in truth])

    said = {one.gate: one for one in found}
    assert said["AtMost mae"].measured == pytest.approx(
        mean_absolute_error(truth, model.predict(test)), rel=1e-4
    )
    assert said["AtLeast r2"].measured == pytest.approx(
        r2_score(truth, model.predict(test)), rel=1e-4
    )
    assert [one.gate for one in found if not one.passed] == ["AtLeast r2"]
    assert said["Robust shift"].measured == 0.0  # no answer moves by a deviation of all answers


NAMES = np.array(["small", "middle", "large"])


def test_a_model_of_three_classes_is_measured_by_its_labels(tmp_path: Path) -> None:
    x, y, test, amounts = held_out()
    edges = np.quantile(y, [1 / 3, 2 / 3])
    model = LogisticRegression(max_iter=1000).fit(x, np.digitize(y, edges))
    truth = NAMES[np.digitize(amounts, edges)]
    graph = f"""
        <ir_version: 8, opset_import: ["": 17]>
        three (float[N,1] duration, float[N,1] rate) => (float[N,3] chances)
        <float[2,3] w = {{{_floats(model.coef_.T)}}}, float[3] b = {{{_floats(model.intercept_)}}}>
        {{
            both = Concat<axis = 1>(duration, rate)
            product = MatMul(both, w)
            scores = Add(product, b)
            chances = Softmax<axis = 1>(scores)
        }}
    """
    must = (
        'splice.AtLeast("accuracy", 0.4), splice.AtLeast("f1", 0.99), splice.Calibrated(0.2), '
        'splice.AtLeast("auc", 0.5)'
    )
    source = SOURCE.replace("ANSWER", "str").replace("MUST", must)

    found = validated(tmp_path, source, graph, test, truth.tolist())

    said = {one.gate: one for one in found}
    guessed = NAMES[model.predict(test)]
    assert said["AtLeast accuracy"].measured == pytest.approx(accuracy_score(truth, guessed))
    assert said["AtLeast f1"].measured == pytest.approx(f1_score(truth, guessed, average="macro"))
    assert said["Calibrated"].passed
    assert "neither yes and no nor the two classes" in said["AtLeast auc"].detail
    failed = [one.gate for one in found if not one.passed]
    assert failed == ["AtLeast f1", "AtLeast auc"]


def test_a_model_that_cannot_be_run_fails_and_says_why(tmp_path: Path) -> None:
    graph = """
        <ir_version: 8, opset_import: ["": 17]>
        amounts (float[N,3] both) => (float[N,1] amount)
        { amount = ReduceSum<keepdims = 1>(both) }
    """
    source = SOURCE.replace("ANSWER", "float").replace("MUST", 'splice.AtMost("mae", 1)')
    source = source.replace('Model("loans")', 'Model("loans", features=("duration", "rate"))')

    (only,) = validated(tmp_path, source, graph, [[1.0, 2.0]] * 20, [1.0] * 20)

    assert (only.gate, only.passed) == ("Answers", False)
    assert only.detail.startswith("it cannot be run: ")
    assert "2 features" in only.detail
