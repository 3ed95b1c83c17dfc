"""Trees whose splits are compared in double precision: the same side as the original, always.

Converters write thresholds in single precision. LightGBM and scikit-learn's histogram trees compare
in double: two values closer than 1e-7 of themselves then go the same way, and 1,700,000,000 seconds
differ only from the 128th on. Here each threshold is put back as it was.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from splice.adapters.converters.graphs import tools


class Split(NamedTuple):
    """A node of a tree: at most `threshold` goes left. A leaf is None."""

    feature: int
    threshold: float
    left: Split | None
    right: Split | None


def with_exact_splits(model: Any, trees: list[Split | None]) -> bool:
    """Put the thresholds of `trees` into the one ensemble of a graph; False if they do not fit."""
    ensembles = [node for node in model.graph.node if node.op_type.startswith("TreeEnsemble")]
    if len(ensembles) != 1:
        return False
    attributes = {one.name: one for one in ensembles[0].attribute}
    try:
        values = np.array(attributes["nodes_values"].floats, dtype=np.float64)
        lists = {
            key: list(attributes[f"nodes_{key}"].ints)
            for key in ("treeids", "nodeids", "featureids", "truenodeids", "falsenodeids")
        }
        modes = [one.decode() for one in attributes["nodes_modes"].strings]
    except KeyError:
        return False
    places = {
        pair: i for i, pair in enumerate(zip(lists["treeids"], lists["nodeids"], strict=True))
    }
    roots: dict[int, int] = {}
    for tree, node in zip(lists["treeids"], lists["nodeids"], strict=True):
        roots.setdefault(tree, node)
    if len(roots) != len(trees):
        return False
    for (tree, root), split in zip(roots.items(), trees, strict=True):
        waiting: list[tuple[int, Split | None]] = [(root, split)]
        while waiting:
            node, one = waiting.pop()
            at = places[tree, node]
            if one is None or modes[at] == "LEAF":
                if one is not None or modes[at] != "LEAF":
                    return False
                continue
            same = lists["featureids"][at] == one.feature and modes[at] == "BRANCH_LEQ"
            if not same or np.float32(one.threshold) != np.float32(values[at]):
                return False
            values[at] = one.threshold
            waiting += [
                (lists["truenodeids"][at], one.left),
                (lists["falsenodeids"][at], one.right),
            ]
    _replace(ensembles[0], attributes, values)
    for one in model.opset_import:
        if one.domain == "ai.onnx.ml":
            one.version = 3  # the first whose trees may hold doubles
    return True


def _replace(node: Any, attributes: dict[str, Any], values: Any) -> None:
    """Every number of the ensemble in double: the runtime does not mix them."""
    onnx, helpers = tools("onnx"), tools("onnx.numpy_helper")
    for name in ("nodes_values", "nodes_hitrates", "class_weights", "target_weights",
                 "base_values"):  # fmt: skip
        old = attributes.get(name)
        if old is None:
            continue
        numbers = values if name == "nodes_values" else np.array(old.floats, dtype=np.float64)
        node.attribute.remove(old)
        node.attribute.append(
            onnx.helper.make_attribute(
                f"{name}_as_tensor", helpers.from_array(numbers, f"{name}_as_tensor")
            )
        )
