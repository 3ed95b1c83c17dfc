"""A release: an integration pinned to exact versions; numbered, unchanging.

The hinge of the house: control writes releases, the engine reads them, neither imports the other.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

from splice.core.duties import PinnedAssessment
from splice.core.errors import Stopped
from splice.core.monitors import PinnedMonitor
from splice.core.policies import PinnedPolicy
from splice.core.profiles import PinnedProfile
from splice.core.protection import PinnedProtection
from splice.core.reviews import PinnedReview
from splice.core.truths import PinnedTruth
from splice.core.validation import PinnedValidity
from splice.core.versions import Card, Lineage

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
    """A registered artifact: it never changes, its hash says so.

    `format` is the name of an entry point in `splice.runtimes` (`onnx`), or `remote`: then the
    artifact is the JSON of an `Endpoint`.
    """

    name: str
    version: int
    sha256: str
    size: int
    format: str
    signature: Signature
    created_us: int = 0
    source: str = ""
    withdrawn: str = ""  # why no route may use it any more; empty while it may be used
    card: Card = Card()
    lineage: Lineage = Lineage()

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
    # Of a model's artifact; empty is `onnx`. Defaults are left out of the digest by identity, which
    # only the empty text keeps through a database.
    format: str = ""


class Variant(msgspec.Struct, frozen=True, omit_defaults=True):
    """Routes that a share of the calls get instead of the manifest's own.

    `share` counts in ten-thousandths of all calls.
    """

    name: str
    share: int
    routes: tuple[PinnedRoute, ...]


class PinnedGuard(msgspec.Struct, frozen=True, omit_defaults=True):
    """What ends a rollout when it is broken: a figure of the challenger's calls and its bound.

    `figure` is `errors`, `fallbacks`, `latency_p50`, `latency_p95`, `latency_p99` (seconds), `cost`
    (of a call, in the account's currency), or `outcome:NAME` (mean of an outcome). `at_most` and
    `at_least` bound the figure itself; `worse_by` the distance to the champion's own calls of the
    same time, in the direction that is worse.
    """

    figure: str
    at_most: float | None = None
    at_least: float | None = None
    worse_by: float | None = None
    higher_is_better: bool = False


class PinnedRollout(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which share of the calls, of whom, gets which routes.

    Who has an entity keeps his variant while shares only grow: the place on the scale is a hash of
    `salt` and entity. `steps` are the shares of a canary in ten-thousandths, `step` is where it
    stands. `flag` names a flag that chooses the variant instead.
    """

    salt: str
    variants: tuple[Variant, ...] = ()
    shadows: tuple[PinnedRoute, ...] = ()
    shadow_share: int = 0  # ten-thousandths of the calls that a shadow repeats
    flag: str = ""
    steps: tuple[int, ...] = ()
    step: int = 0
    every_s: float = 0.0
    min_calls: int = 0
    guards: tuple[PinnedGuard, ...] = ()
    then: str = ""  # after the last step: `promote`, or stay there where it is empty
    run: str = ""  # tells one start by a command from the next; empty where it is declared
    shadowed: str = ""  # `command` where a command started the shadows; empty where declared


class PinnedHoldout(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which share of the entities gets business as usual, and what that is: rules, never the AI.

    Its `salt` is its own: who is held out has nothing to do with who gets a challenger. `share`
    counts in ten-thousandths; who is held out stays so while it only grows.
    """

    salt: str
    share: int
    routes: tuple[PinnedRoute, ...]


class PinnedGates(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a version of a model must have passed before the release may run it.

    `model` is empty where it is every model of the routes. `sha256` is over the gates and the
    sources that declare them; `data` is the data set that they measure on. `validity` is None where
    a validation holds for ever.
    """

    sha256: str
    data: str
    data_sha256: str
    rows: int
    model: str = ""
    validity: PinnedValidity | None = None


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
    rollout: PinnedRollout | None = None
    gates: tuple[PinnedGates, ...] = ()
    holdout: PinnedHoldout | None = None
    monitors: tuple[PinnedMonitor, ...] = ()
    truths: tuple[PinnedTruth, ...] = ()
    profile: PinnedProfile | None = None
    review: PinnedReview | None = None
    protect: PinnedProtection | None = None
    policies: tuple[PinnedPolicy, ...] = ()
    assessment: PinnedAssessment | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical form, in hexadecimal."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


class Release(msgspec.Struct, frozen=True, omit_defaults=True):
    """A numbered manifest, with who made it, when and why.

    `stored` is the digest of the manifest as the ledger has it; empty where it is not from there.
    """

    number: int
    manifest: Manifest
    created_us: int
    by: str
    why: str = ""
    stored: str = ""

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


class NotLoaded(Stopped):
    """The live release could not be loaded in this process, which had none before it."""

    code = "not_loaded"
    retryable = True
