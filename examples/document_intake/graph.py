"""One ONNX graph from words to class: a bag of weighted words and a linear head, some kilobytes.

    words [N] -> split -> counts of known words -> times rarity -> to length 1 -> head -> softmax

`words` is the text in small letters: onnxruntime can lower-case by itself, but only where the
system has the locale that the operator asks for, and a slim container has none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from document_intake.corpus import CLASSES, LICENCE, SOURCE

Floats = npt.NDArray[np.floating[Any]]

WORD: Final = "[a-z][a-z]+"
"""A word, for the graph and for training alike."""

_OPSETS: Final = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]


class Trained(NamedTuple):
    """What training found."""

    vocabulary: Sequence[str]
    rarity: Floats
    """Inverse document frequency of each word, shape (words,)."""
    weights: Floats
    """Shape (words, classes)."""
    bias: Floats
    """Shape (classes,)."""


def build(trained: Trained) -> bytes:
    """The model file."""
    size = len(trained.vocabulary)
    node = helper.make_node
    constants = {
        "rarity": trained.rarity, "weights": trained.weights, "bias": trained.bias,
        "tiny": np.array([1e-12]),
    }  # fmt: skip
    graph = helper.make_graph(
        [
            node("Tokenizer", ["words"], ["pieces"], domain="com.microsoft", mark=0,
                 mincharnum=1, pad_value="#", tokenexp=WORD),
            node("TfIdfVectorizer", ["pieces"], ["counts"], mode="TF", min_gram_length=1,
                 max_gram_length=1, max_skip_count=0, ngram_counts=[0],
                 ngram_indexes=list(range(size)), pool_strings=list(trained.vocabulary)),
            node("Mul", ["counts", "rarity"], ["weighted"]),
            node("ReduceL2", ["weighted"], ["length"], axes=[1], keepdims=1),
            node("Max", ["length", "tiny"], ["divisor"]),  # a text without any known word
            node("Div", ["weighted", "divisor"], ["unit"]),
            node("Gemm", ["unit", "weights", "bias"], ["logits"]),
            node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "documents",
        [helper.make_tensor_value_info("words", TensorProto.STRING, ["N"])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(CLASSES)])],
        [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=_OPSETS, ir_version=10)
    facts = {"classes": json.dumps(CLASSES), "source": SOURCE, "licence": LICENCE}
    for key, value in facts.items():
        model.metadata_props.add(key=f"splice.{key}", value=value)
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)
