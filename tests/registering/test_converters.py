"""Trained estimators become ONNX files that answer as the originals, or are refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import lightgbm
import numpy as np
import onnx
import pyarrow
import pytest
import xgboost
from registering_house import Registered
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import splice
from splice.control.registry import Registration
from splice.core.errors import DeclarationError, ModelUnavailable
from splice.core.versions import Parity
from splice.testing.contracts.converters import ConverterContract, FileConverterContract

SAID = Registration(by="ada")


def _binary() -> tuple[Any, Any]:
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    return found.data, found.target_names[found.target]


def _values() -> tuple[Any, Any]:
    from sklearn.datasets import load_diabetes

    return load_diabetes(return_X_y=True)


def _moments() -> tuple[Any, Any]:
    """Unix times: in single precision they differ only from the 128th second on."""
    draw = np.random.default_rng(5)
    times = 1.7e9 + draw.integers(0, 3000, 3000)
    other = draw.normal(size=3000)
    return np.column_stack([times, other]), (times.astype(int) // 7 % 2) ^ (other > 0)


class TestSklearn(ConverterContract):
    @pytest.fixture
    def converter(self) -> Any:
        from splice.adapters.converters.sklearn import SklearnConverter

        return SklearnConverter()

    @pytest.fixture
    def trained(self) -> Any:
        x, y = _binary()
        return make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y), x[:50]


class TestLightGBM(FileConverterContract):
    @pytest.fixture
    def converter(self) -> Any:
        from splice.adapters.converters.lightgbm import LightGBMConverter

        return LightGBMConverter()

    @pytest.fixture
    def trained(self) -> Any:
        x, y = _binary()
        return lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(x, y), x[:50]

    @pytest.fixture
    def saved(self, trained: Any, tmp_path: Any) -> Any:
        trained[0].booster_.save_model(tmp_path / "model.txt")
        return tmp_path / "model.txt"


class TestXGBoost(FileConverterContract):
    @pytest.fixture
    def converter(self) -> Any:
        from splice.adapters.converters.xgboost import XGBoostConverter

        return XGBoostConverter()

    @pytest.fixture
    def trained(self) -> Any:
        x, y = _binary()
        return xgboost.XGBClassifier(n_estimators=5).fit(x, y == "benign"), x[:50]

    @pytest.fixture
    def saved(self, trained: Any, tmp_path: Any) -> Any:
        trained[0].save_model(tmp_path / "model.ubj")
        return tmp_path / "model.ubj"


def test_a_pipeline_over_named_columns_reads_each_by_its_name(
    project: Registered, credit: SimpleNamespace
) -> None:
    table = pyarrow.table({name: [row[name] for row in credit.rows] for name in credit.rows[0]})
    pipeline = make_pipeline(
        ColumnTransformer(
            [("n", StandardScaler(), credit.numbers), ("t", OneHotEncoder(), credit.texts)]
        ),
        LogisticRegression(max_iter=1000),
    ).fit(table, credit.labels)

    kept = project.registrar.estimator("credit", pipeline, SAID, example=table).version

    parity = kept.lineage.parity
    assert parity is not None
    assert (parity.rows, parity.labels_differ) == (1500, 0)
    assert parity.max_difference < 1e-5
    assert {one.name for one in kept.signature.inputs} == set(credit.rows[0])
    assert kept.signature.classes == ("defaulted", "repaid")
    answers = project.ask(kept, credit.rows[:300])
    assert [one.value for one in answers] == pipeline.predict(table.slice(0, 300)).tolist()


def test_a_matrix_of_named_columns_keeps_their_names(
    project: Registered, credit: SimpleNamespace
) -> None:
    rows = [{name: row[name] for name in credit.numbers} for row in credit.rows]
    forest = RandomForestClassifier(20, random_state=1).fit(credit.matrix, credit.labels)

    kept = project.registrar.estimator("credit", forest, SAID, example=rows).version

    assert kept.signature.features == tuple(credit.numbers)
    assert kept.signature.inputs[0].shape == (-1, len(credit.numbers))
    answers = project.ask(kept, rows[:100])
    assert [one.value for one in answers] == forest.predict(credit.matrix[:100]).tolist()


@pytest.mark.parametrize(
    "estimator",
    [
        Ridge(),
        GradientBoostingRegressor(n_estimators=20),
        lightgbm.LGBMRegressor(n_estimators=20, verbose=-1),
        xgboost.XGBRegressor(n_estimators=20),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_regressor_gives_its_values(project: Registered, estimator: Any) -> None:
    x, y = _values()
    estimator.fit(x, y)

    kept = project.registrar.estimator("progress", estimator, SAID, example=x).version

    answers = project.ask(kept, [{"columns": row} for row in x[:50].tolist()])
    assert np.allclose([one.value for one in answers], estimator.predict(x[:50]), atol=1e-2)
    assert kept.signature.classes == ()
    assert kept.lineage.original.startswith(type(estimator).__module__)


@pytest.mark.parametrize(
    "estimator",
    [
        lightgbm.LGBMClassifier(
            n_estimators=8, verbose=-1, num_leaves=100, min_child_samples=2, max_bin=2000
        ),
        HistGradientBoostingClassifier(max_iter=5, max_leaf_nodes=60),
        make_pipeline(StandardScaler(), RandomForestClassifier(9, max_depth=8, random_state=1)),
        xgboost.XGBClassifier(n_estimators=8),
    ],
    ids=["lightgbm", "histogram", "scaled-forest", "xgboost"],
)
def test_a_value_close_to_a_split_goes_the_way_that_it_went(
    project: Registered, estimator: Any
) -> None:
    x, y = _moments()
    estimator.fit(x, y)

    kept = project.registrar.estimator("times", estimator, SAID, example=x).version

    answers = project.ask(kept, [{"columns": row} for row in x.tolist()])
    assert [one.value for one in answers] == estimator.predict(x).tolist()


def test_a_conversion_too_far_off_is_refused_with_its_figures(project: Registered) -> None:
    x, y = _moments()
    # Two ensembles in one graph: their splits are not put back in double precision.
    trees = [(name, HistGradientBoostingClassifier(max_iter=3, random_state=i))
             for i, name in enumerate("ab")]  # fmt: skip
    votes = VotingClassifier(trees, voting="soft", flatten_transform=False).fit(x, y)

    with pytest.raises(DeclarationError, match=r"off by 0\.\d+, with [1-9]\d+ of 2500 labels"):
        project.registrar.estimator("times", votes, SAID, example=x)

    assert project.stores.models.models() == []
    kept = project.registrar.estimator("near", votes, SAID, example=x[:1], tolerance=1e-4).version
    assert kept.lineage.parity is not None
    assert kept.lineage.parity.tolerance == 1e-4


def test_boosters_are_converted_without_an_example(project: Registered) -> None:
    x, y = _binary()
    trees = lightgbm.LGBMClassifier(n_estimators=20, verbose=-1).fit(x, y == "benign").booster_
    other = xgboost.XGBClassifier(n_estimators=20).fit(x, y == "benign").get_booster()

    for name, booster in (("light", trees), ("extreme", other)):
        kept = project.registrar.estimator(name, booster, SAID).version
        parity = kept.lineage.parity
        assert isinstance(parity, Parity)
        assert parity.rows == 1000
        assert kept.signature.classes == ("0", "1")


def test_the_same_estimator_keeps_its_number(project: Registered) -> None:
    x, y = _binary()
    forest = RandomForestClassifier(5, random_state=1).fit(x, y)

    first, again = (
        project.registrar.estimator("tumour", forest, SAID, example=x) for _ in range(2)
    )

    assert (first.is_new, again.is_new) == (True, False)
    assert first.version == again.version
    assert project.actions() == ["model.register"]


def test_a_file_names_each_set_of_operators_once_and_in_order(project: Registered) -> None:
    x, y = _binary()
    booster = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(x, y == "benign").booster_

    kept = project.registrar.estimator("light", booster, SAID).version

    model = onnx.load(project.stores.models.file(kept.sha256))
    domains = [one.domain for one in model.opset_import]
    assert domains == sorted(set(domains)) == ["", "ai.onnx.ml"]


def test_rows_with_a_missing_value_are_not_asked(project: Registered) -> None:
    x, y = _binary()
    x = x.copy()
    x[::2, 3] = np.nan
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(x, y)

    kept = project.registrar.estimator("tumour", model, SAID, example=x).version

    assert kept.lineage.parity is not None
    assert kept.lineage.parity.rows == len(x) // 2 + 500


@pytest.mark.parametrize(
    ("make", "example", "words"),
    [
        (lambda x, y: LogisticRegression(), True, "not fitted"),
        (lambda x, y: KMeans(2, n_init=1).fit(x), True, "neither a classifier nor"),
        (lambda x, y: Ridge().fit(x, y == "benign"), False, "no example"),
        (lambda x, y: Ridge().fit(x, y == "benign"), "wrong", "expected rows that"),
        (lambda x, y: lightgbm.LGBMClassifier(), True, "not fitted"),
        (lambda x, y: xgboost.XGBClassifier(), True, "not fitted"),
        (lambda x, y: object(), True, "no installed converter"),
    ],
    ids=["unfitted", "clusters", "no-example", "wrong-example", "light", "extreme", "stranger"],
)
def test_what_cannot_be_converted_says_why(
    project: Registered, make: Any, example: Any, words: str
) -> None:
    x, y = _binary()
    rows = x[:20] if example is True else x[:20, :3] if example else None

    with pytest.raises(DeclarationError, match=words):
        project.registrar.estimator("tumour", make(x, y), SAID, example=rows)


def test_register_fills_in_where_a_version_comes_from(project: Registered) -> None:
    x, y = _binary()
    forest = RandomForestClassifier(5, random_state=1, max_depth=3).fit(x, y)
    card = splice.Card(owner="risk", metrics={"auc": 0.9}, limits=("not for children",))

    kept = splice.register(
        "tumour", forest, example=x, card=card, run="files:7", alias="challenger",
        lineage=splice.Lineage(data="tumours 2026", data_sha256="ab" * 32), project=project.folder,
    )  # fmt: skip

    assert kept.card == card
    assert kept.lineage.run == "files:7"
    assert kept.lineage.data == "tumours 2026"
    assert kept.lineage.params["max_depth"] == 3
    assert kept.lineage.original.startswith("sklearn.ensemble._forest.RandomForestClassifier 1.")
    assert project.stores.models.resolve("tumour", "challenger") == kept
    event = project.stores.audit.events()[0]
    assert (event.action, event.subject) == ("model.register", "tumour@1")
    assert event.details["lineage"]["parity"]["rows"] == 1069
    assert event.details["card"]["owner"] == "risk"


def test_a_damaged_text_of_trees_is_refused(project: Registered, tmp_path: Any) -> None:
    for name, text in (("a.txt", "tree\nversion=v4\n\nend of"), ("b.json", '{"learner": {}}')):
        file = tmp_path / name
        file.write_text(text)
        with pytest.raises(ModelUnavailable, match=name):
            project.registrar.file("tumour", file, SAID)
