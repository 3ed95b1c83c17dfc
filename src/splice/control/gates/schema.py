"""Schema: what it reads is there, and what it gives is what the champion gives."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from splice.control.gates.bench import Bench, result
from splice.control.signatures import breaks
from splice.core.release import Signature
from splice.core.validation import GateResult
from splice.declare.gates import SameSchema


def same_schema(gate: SameSchema, bench: Bench) -> GateResult:
    """Every way in which it does not fit, in one sentence."""
    new = bench.version.signature
    wrong = _lacking(new, bench)
    against = "the context"
    if bench.champion is not None:
        old = bench.champion.signature
        shared = {one.name for one in old.inputs} & {one.name for one in new.inputs}
        wrong += breaks(_only(old, shared, bench.features), _only(new, shared, bench.features))
        against += f" and {bench.champion.label}"
    if wrong:
        said = f"it does not fit {against}: {'; '.join(wrong)}"
        return result(gate, said, passed=False)
    return result(gate, f"inputs, outputs and classes fit {against}", passed=True)


def reads(signature: Signature, features: Sequence[str]) -> tuple[str, ...]:
    """The names that a model looks for in a context."""
    named = tuple(features) or signature.features
    if _is_matrix(signature) and named:
        return named
    return tuple(one.name for one in signature.inputs)


def _is_matrix(signature: Signature) -> bool:
    inputs = signature.inputs
    return len(inputs) == 1 and len(inputs[0].shape) == 2 and inputs[0].shape[1] != 1


def _lacking(new: Signature, bench: Bench) -> list[str]:
    """What the context does not give, whatever the champion reads: that is what counts."""
    seen = [one.context for one in bench.sample.tried if one.context is not None]
    if not seen:
        return ["no row came to a context"]
    given = set(seen[0]).intersection(*seen[1:])
    lacks = [name for name in reads(new, bench.features) if name not in given]
    return [f"it reads {', '.join(lacks)}, which the context has not"] if lacks else []


def _only(signature: Signature, shared: set[str], features: Sequence[str]) -> Signature:
    """What both read, compared by name: a matrix with named columns reads those."""
    by_column = _is_matrix(signature) and bool(features or signature.features)
    inputs = () if by_column else tuple(c for c in signature.inputs if c.name in shared)
    return msgspec.structs.replace(signature, inputs=inputs, features=())
