"""Bills of materials in CycloneDX: what runs here, and what the models are made of."""

# The decorators of the library hide its constructors and properties from type checkers.
# pyright: reportCallIssue=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import importlib.metadata
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from splice.core.release import ModelVersion, PinnedRoute
from splice.core.validation import Validation
from splice.core.versions import Card

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")


class KnownModel(msgspec.Struct, frozen=True):
    """A model with what is said of it, and the validations that it had for one integration."""

    version: ModelVersion
    card: Card
    validation: Validation | None = None
    aliases: tuple[str, ...] = ()


def software_bom(name: str, version: str, made_us: int) -> bytes:
    """The distributions that are installed where this runs, with what each needs of the others."""
    bom = _bom(Component(name=name, version=version, type=ComponentType.APPLICATION), made_us)
    found = {
        _plain(one.metadata["Name"]): one
        for one in importlib.metadata.distributions()
        if one.metadata["Name"]
    }
    parts = {key: _component(one) for key, one in sorted(found.items())}
    for part in parts.values():
        bom.components.add(part)
    bom.register_dependency(_root(bom), parts.values())
    for key, one in found.items():
        needed = {_plain(match[0]) for line in one.requires or () if (match := _NAME.match(line))}
        bom.register_dependency(parts[key], [parts[each] for each in sorted(needed & set(parts))])
    return _rendered(bom, {})


def model_bom(
    integration: str,
    release: int,
    models: Sequence[KnownModel],
    llms: Iterable[PinnedRoute],
    made_us: int,
) -> bytes:
    """The models of a release: hashes, cards, data sets, figures; and the services of others."""
    root = Component(name=integration, version=str(release), type=ComponentType.APPLICATION)
    bom = _bom(root, made_us)
    cards: dict[str, dict[str, Any]] = {}
    parts: list[Component] = []
    for known in models:
        part = _model(known)
        cards[str(part.bom_ref)] = _model_card(known)
        parts.append(part)
        if (data := _data(known)) is not None:
            parts.append(data)
            bom.register_dependency(part, [data])
    parts += [_service(route) for route in llms]
    for part in parts:
        bom.components.add(part)
    models_ = [one for one in parts if one.type is ComponentType.MACHINE_LEARNING_MODEL]
    bom.register_dependency(root, models_)
    return _rendered(bom, cards)


def problems(bom: bytes) -> str:
    """What of it does not hold to the schema of CycloneDX 1.6; empty where all does."""
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(bom.decode())
    return "" if wrong is None else str(wrong.data)[:500]


def _bom(root: Component, made_us: int) -> Bom:
    made = datetime.fromtimestamp(made_us / 1e6, UTC)
    serial = uuid.uuid5(uuid.NAMESPACE_URL, f"splice:{root.name}:{root.version}:{made_us}")
    root.bom_ref.value = "root"
    return Bom(metadata=BomMetaData(component=root, timestamp=made), serial_number=serial)


def _root(bom: Bom) -> Component:
    found = bom.metadata.component
    if found is None:
        raise LookupError("a bill of materials is of something")
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _component(one: importlib.metadata.Distribution) -> Component:
    name, version = one.metadata["Name"], one.version
    licence = one.metadata.get("License-Expression") or one.metadata.get("License") or ""
    licences = [LicenseFactory().make_from_string(licence)] if 0 < len(licence) < 100 else []
    return Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        bom_ref=f"{_plain(name)}@{version}",
        purl=PackageURL("pypi", None, _plain(name), version),
        licenses=licences,
        description=(one.metadata.get("Summary") or "")[:300] or None,
    )


def _model(known: KnownModel) -> Component:
    version = known.version
    said = {
        "format": version.format, "size": str(version.size), "source": version.source,
        "aliases": ", ".join(known.aliases), "owner": known.card.owner,
        "run": version.lineage.run, "code_revision": version.lineage.code_revision,
        "converted_from": version.lineage.original, "withdrawn": version.withdrawn,
    }  # fmt: skip
    return Component(
        name=version.name,
        version=str(version.version),
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=version.label,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=version.sha256)],
        description=known.card.purpose or None,
        properties=[
            Property(name=f"splice:{key}", value=text) for key, text in said.items() if text
        ],
    )


def _data(known: KnownModel) -> Component | None:
    lineage = known.version.lineage
    if not lineage.data_sha256:
        return None
    return Component(
        name=lineage.data or f"training data of {known.version.label}",
        type=ComponentType.DATA,
        bom_ref=_data_ref(known),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=lineage.data_sha256)],
        description=known.card.training_data or None,
    )


def _data_ref(known: KnownModel) -> str:
    return f"data:{known.version.label}"


def _service(route: PinnedRoute) -> Component:
    said = {"provider": route.provider, "prompt_sha256": route.prompt_sha256}
    return Component(
        name=route.model or route.version,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"llm:{route.position}:{route.version}",
        description="A language model of a provider: its file and its card are not known here",
        properties=[
            Property(name=f"splice:{key}", value=text) for key, text in said.items() if text
        ],
    )


def _model_card(known: KnownModel) -> dict[str, Any]:
    """What the library has no class for: the `modelCard` of CycloneDX."""
    version, card = known.version, known.card
    inputs = [{"format": f"{one.name}: {one.datatype}"} for one in version.signature.inputs]
    outputs = [{"format": f"{one.name}: {one.datatype}"} for one in version.signature.outputs]
    parameters: dict[str, Any] = {"inputs": inputs, "outputs": outputs}
    if version.lineage.data_sha256:
        parameters["datasets"] = [{"ref": _data_ref(known)}]
    measures = [
        {"type": name, "value": f"{value:g}", "slice": "as its card says"}
        for name, value in card.metrics.items()
    ]
    if known.validation is not None:
        measures += [
            {
                "type": one.gate, "value": f"{one.measured:g}",
                "slice": one.slice or known.validation.data,
                **_interval(one.low, one.high),
            }
            for one in known.validation.results
            if one.measured is not None
        ]  # fmt: skip
    told: dict[str, Any] = {"modelParameters": parameters}
    if measures:
        told["quantitativeAnalysis"] = {"performanceMetrics": measures}
    considered: dict[str, Any] = {
        "useCases": [card.purpose] if card.purpose else [],
        "technicalLimitations": list(card.limits),
        "performanceTradeoffs": list(card.assumptions),
    }
    if considered := {key: value for key, value in considered.items() if value}:
        told["considerations"] = considered
    return told


def _interval(low: float | None, high: float | None) -> Mapping[str, Any]:
    if low is None or high is None:
        return {}
    return {"confidenceInterval": {"lowerBound": f"{low:g}", "upperBound": f"{high:g}"}}


def _rendered(bom: Bom, cards: Mapping[str, dict[str, Any]]) -> bytes:
    plain: dict[str, Any] = msgspec.json.decode(JsonV1Dot6(bom).output_as_string().encode())
    for part in plain.get("components", ()):
        if part["bom-ref"] in cards:
            part["modelCard"] = cards[part["bom-ref"]]
    return msgspec.json.format(msgspec.json.encode(plain)) + b"\n"
