"""A release: an integration pinned to exact versions; numbered, unchanging.

The hinge of the house: control writes releases, the engine reads them, neither imports the other.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

RouteKind = Literal["model", "llm", "rule"]


class Column(msgspec.Struct, frozen=True, omit_defaults=True):
    """One input or output of a model: its name, datatype and shape (-1 is any size)."""

    name: str
    datatype: str  # Open Inference Protocol: FP32, FP64, INT64, INT32, BOOL, BYTES
    shape: tuple[int, ...] = ()


class Signature(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a model reads and gives."""

    inputs: tuple[Column, ...] = ()
    outputs: tuple[Column, ...] = ()
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()  # names of the columns of a single matrix input


class ModelVersion(msgspec.Struct, frozen=True, omit_defaults=True):
    """A registered artifact: it never changes, its hash says so."""

    name: str
    version: int
    sha256: str
    size: int
    format: str
    signature: Signature
    created_us: int = 0
    source: str = ""
    withdrawn: str = ""  # why no route may use it any more; empty while it may be used

    @property
    def label(self) -> str:
        """`credit@3`."""
        return f"{self.name}@{self.version}"


class PinnedRoute(msgspec.Struct, frozen=True, omit_defaults=True):
    """One route with everything that it runs pinned.

    `label` names the route on the wire and in metrics: `model:credit`, `llm:local/smollm2`,
    `rule:scorecard`. `version` says exactly what runs: `credit@3`, `smollm2 prompt 4f1c…`.
    """

    label: str
    kind: RouteKind
    position: int
    timeout_s: float
    version: str
    model: str = ""
    model_version: int = 0
    sha256: str = ""
    features: tuple[str, ...] = ()
    provider: str = ""
    prompt: str = ""
    prompt_sha256: str = ""
    function: str = ""
    params: dict[str, Any] = {}  # generation parameters, passed to the provider as they are


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a release pins. Two manifests with one digest behave the same."""

    integration: str
    entry: str  # module:Class inside the bundle
    bundle: str  # SHA-256 of the bundle of sources
    purpose: str
    risk: str
    deadline_s: float
    routes: tuple[PinnedRoute, ...]
    request_schema: dict[str, Any]  # JSON Schema 2020-12
    reply_schema: dict[str, Any]  # JSON Schema 2020-12
    objective: dict[str, Any] = {}

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical form, in hexadecimal."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


class Release(msgspec.Struct, frozen=True, omit_defaults=True):
    """A numbered manifest, with who made it, when and why."""

    number: int
    manifest: Manifest
    created_us: int
    by: str
    why: str = ""

    @property
    def integration(self) -> str:
        """The name of the integration."""
        return self.manifest.integration


class Bundle(msgspec.Struct, frozen=True):
    """The sources of a declaration: relative path to text, with the paths in POSIX form."""

    entry: str  # module name of the declaring file
    files: dict[str, str]

    @property
    def sha256(self) -> str:
        """SHA-256 over entry, sorted paths and texts, in hexadecimal."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


class Live(msgspec.Struct, frozen=True):
    """Which release of an integration answers, and whether it is switched off.

    `generation` grows with every change of either, so that a watcher can tell in one comparison.
    """

    integration: str
    number: int
    generation: int
    stopped: str = ""  # why it is switched off; empty while it answers
