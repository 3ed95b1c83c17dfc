"""The ONNX runtime, held to the contract and to every shape that exporters make."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper

from splice.adapters.runtimes.onnx import OnnxRuntime
from splice.core.errors import BadAnswer, ModelMismatch, ModelUnavailable, RouteCrashed
from splice.testing.contracts.runtimes import RuntimeContract

RUNTIME = OnnxRuntime()


def save(
    file: Path,
    inputs: Sequence[tuple[str, int, list[Any]]],
    outputs: Sequence[tuple[str, int, list[Any]]],
    nodes: Sequence[onnx.NodeProto],
    weights: Sequence[onnx.TensorProto] = (),
    **notes: str,
) -> Path:
    """Writes a model of these nodes."""
    graph = helper.make_graph(
        list(nodes), "g",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one) for one in outputs],
        list(weights),
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 9
    helper.set_model_props(model, notes)
    file.write_bytes(model.SerializeToString())
    return file


def same(file: Path, datatype: int, shape: list[Any], **notes: str) -> Path:
    """A model that gives back its input `x`."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return save(file, [("x", datatype, shape)], [("y", datatype, shape)], [node], **notes)


def run(file: Path, *rows: dict[str, Any], features: Sequence[str] = ()) -> list[Any]:
    return RUNTIME.load(file, features).run(rows)


class TestContract(RuntimeContract):
    @pytest.fixture
    def runtime(self) -> OnnxRuntime:
        return RUNTIME

    @pytest.fixture
    def adder(self, tmp_path: Path) -> Path:
        ones = numpy_helper.from_array(np.ones((2, 1), np.float32), "w")
        return save(
            tmp_path / "adder.onnx", [("x", T.FLOAT, [None, 2])], [("y", T.FLOAT, [None, 1])],
            [helper.make_node("MatMul", ["x", "w"], ["y"])], [ones],
        )  # fmt: skip

    @pytest.fixture
    def damaged(self, adder: Path, tmp_path: Path) -> list[Path]:
        raw = adder.read_bytes()
        contents = [raw[: len(raw) // 2], b"", b"\x00" * 64, b"<html></html>", b"\x80\x04K\x01."]
        files = [tmp_path / f"damaged{i}.onnx" for i in range(len(contents))]
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content)
        return files


@pytest.mark.parametrize(
    ("datatype", "good", "bad"),
    [
        (T.FLOAT, [1, 1.5, True, np.float32(2)], ["1", None, [], [1.0, 2.0], 1e39]),
        (T.DOUBLE, [1, 1.5, True, np.float64(2), 1e39], ["1", None, {}]),
        (T.FLOAT16, [1, 1.5], ["1", 1e5]),
        (T.INT64, [1, -5, True, np.int64(2)], [1.5, "1", None, 2**63]),
        (T.INT32, [1, -5], [1.5, 2**31]),
        (T.UINT8, [1, 255], [-1, 256]),
        (T.INT8, [1, -128], [128]),
        (T.BOOL, [True, False, 1, 0], ["true", 1.0, None]),
        (T.STRING, ["", "ä", "x" * 1000], [1, None, b"x", True]),
    ],
)
@pytest.mark.parametrize("shape", [[None], [None, 1], ["N", 1]])
def test_a_named_column_takes_its_own_datatype_only(
    tmp_path: Path, datatype: int, good: list[Any], bad: list[Any], shape: list[Any]
) -> None:
    file = same(tmp_path / "m.onnx", datatype, shape)

    assert len(run(file, *({"x": one} for one in good))) == len(good)
    for one in bad:
        with pytest.raises(ModelMismatch) as raised:
            run(file, {"x": good[0]}, {"x": one})
        assert raised.value.where == "m.onnx.x"


def test_named_columns_of_several_types_make_one_row(tmp_path: Path) -> None:
    file = save(
        tmp_path / "m.onnx",
        [("age", T.FLOAT, [None, 1]), ("city", T.STRING, [None, 1]), ("kids", T.INT64, [None, 1])],
        [("y", T.STRING, [None, 1])],
        [helper.make_node("Identity", ["city"], ["y"])],
    )

    answers = run(file, {"age": 1, "city": "Köln", "kids": 2}, {"age": 2, "city": "", "kids": 0})

    assert [one.value for one in answers] == ["Köln", ""]
    assert len(run(file, {"age": [1.0], "city": ["a"], "kids": [2]})) == 1
    with pytest.raises(ModelMismatch, match="kids from context") as raised:
        run(file, {"age": 1, "city": "x", "kids": 1}, {"age": 1, "city": "x"})
    assert raised.value.where == "m.onnx.kids"
    with pytest.raises(ModelMismatch, match="names its inputs itself"):
        RUNTIME.load(file, ("age", "city"))
    assert len(run(file, {"age": 1, "city": "", "kids": 2}, features=("kids", "city", "age"))) == 1


def test_vectors_beside_columns_are_checked_inside(tmp_path: Path) -> None:
    file = save(
        tmp_path / "m.onnx", [("v", T.FLOAT, [None, 3]), ("n", T.FLOAT, [None, 1])],
        [("y", T.FLOAT, [None, 3])], [helper.make_node("Add", ["v", "n"], ["y"])],
    )  # fmt: skip

    assert run(file, {"v": [1, 2.0, 3], "n": 1})[0].value == [2.0, 3.0, 4.0]
    for bad in (["1", "2", "3"], [1.0, 2.0], [1.0, 2.0, None], [[1.0, 2.0, 3.0]], 1.0):
        with pytest.raises(ModelMismatch) as raised:
            run(file, {"v": bad, "n": 1})
        assert raised.value.where == "m.onnx.v"


def test_a_model_for_one_row_answers_many(tmp_path: Path) -> None:
    file = same(tmp_path / "m.onnx", T.FLOAT, [1, 3])

    answers = run(file, {"x": [1.0, 2.0, 3.0]}, {"x": [4.0, 5.0, 6.0]})

    assert [one.value for one in answers] == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


def test_names_of_classes_and_features_come_with_the_file(tmp_path: Path) -> None:
    notes = {"splice.classes": json.dumps(["no", "yes"]), "splice.features": '["a", "b"]'}
    file = same(tmp_path / "m.onnx", T.FLOAT, [None, 2], **notes)

    (answer,) = run(file, {"a": 0.25, "b": 0.75})

    assert (answer.value, answer.score) == ("yes", 0.75)
    assert answer.scores == {"no": 0.25, "yes": 0.75}


@pytest.mark.parametrize("note", ["5", "nope", '"ab"', "{}", "null"])
def test_notes_that_are_no_list_are_left_alone(tmp_path: Path, note: str) -> None:
    notes = {"splice.classes": note, "splice.features": note}
    file = same(tmp_path / "m.onnx", T.FLOAT, [None, 2], **notes)

    assert run(file, {"x": [1.0, 2.0]})[0].value == [1.0, 2.0]


def test_nan_that_the_model_makes_is_a_bad_answer(tmp_path: Path) -> None:
    file = save(
        tmp_path / "m.onnx", [("x", T.FLOAT, [None, 1])], [("y", T.FLOAT, [None, 1])],
        [helper.make_node("Log", ["x"], ["y"])],
    )  # fmt: skip

    assert run(file, {"x": 1.0})[0].value == 0.0
    with pytest.raises(BadAnswer):
        run(file, {"x": 1.0}, {"x": -1.0})


def test_an_output_that_is_not_one_a_row_is_a_bad_answer(tmp_path: Path) -> None:
    file = save(
        tmp_path / "m.onnx", [("x", T.FLOAT, [None, 4])], [("y", T.FLOAT, None)],
        [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)],
    )  # fmt: skip

    with pytest.raises(BadAnswer, match="0 rows"):
        run(file, {"x": [1.0] * 4}, {"x": [2.0] * 4})


def test_a_fault_of_the_runtime_is_a_crash_with_one_line(tmp_path: Path) -> None:
    shape = numpy_helper.from_array(np.array([7, 3], np.int64), "s")
    file = save(
        tmp_path / "m.onnx", [("x", T.FLOAT, [None, 2])], [("y", T.FLOAT, [7, 3])],
        [helper.make_node("Reshape", ["x", "s"], ["y"])], [shape],
    )  # fmt: skip

    with pytest.raises(RouteCrashed) as raised:
        run(file, {"x": [1.0, 2.0]})
    assert "\n" not in str(raised.value)


def test_weights_in_another_file_are_refused_when_it_is_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ones = numpy_helper.from_array(np.ones((3, 300), np.float32), "w")
    whole = save(
        tmp_path / "whole.onnx", [("x", T.FLOAT, [None, 3])], [("y", T.FLOAT, [None, 300])],
        [helper.make_node("MatMul", ["x", "w"], ["y"])], [ones],
    )  # fmt: skip
    file = tmp_path / "split.onnx"
    onnx.save(
        onnx.load(whole), file, save_as_external_data=True, location="weights", size_threshold=0
    )

    for folder in (tmp_path, tmp_path.parent):
        monkeypatch.chdir(folder)
        with pytest.raises(ModelUnavailable, match="weights are in files beside it"):
            RUNTIME.inspect(file)


def test_a_tensor_that_json_cannot_fill_is_refused(tmp_path: Path) -> None:
    file = same(tmp_path / "m.onnx", T.COMPLEX64, [None, 2])

    with pytest.raises(ModelUnavailable):
        RUNTIME.inspect(file)


# --- what scikit-learn exports

ROWS = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)


def exported(tmp_path: Path, model: Any, **options: Any) -> Path:
    from skl2onnx import to_onnx

    file = tmp_path / "m.onnx"
    file.write_bytes(
        to_onnx(
            model, ROWS[:1], target_opset={"": 17, "ai.onnx.ml": 3}, **options
        ).SerializeToString()
    )
    return file


@pytest.mark.parametrize("zipmap", [False, True])
@pytest.mark.parametrize("labels", [("no", "yes"), (0, 1), ("a", "b", "c"), (7, 8, 9)])
def test_a_classifier_gives_label_score_and_scores(
    tmp_path: Path, zipmap: bool, labels: tuple[Any, ...]
) -> None:
    from sklearn.linear_model import LogisticRegression

    right = np.array(labels)[(ROWS[:, 0] > 0).astype(int) + (ROWS[:, 1] > 1) * (len(labels) - 2)]
    model = LogisticRegression().fit(ROWS, right)
    file = exported(tmp_path, model, options={id(model): {"zipmap": zipmap}})

    answers = run(file, *({"X": row.tolist()} for row in ROWS))

    assert [one.value for one in answers] == model.predict(ROWS).tolist()
    chances = model.predict_proba(ROWS)
    expected = chances[:, 1] if len(labels) == 2 else chances.max(axis=1)
    assert np.allclose([one.score for one in answers], expected, atol=1e-5)
    names = [str(one) for one in labels] if zipmap else [str(i) for i in range(len(labels))]
    assert list(answers[0].scores) == names
    assert np.allclose([list(one.scores.values()) for one in answers], chances, atol=1e-5)


def test_a_regression_gives_a_number_and_no_score(tmp_path: Path) -> None:
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(ROWS, ROWS.sum(axis=1) * 100 + 1000)

    answers = run(exported(tmp_path, model), *({"X": row.tolist()} for row in ROWS[:9]))

    assert np.allclose([one.value for one in answers], model.predict(ROWS[:9]), rtol=1e-4)
    assert {one.score for one in answers} == {None}


def test_an_outlier_detector_keeps_its_label(tmp_path: Path) -> None:
    from sklearn.ensemble import IsolationForest

    model = IsolationForest(n_estimators=5, random_state=0).fit(ROWS)
    answers = run(exported(tmp_path, model), *({"X": row.tolist()} for row in ROWS[:9]))

    assert [one.value for one in answers] == model.predict(ROWS[:9]).tolist()


# --- custom operators


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    """A model with an operator of onnxruntime-extensions."""
    graph = helper.make_graph(
        [helper.make_node("StringUpper", ["x"], ["y"], domain="ai.onnx.contrib")], "g",
        [helper.make_tensor_value_info("x", T.STRING, [None])],
        [helper.make_tensor_value_info("y", T.STRING, [None])],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.contrib", 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 9
    file = tmp_path / "upper.onnx"
    file.write_bytes(model.SerializeToString())
    return file


def test_text_operators_run_where_their_library_is_installed(upper: Path) -> None:
    assert [one.value for one in run(upper, {"x": "abc"}, {"x": ""})] == ["ABC", ""]


def test_text_operators_without_their_library_say_what_to_install(
    upper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: None if n == "onnxruntime_extensions" else real(n)
    )

    with pytest.raises(ModelUnavailable, match=r"[Ii]nstall splice-ai\[text\]"):
        RUNTIME.inspect(upper)


HEADED = """
import sys, graph, numpy
weights = numpy.random.default_rng(0).normal(size=(384, 4))
made = graph.build(graph.Head(weights, numpy.zeros(4)))
open(sys.argv[1], "wb").write(made.SerializeToString())
"""  # training takes ten seconds: tests/examples holds what it makes


@pytest.mark.model
def test_the_ticket_model_of_the_example_answers(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_extensions")
    example = Path(__file__).parents[3] / "examples/tickets"
    made = subprocess.run(
        [sys.executable, "-c", HEADED, tmp_path / "tickets.onnx"],
        cwd=example, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "ModelUnavailable" in made.stderr:
        pytest.skip(made.stderr[-300:])
    assert made.returncode == 0, made.stderr

    model = RUNTIME.load(tmp_path / "tickets.onnx")
    texts = ["I was charged twice for my order", "The app crashes when I open it", ""]
    answers = model.run([{"text": one} for one in texts])

    assert all(0 < one.score <= 1 and len(one.scores) == 4 for one in answers)
    assert all(one.value in one.scores for one in answers)
    assert model.row_seconds > 0
