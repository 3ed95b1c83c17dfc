"""Pickled estimators of scikit-learn: loaded in worker processes, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import joblib
import msgspec
import numpy as np
import pytest
from moods import Marker, NotAnEstimator, Strict
from pools_house import GENEROUS, opened, pickled, pinned
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from splice.adapters.runtimes.pickled import PickleRuntime
from splice.core.call import Prediction
from splice.core.errors import ModelMismatch, ModelUnavailable

RANDOM = np.random.default_rng(7)
X = RANDOM.normal(size=(200, 2))
BIG = X[:, 0] + 2 * X[:, 1] > 0
ROWS = [{"a": float(a), "b": float(b)} for a, b in X[:20]]


async def answers(file: Path, *features: str) -> list[Prediction]:
    """What a pool of the file gives to the rows."""
    form = msgspec.structs.replace(pinned(file, "pickle"), features=features)
    pool, _ = await opened(file, pinned_as=form)
    try:
        return await pool.infer(ROWS, GENEROUS)  # type: ignore[return-value]
    finally:
        await pool.close()


@pytest.mark.parametrize("labels", [["no", "yes"], [0.0, 1.0]])
async def test_a_classifier_gives_its_label_and_the_chances_of_its_classes(
    tmp_path: Path, labels: list[Any]
) -> None:
    model = LogisticRegression().fit(X, np.array(labels)[BIG.astype(int)])

    given = await answers(pickled(tmp_path / "m.pkl", model), "a", "b")

    chances = model.predict_proba(X[:20])
    assert [one.value for one in given] == model.predict(X[:20]).tolist()
    assert [one.score for one in given] == pytest.approx(chances[:, 1].tolist())
    assert list(given[0].scores or {}) == [str(one) for one in labels]


async def test_more_than_two_classes_have_the_chance_of_the_label_as_score(tmp_path: Path) -> None:
    kinds = np.array(["low", "middle", "high"])[np.digitize(X[:, 0], [-0.5, 0.5])]
    model = RandomForestClassifier(n_estimators=5, random_state=1).fit(X, kinds)

    given = await answers(pickled(tmp_path / "m.pkl", model), "a", "b")

    assert [one.value for one in given] == model.predict(X[:20]).tolist()
    assert all(one.score == max((one.scores or {}).values()) for one in given)


async def test_the_label_is_what_the_estimator_itself_says_not_the_likeliest_class(
    tmp_path: Path,
) -> None:
    given = await answers(pickled(tmp_path / "m.pkl", Strict()), "a", "b")

    assert {one.value for one in given} == {"no"}
    assert {one.score for one in given} == {0.75}


async def test_a_regressor_gives_its_value(tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), LinearRegression()).fit(X, 10 * X[:, 0] + 500)

    given = await answers(pickled(tmp_path / "m.pkl", model), "a", "b")

    assert [one.value for one in given] == pytest.approx(model.predict(X[:20]).tolist())
    assert {one.score for one in given} == {None}


@pytest.mark.parametrize("model", [LinearSVC().fit(X, BIG), IsolationForest(n_estimators=5).fit(X)])
async def test_what_has_no_chances_gives_its_label(tmp_path: Path, model: Any) -> None:
    given = await answers(pickled(tmp_path / "m.pkl", model), "a", "b")

    assert [one.value for one in given] == model.predict(X[:20]).tolist()
    assert {one.scores for one in given} == {None}


async def test_a_file_of_joblib_is_read_compressed_too(tmp_path: Path) -> None:
    model = LinearRegression().fit(X, X[:, 0])
    file = tmp_path / "m.joblib"
    joblib.dump(model, file, compress=3)

    given = await answers(file, "a", "b")

    assert [one.value for one in given] == pytest.approx(X[:20, 0].tolist())


async def test_features_stand_in_the_order_of_the_training_whatever_order_is_pinned(
    tmp_path: Path,
) -> None:
    model = LinearRegression().fit(X, X[:, 0])
    model.feature_names_in_ = np.array(["a", "b"], dtype=object)
    file = pickled(tmp_path / "m.pkl", model)

    for names in (("b", "a"), ()):
        given = await answers(file, *names)
        assert [one.value for one in given] == pytest.approx(X[:20, 0].tolist())


@pytest.mark.parametrize("names", [("a",), ("a", "b", "c")])
async def test_features_of_another_number_are_refused(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    file = pickled(tmp_path / "m.pkl", LinearRegression().fit(X, X[:, 0]))

    with pytest.raises(ModelMismatch):
        await answers(file, *names)


async def test_features_of_other_names_than_in_training_are_refused(tmp_path: Path) -> None:
    model = LinearRegression().fit(X, X[:, 0])
    model.feature_names_in_ = np.array(["a", "b"], dtype=object)

    with pytest.raises(ModelMismatch) as raised:
        await answers(pickled(tmp_path / "m.pkl", model), "a", "c")

    assert "a, b" in raised.value.promised


async def test_columns_by_number_are_those_of_the_matrix(tmp_path: Path) -> None:
    columns = ColumnTransformer([("scaled", StandardScaler(), [1])])
    model = make_pipeline(columns, LinearRegression()).fit(X, X[:, 1])

    given = await answers(pickled(tmp_path / "m.pkl", model), "a", "b")

    assert [one.value for one in given] == pytest.approx(X[:20, 1].tolist())


async def test_what_has_no_predict_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable) as raised:
        await answers(pickled(tmp_path / "m.pkl", NotAnEstimator()), "a", "b")

    assert "predict()" in raised.value.promised


def test_in_any_other_process_no_pickle_is_loaded(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    file = pickled(tmp_path / "m.pkl", Marker(ran))

    for load in (PickleRuntime().load, PickleRuntime().inspect):
        with pytest.raises(ModelUnavailable) as raised:
            load(file)
        assert "pool" in raised.value.mend

    assert not ran.exists()


async def test_code_in_a_pickle_runs_in_the_worker_process(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    with pytest.raises(ModelUnavailable):
        await answers(pickled(tmp_path / "m.pkl", Marker(ran)), "a", "b")

    assert int(ran.read_text()) != os.getpid()
