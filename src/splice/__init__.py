"""Splice: carries an AI capability from a pilot into the systems a company already runs.

A declaration needs only this module:

    import splice

    class Triage(splice.Integration): ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from splice.core.call import Prediction
from splice.core.errors import SpliceError
from splice.core.untrusted import Untrusted
from splice.core.versions import Card, Lineage
from splice.declare.assessment import Assessment
from splice.declare.gates import (
    AtLeast,
    AtMost,
    Calibrated,
    Fresh,
    Gates,
    Labelled,
    Latency,
    NotWorse,
    Robust,
    SameSchema,
    Size,
    Slices,
)
from splice.declare.monitors import Monitor, retrain
from splice.declare.policies import Policy
from splice.declare.profiling import Profile
from splice.declare.protection import Protect
from splice.declare.retraining import Pipeline, Retraining, Trained
from splice.declare.reviews import Review
from splice.declare.spec import (
    LLM,
    Cache,
    Cheapest,
    Conversation,
    Entity,
    Guard,
    Holdout,
    Integration,
    Log,
    Lookup,
    Model,
    Objective,
    Reply,
    Request,
    Risk,
    Rollout,
    Rule,
    Shadow,
    Spend,
)
from splice.declare.truths import Truth

if TYPE_CHECKING:  # the application is loaded on first use: a declaration does not need it
    from splice.app.application import App
    from splice.app.registering import register
    from splice.app.training import training

__version__ = "0.1.0"
__all__ = [
    "LLM",
    "App",
    "Assessment",
    "AtLeast",
    "AtMost",
    "Cache",
    "Calibrated",
    "Card",
    "Cheapest",
    "Conversation",
    "Entity",
    "Fresh",
    "Gates",
    "Guard",
    "Holdout",
    "Integration",
    "Labelled",
    "Latency",
    "Lineage",
    "Log",
    "Lookup",
    "Model",
    "Monitor",
    "NotWorse",
    "Objective",
    "Pipeline",
    "Policy",
    "Prediction",
    "Profile",
    "Protect",
    "Reply",
    "Request",
    "Retraining",
    "Review",
    "Risk",
    "Robust",
    "Rollout",
    "Rule",
    "SameSchema",
    "Shadow",
    "Size",
    "Slices",
    "Spend",
    "SpliceError",
    "Trained",
    "Truth",
    "Untrusted",
    "register",
    "retrain",
    "training",
]


def __getattr__(name: str) -> Any:
    if name == "App":
        from splice.app.application import App

        return App
    if name == "register":
        from splice.app.registering import register

        return register
    if name == "training":
        from splice.app.training import training

        return training
    raise AttributeError(f"module 'splice' has no attribute {name!r}")
