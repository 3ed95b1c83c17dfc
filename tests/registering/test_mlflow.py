"""A real MLflow server: versions come from it, go to it, and stay in step with it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import lightgbm
import numpy as np
import pytest
from mlflow_house import client
from registering_house import Registered

from splice.adapters.net.mlflow import Mlflow
from splice.adapters.registries.mlflow import MlflowRegistry
from splice.app import registries
from splice.app.settings import load
from splice.control.cards import Cards
from splice.control.registry import Registration
from splice.core.errors import DeclarationError, ModelUnavailable, SettingsError, StoreError
from splice.core.release import ModelVersion
from splice.ports.registries import RegistryOptions
from splice.testing.contracts.registries import RegistryContract

pytestmark = pytest.mark.mlflow

LOG = """
import lightgbm, onnx, xgboost
import numpy as np
from mlflow import MlflowClient
from sklearn.linear_model import LogisticRegression
draw = np.random.default_rng(3)
x = draw.normal(size=(200, 2))
y = (x[:, 0] > 0).astype(int)
graph = onnx.parser.parse_model('''
    <ir_version: 8, opset_import: ["": 17]>
    g (float[N,2] x) => (float[N,1] y) <float[2,1] w = {0.5, 0.25}> { y = MatMul(x, w) }
''')
light = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(x, y), 5)
extreme = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(x, y), 5)
log = {
    "onnx": lambda **to: mlflow.onnx.log_model(graph, **to),
    "lightgbm": lambda **to: mlflow.lightgbm.log_model(light, **to),
    "xgboost": lambda **to: mlflow.xgboost.log_model(extreme, **to),
    "skops": lambda **to: mlflow.sklearn.log_model(LogisticRegression().fit(x, y), **to),
    "pickle": lambda **to: mlflow.sklearn.log_model(
        LogisticRegression().fit(x, y), serialization_format="cloudpickle", **to),
}
answer = {}
for flavor, name in given["names"].items():
    mlflow.set_experiment(name)
    with mlflow.start_run(tags={"mlflow.source.git.commit": "abc123"}) as run:
        mlflow.log_params({"depth": 3})
        mlflow.log_metrics({"auc": 0.75})
        mlflow.log_input(mlflow.data.from_numpy(x, name="payers"), context="training")
        log[flavor](name="m", registered_model_name=name, pip_requirements=[])
    c = MlflowClient()
    c.set_registered_model_alias(name, "best", "1")
    c.set_model_version_tag(name, "1", "owner", "risk")
    c.update_model_version(name, "1", description="Who pays")
    answer[flavor] = run.info.run_id
"""


class Logged(NamedTuple):
    """What MLflow's client logged, by flavor."""

    names: dict[str, str]
    runs: dict[str, str]


@pytest.fixture(scope="module")
def logged(mlflow_url: str) -> Logged:
    """One model of each flavor, logged by its own client as its users do."""
    names = {one: a_name() for one in ("onnx", "lightgbm", "xgboost", "skops", "pickle")}
    return Logged(names, client(mlflow_url, LOG, names=names))


@pytest.fixture
def elsewhere(tmp_path: Path, mlflow_url: str) -> Iterator[Registered]:
    """A project that names the server."""
    made = Registered(tmp_path / "project", f'[registry]\nurl = "{mlflow_url}"\n')
    yield made
    made.stores.close()


def a_name() -> str:
    """A name that nobody else takes: the server is shared."""
    return f"credit-{uuid.uuid4().hex[:10]}"


def registered(project: Registered, name: str, weight: float = 1.0) -> ModelVersion:
    """A version of ours."""
    import onnx

    text = f"""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[N,2] x) => (float[N,1] y)
        <float[2,1] w = {{{weight}, 0.25}}> {{ y = MatMul(x, w) }}
    """
    file = project.folder / "m.onnx"
    onnx.save(onnx.parser.parse_model(text), file)
    return project.registrar.file(name, file, Registration(by="ada")).version


def pull(project: Registered, name: str, ref: str = "1", **more: Any) -> ModelVersion:
    return registries.pull(project.settings, project.stores, name, ref, **more).version


class TestMlflow(RegistryContract):
    @pytest.fixture
    def registry(self, mlflow_url: str) -> Iterator[Any]:
        made = MlflowRegistry(RegistryOptions(mlflow_url))
        yield made
        made.close()

    @pytest.fixture
    def kept(self, elsewhere: Registered) -> Any:
        version = registered(elsewhere, a_name())
        return version, elsewhere.stores.models.file(version.sha256)


@pytest.mark.parametrize("flavor", ["onnx", "lightgbm", "xgboost"])
def test_a_version_is_pulled_with_its_run(
    elsewhere: Registered, logged: Logged, flavor: str
) -> None:
    name, run = logged.names[flavor], logged.runs[flavor]

    kept = pull(elsewhere, name, "best", aliases=("challenger",))

    assert kept.lineage.run == f"mlflow:{run}"
    assert kept.lineage.registry == f"mlflow:{name}/1"
    assert kept.lineage.code_revision == "abc123"
    assert kept.lineage.params["depth"] == "3"
    assert kept.lineage.data.startswith("payers ")
    assert kept.card.metrics == {"auc": 0.75}
    assert (kept.card.owner, kept.card.purpose) == ("risk", "Who pays")
    assert (kept.lineage.parity is None) == (flavor == "onnx")
    assert elsewhere.stores.models.resolve(name, "challenger") == kept
    assert elsewhere.actions(f"{name}@1")[0] == "model.register"
    assert pull(elsewhere, name) == kept


@pytest.mark.parametrize("flavor", ["skops", "pickle"])
def test_a_pickled_estimator_is_not_taken_over(
    elsewhere: Registered, logged: Logged, flavor: str
) -> None:
    with pytest.raises(ModelUnavailable, match="flavors python_function, sklearn"):
        pull(elsewhere, logged.names[flavor])

    assert elsewhere.stores.models.models() == []


def test_a_version_is_pushed_and_loaded_by_its_own_client(
    elsewhere: Registered, mlflow_url: str
) -> None:
    name = a_name()
    version = registered(elsewhere, name, 0.5)

    place = registries.push(elsewhere.settings, elsewhere.stores, version)
    again = registries.push(elsewhere.settings, elsewhere.stores, version)

    assert place == again == f"mlflow:{name}/1"
    assert elsewhere.actions(version.label) == ["model.register", "model.push"]
    told = client(
        mlflow_url,
        """
        import numpy as np, onnxruntime
        model = mlflow.onnx.load_model(f"models:/{given['name']}/1")
        session = onnxruntime.InferenceSession(model.SerializeToString())
        version = mlflow.MlflowClient().get_model_version(given["name"], "1")
        rows = np.array([[2.0, 4.0]], dtype="float32")
        answer = {"y": session.run(None, {"x": rows})[0].tolist(), "tags": version.tags,
                  "run": version.run_id}
        """,
        name=name,
    )
    assert told["y"] == [[2.0]]
    assert told["tags"]["splice.sha256"] == version.sha256
    assert told["tags"]["splice.version"] == version.label
    assert told["run"]


def test_aliases_and_tags_go_both_ways(elsewhere: Registered, mlflow_url: str) -> None:
    name = a_name()
    first, second = registered(elsewhere, name, 1.0), registered(elsewhere, name, 2.0)
    for version in (first, second):
        registries.push(elsewhere.settings, elsewhere.stores, version)
    cards = Cards(elsewhere.stores.audit)
    cards.set_tags(first, {"region": "EU", "both": "ours"}, by="ada", now_us=1)
    for alias in ("champion", "mine", "fought"):
        elsewhere.stores.models.set_alias(name, alias, 1)
    registry = registries.registry_elsewhere(elsewhere.settings)
    registry.set_alias(name, "theirs", 2)
    registry.set_tags(name, 1, {"checked": "yes"})

    first_time = registries.sync(elsewhere.settings, elsewhere.stores, name)
    in_between = registries.sync(elsewhere.settings, elsewhere.stores, name)
    for alias in ("champion", "mine", "fought"):
        registry.set_alias(name, alias, 2)
    registry.set_tags(name, 1, {"region": "UK"})
    elsewhere.stores.models.set_alias(name, "fought", 2)
    elsewhere.stores.models.set_alias(name, "theirs", 1)
    later = registries.sync(elsewhere.settings, elsewhere.stores, name)

    assert len(first_time.done) == 6
    assert in_between.done == ()
    assert elsewhere.stores.models.aliases(name) == {
        "champion": 1, "mine": 2, "fought": 2, "theirs": 1,
    }  # fmt: skip
    assert registry.aliases(name) == {"champion": 1, "mine": 2, "fought": 2, "theirs": 1}
    assert cards.tags(first) == {"region": "UK", "both": "ours", "checked": "yes"}
    there = registry.version(name, "1")
    assert there is not None
    assert {k: v for k, v in there.tags.items() if "splice" not in k} == cards.tags(first)
    assert any("decided here" in note for note in later.notes)
    registry.close()


def test_what_is_only_on_one_side_is_told_and_not_guessed(
    elsewhere: Registered, logged: Logged
) -> None:
    name = logged.names["xgboost"]
    version = registered(elsewhere, name)
    elsewhere.stores.models.set_alias(name, "mine", version.version)

    synced = registries.sync(elsewhere.settings, elsewhere.stores, name)

    assert synced.done == ()
    assert sorted(note.rpartition(": ")[2] for note in synced.notes) == [
        f"splice models pull {name} --version 1", f"splice models push {name}@1",
    ]  # fmt: skip


def test_a_moved_alias_is_told_to_the_registry(elsewhere: Registered) -> None:
    name = a_name()
    version = registered(elsewhere, name)
    settings, stores = elsewhere.settings, elsewhere.stores

    before = registries.after_alias(settings, stores, version, "champion")
    registries.push(settings, stores, version)
    after = registries.after_alias(settings, stores, version, "champion")

    assert "models push" in before
    assert after == ""
    registry = registries.registry_elsewhere(settings)
    assert registry.aliases(name) == {"champion": 1}
    registry.close()


def test_a_file_that_was_changed_after_it_was_pushed_is_refused(
    elsewhere: Registered, mlflow_url: str, tmp_path: Path
) -> None:
    name = a_name()
    registries.push(elsewhere.settings, elsewhere.stores, registered(elsewhere, name, 1.0))
    other = elsewhere.stores.models.file(registered(elsewhere, a_name(), 9.0).sha256).read_bytes()
    fresh = Registered(tmp_path / "fresh", f'[registry]\nurl = "{mlflow_url}"\n')
    api = MlflowRegistry(RegistryOptions(mlflow_url))._api
    found = api.get("model-versions/get-download-uri", name=name, version=1)
    assert found is not None
    api.upload(f"{api.artifact_path(found['artifact_uri'])}/model.onnx", other)

    with pytest.raises(ModelUnavailable, match="changed after it was pushed"):
        pull(fresh, name)

    assert fresh.stores.models.models() == []
    fresh.stores.close()
    api.close()


def test_a_version_larger_than_allowed_is_refused(elsewhere: Registered, mlflow_url: str) -> None:
    name = a_name()
    registries.push(elsewhere.settings, elsewhere.stores, registered(elsewhere, name))
    registry = MlflowRegistry(RegistryOptions(mlflow_url, most_bytes=100))
    version = registry.version(name, "1")
    assert version is not None

    with pytest.raises(ModelUnavailable, match="most_mb"):
        registry.fetch(version, elsewhere.folder)

    registry.close()


def test_what_is_not_there_says_so(elsewhere: Registered) -> None:
    with pytest.raises(DeclarationError, match="no such version"):
        pull(elsewhere, a_name(), "7")
    with pytest.raises(DeclarationError, match="no such version"):
        pull(elsewhere, a_name(), "champion")
    nowhere = load(elsewhere.folder.parent, {})
    with pytest.raises(SettingsError, match=r"registry\.url"):
        registries.registry_elsewhere(nowhere)


def test_a_run_of_a_training_is_the_run_of_the_version(
    elsewhere: Registered, mlflow_url: str
) -> None:
    name = a_name()
    x = np.random.default_rng(1).normal(size=(100, 2))
    booster = lightgbm.train(
        {"objective": "regression", "verbose": -1, "min_data_in_leaf": 2},
        lightgbm.Dataset(x, x[:, 0]), 3,
    )  # fmt: skip
    started = Mlflow(mlflow_url).post("runs/create", {"experiment_id": "0"})
    run = started["run"]["info"]["run_id"]
    said = Registration(lineage=registries.Lineage(run=f"mlflow:{run}"))
    version = elsewhere.registrar.estimator(name, booster, said, example=x).version

    registries.push(elsewhere.settings, elsewhere.stores, version)

    registry = registries.registry_elsewhere(elsewhere.settings)
    there = registry.version(name, "1")
    registry.close()
    assert there is not None
    assert there.run == run


def test_an_unreachable_registry_changes_nothing_here(tmp_path: Path) -> None:
    project = Registered(tmp_path / "project", '[registry]\nurl = "http://127.0.0.1:9"\n')
    version = registered(project, "credit")
    project.stores.models.set_alias("credit", "champion", 1)
    settings, stores = project.settings, project.stores

    warning = registries.after_alias(settings, stores, version, "champion")
    for act in (lambda: pull(project, "credit"), lambda: registries.push(settings, stores, version),
                lambda: registries.sync(settings, stores, "credit")):  # fmt: skip
        with pytest.raises(StoreError, match="refused"):
            act()

    assert "splice models sync credit" in warning
    assert project.actions("credit@1") == ["model.register", "model.alias", "model.registry_lags"]
    assert project.stores.models.resolve("credit", "champion") == version
    project.stores.close()
