"""Models in an MLflow registry, by its REST API."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, cast

from splice.adapters.net.mlflow import Mlflow, pairs
from splice.adapters.registries.mlmodel import flavors_of
from splice.core.errors import ModelUnavailable, StoreError
from splice.core.release import ModelVersion
from splice.ports.registries import RegistryOptions, RegistryRun, RegistryVersion

_NOTES_MOST = 1024 * 1024
_PAGES_MOST = 100
_TAKEN = ("onnx", "lightgbm", "xgboost")
_MLMODEL = """\
flavors:
  onnx:
    code: null
    data: model.onnx
    onnx_session_options: null
    providers:
    - CPUExecutionProvider
  python_function:
    data: model.onnx
    loader_module: mlflow.onnx
utc_time_created: '2026-01-01 00:00:00.000000'
"""


class MlflowRegistry:
    """A ModelRegistry in MLflow."""

    scheme = "mlflow"

    def __init__(self, options: RegistryOptions) -> None:
        self._api = Mlflow(options.url, options.token, options.user, options.password)
        self._most = options.most_bytes

    def version(self, name: str, ref: str) -> RegistryVersion | None:
        """The version that an alias or a number names, or None."""
        if ref.isascii() and ref.isdecimal():
            found = self._api.get("model-versions/get", name=name, version=ref)
            return None if found is None else _version(found.get("model_version"))
        number = self.aliases(name).get(ref)
        return None if number is None else self.version(name, str(number))

    def versions(self, name: str) -> list[RegistryVersion]:
        """All versions of a name."""
        quoted = name.replace("'", "''")
        found: list[RegistryVersion] = []
        token = ""
        for _ in range(_PAGES_MOST):
            more = {"page_token": token} if token else {}
            page = self._api.get(
                "model-versions/search", filter=f"name='{quoted}'", max_results=200, **more
            )
            listed: list[Any] = (page or {}).get("model_versions", [])
            found += [one for raw in listed if (one := _version(raw)) is not None]
            token = str((page or {}).get("next_page_token", ""))
            if not token:
                break
        return found

    def aliases(self, name: str) -> dict[str, int]:
        """Alias to version number."""
        found = self._api.get("registered-models/get", name=name)
        model: Any = (found or {}).get("registered_model") or {}
        listed: list[Any] = model.get("aliases", [])
        return {str(one["alias"]): int(one["version"]) for one in listed}

    def run(self, run: str) -> RegistryRun | None:
        """A training run, or None."""
        found = self._api.get("runs/get", run_id=run) if run else None
        if found is None:
            return None
        told: Any = found.get("run", {})
        known: Any = told.get("data", {})
        inputs: list[Any] = told.get("inputs", {}).get("dataset_inputs", [])
        sets = [one.get("dataset", {}) for one in inputs]
        return RegistryRun(
            id=run,
            params=pairs(known.get("params")),
            metrics={str(m["key"]): float(m["value"]) for m in known.get("metrics", [])},
            tags=pairs(known.get("tags")),
            data=", ".join(f"{one.get('name', '')} {one.get('digest', '')}".strip()
                           for one in sets),
        )  # fmt: skip

    def fetch(self, version: RegistryVersion, folder: Path) -> Path:
        """Its model file, copied into the folder."""
        where = f"mlflow:{version.name}/{version.version}"
        found = self._api.get(
            "model-versions/get-download-uri", name=version.name, version=version.version
        )
        root = self._api.artifact_path(str((found or {}).get("artifact_uri", "")))
        listed = {_safe(str(one.get("path", "")), where): one for one in self._api.files(root)}
        total = sum(int(one.get("file_size") or 0) for one in listed.values())
        if total > self._most:
            raise self._too_large(where, f"{total} bytes")
        if "MLmodel" not in listed:
            raise ModelUnavailable(
                where, got="no MLmodel file", promised="a model that MLflow logged"
            )
        notes = folder / "MLmodel"
        self._api.download(f"{root}/MLmodel", notes, _NOTES_MOST)
        name = _data_of(flavors_of(notes.read_text("utf-8", "replace"), where), where)
        suffix = PurePosixPath(name).suffix
        target = folder / f"model{suffix if suffix[1:].isalnum() else ''}"
        try:
            self._api.download(f"{root}/{name}", target, self._most)
        except StoreError as error:
            if "too large" in error.got:
                raise self._too_large(where, "more bytes than it said") from None
            raise
        return target

    def _too_large(self, where: str, got: str) -> ModelUnavailable:
        return ModelUnavailable(
            where, got=got, promised=f"at most {self._most}", mend="raise registry.most_mb"
        )

    def add(self, version: ModelVersion, file: Path, tags: Mapping[str, str]) -> RegistryVersion:
        """Register a version of ours there, under its own name."""
        if self._api.get("registered-models/get", name=version.name) is None:
            self._api.post("registered-models/create", {"name": version.name})
        run, root = self._run_of(version)
        folder = f"{self._api.artifact_path(root)}/splice-{version.sha256[:16]}"
        self._api.upload(f"{folder}/model.onnx", file.read_bytes())
        self._api.upload(f"{folder}/MLmodel", _MLMODEL.encode())
        made = self._api.post(
            "model-versions/create",
            {
                "name": version.name,
                "source": f"{root}/splice-{version.sha256[:16]}",
                "run_id": run,
                "description": version.card.purpose,
                "tags": [{"key": key, "value": text} for key, text in tags.items()],
            },
        )
        kept = _version(made.get("model_version"))
        if kept is None:
            raise StoreError(self._api.where, got="an answer without a version")
        return kept

    def _run_of(self, version: ModelVersion) -> tuple[str, str]:
        """Id and artifacts of the run that it names, or of a new one that says where it is from."""
        scheme, _, known = version.lineage.run.partition(":")
        if scheme == self.scheme and known:
            found = self._api.get("runs/get", run_id=known)
            if found is not None:
                return known, str(found["run"]["info"]["artifact_uri"])
        experiment = self._api.get("experiments/get-by-name", experiment_name=version.name)
        if experiment is None:
            made = self._api.post("experiments/create", {"name": version.name})
            number = str(made["experiment_id"])
        else:
            number = str(experiment["experiment"]["experiment_id"])
        started = self._api.post(
            "runs/create",
            {
                "experiment_id": number,
                "run_name": version.label,
                "start_time": version.created_us // 1000,
                "tags": [{"key": "splice.version", "value": version.label}],
            },
        )
        told: Any = started["run"]["info"]
        self._api.post(
            "runs/update",
            {
                "run_id": told["run_id"],
                "status": "FINISHED",
                "end_time": version.created_us // 1000,
            },
        )
        return str(told["run_id"]), str(told["artifact_uri"])

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Point an alias there at a version there."""
        self._api.post(
            "registered-models/alias", {"name": name, "alias": alias, "version": str(version)}
        )

    def set_tags(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version there."""
        for key, text in tags.items():
            self._api.post(
                "model-versions/set-tag",
                {"name": name, "version": str(version), "key": key, "value": text},
            )

    def close(self) -> None:
        """Hang up."""
        self._api.close()


def _version(raw: Any) -> RegistryVersion | None:
    if not isinstance(raw, dict):
        return None
    told = cast("dict[str, Any]", raw)
    return RegistryVersion(
        name=str(told["name"]),
        version=int(told["version"]),
        run=str(told.get("run_id", "")),
        description=str(told.get("description", "")),
        tags=pairs(told.get("tags")),
    )


def _safe(path: str, where: str) -> str:
    """A path inside the artifacts of a version.

    Raises:
        ModelUnavailable: It leads out of them.
    """
    pure = PurePosixPath(path)
    plain = path.isprintable() and "\\" not in path and ":" not in path
    if not path or not plain or pure.is_absolute() or ".." in pure.parts:
        raise ModelUnavailable(
            where, got=f"a path that leads elsewhere, {path[:80]!r}",
            promised="files of that version",
        )  # fmt: skip
    return str(pure)


def _data_of(flavors: dict[str, dict[str, str]], where: str) -> str:
    """The path of the model file, by the first flavor that is taken over."""
    for flavor in _TAKEN:
        fields = flavors.get(flavor)
        if fields is not None:
            return _safe(fields.get("data", ""), where)
    raise ModelUnavailable(
        where, got=f"a model of the flavors {', '.join(sorted(flavors))}"[:200],
        promised=f"one of {', '.join(_TAKEN)}",
        mend="log it with mlflow.onnx, or hand the estimator to splice.register",
    )  # fmt: skip
