"""Text in pictures: the PP-OCRv6 models whose weights the package `rapidocr` ships (Apache-2.0).

Only the weights are read, by onnxruntime; what stands around them is here. The package itself
would bring OpenCV and more, 190 MB, for what scipy and Pillow do in these lines: mark where text
is, lift each line out, upright, and read it letter by letter. Lines may lean (a page laid askew on
the glass), but not by more than 45 degrees, and a page on its head is not turned.
"""

from __future__ import annotations

from importlib.metadata import distribution
from operator import itemgetter
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from PIL import Image
from scipy import ndimage

Floats = npt.NDArray[np.floating[Any]]

LONGEST: Final = 960
"""Pixels of the longer side when lines are sought; more costs time and finds no more."""
TEXT_FROM: Final = 0.3
"""Chance of text from which a pixel is marked; PaddleOCR's own."""
LINE_FROM: Final = 0.5
"""Mean chance from which a mark is a line; as above."""
GROWN: Final = 1.6
"""The network marks the core of a line; its edges lie so much times area / girth further out."""
HEIGHT: Final = 48
"""Pixels of a line for the network that reads it."""
AT_ONCE: Final = 6
LEGIBLE_FROM: Final = 0.5
"""Mean chance of its letters from which a line is kept."""
MAX_LINES: Final = 400


class Mark(NamedTuple):
    """Where a piece of text is: its middle, which way it runs, and how far it reaches."""

    middle: Floats
    along: Floats
    across: Floats
    left: float
    right: float
    top: float
    bottom: float


class Scanner:
    """Both networks, on one thread: there is other work beside it."""

    def __init__(self) -> None:
        self._seek = _session("PP-OCRv6_det_small.onnx")
        self._letters = _session("PP-OCRv6_rec_small.onnx")
        facts = self._letters.get_modelmeta().custom_metadata_map
        # Class 0 is "no letter"; the space follows the last one.
        self._alphabet = ["", *facts["character"].splitlines(), " "]

    def read(self, page: Image.Image) -> tuple[str, float]:
        """The text of a page, line by line, and how sure its letters are (0 to 1)."""
        marks = self._marks(page)[:MAX_LINES]
        pieces = self._read([_lifted(page, mark) for mark in marks])
        kept = [
            (mark, text, sure)
            for mark, (text, sure) in zip(marks, pieces, strict=True)
            if sure >= LEGIBLE_FROM and text.strip()
        ]
        if not kept:
            return "", 0.0
        sure = float(np.average([s for *_, s in kept], weights=[len(t) for _, t, _ in kept]))
        return "\n".join(_in_lines([(mark, text) for mark, text, _ in kept])), sure

    def _marks(self, page: Image.Image) -> list[Mark]:
        scale = min(1.0, LONGEST / max(page.size))
        width, height = (max(32, round(side * scale / 32) * 32) for side in page.size)
        small = _tensor(page.resize((width, height), Image.Resampling.BILINEAR))
        chance = np.asarray(self._seek.run(None, {"x": small[None]})[0])[0, 0]
        labels, _ = ndimage.label(chance > TEXT_FROM, np.ones((3, 3)))
        found: list[Mark] = []
        for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
            inside = labels[rows, columns] == number
            if inside.sum() < 20 or chance[rows, columns][inside].mean() < LINE_FROM:
                continue
            y, x = np.nonzero(inside)
            x = (x + columns.start + 0.5) * page.width / width
            y = (y + rows.start + 0.5) * page.height / height
            found.append(_mark(np.stack([x, y], axis=1)))
        return found

    def _read(self, strips: list[Image.Image]) -> list[tuple[str, float]]:
        found = [("", 0.0)] * len(strips)
        order = sorted(range(len(strips)), key=lambda number: strips[number].width)
        for start in range(0, len(order), AT_ONCE):  # those of like width together
            part = order[start : start + AT_ONCE]
            widest = -(-max(strips[number].width for number in part) // 32) * 32
            batch = np.zeros((len(part), 3, HEIGHT, widest), np.float32)
            for row, number in enumerate(part):
                batch[row, :, :, : strips[number].width] = _tensor(strips[number])
            chances = np.asarray(self._letters.run(None, {"x": batch})[0])
            for row, number in enumerate(part):
                found[number] = self._spelled(chances[row])
        return found

    def _spelled(self, chances: Floats) -> tuple[str, float]:
        """One letter a step, "no letter" between; a letter over several steps is one letter."""
        best, sure = chances.argmax(axis=1), chances.max(axis=1)
        new = (best != 0) & np.concatenate([[True], best[1:] != best[:-1]])
        if not new.any():
            return "", 0.0
        return "".join(self._alphabet[letter] for letter in best[new]), float(sure[new].mean())


def _session(name: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # a large page would be held for good
    file = distribution("rapidocr").locate_file(f"rapidocr/models/{name}")
    return ort.InferenceSession(str(file), options)


def _tensor(picture: Image.Image) -> Floats:
    return (np.asarray(picture, np.float32) / 127.5 - 1).transpose(2, 0, 1)


def _mark(points: Floats) -> Mark:
    """The box around points, turned the way that most of them lie."""
    middle = points.mean(axis=0)
    centred = points - middle
    spread, axes = np.linalg.eigh(centred.T @ centred / len(points))
    along = axes[:, 1] * (np.sign(axes[0, 1]) or 1.0)
    if abs(along[1]) > np.sqrt(0.5) or spread[1] < 4 * spread[0]:
        along = np.array([1.0, 0.0])  # a single letter or two lie no way
    across = np.array([-along[1], along[0]])
    x, y = centred @ along, centred @ across
    wide, high = float(np.ptp(x)) + 1, float(np.ptp(y)) + 1
    edge = wide * high * GROWN / (2 * (wide + high))
    return Mark(
        middle, along, across,
        float(x.min()) - edge, float(x.max()) + edge, float(y.min()) - edge, float(y.max()) + edge,
    )  # fmt: skip


def _lifted(page: Image.Image, mark: Mark) -> Image.Image:
    """The piece of the page below a mark, upright, as high as the network wants it."""
    scale = (mark.bottom - mark.top) / HEIGHT
    width = max(16, min(3200, round((mark.right - mark.left) / scale)))
    corner = mark.middle + mark.along * mark.left + mark.across * mark.top
    (ax, ay), (bx, by) = mark.along * scale, mark.across * scale
    return page.transform(
        (width, HEIGHT),
        Image.Transform.AFFINE,
        (ax, bx, float(corner[0]), ay, by, float(corner[1])),
        Image.Resampling.BICUBIC,
    )


def _in_lines(pieces: list[tuple[Mark, str]]) -> list[str]:
    """Pieces that stand side by side make one line, from left to right, on a page that may lean."""
    widest = max((mark for mark, _ in pieces), key=lambda mark: mark.right - mark.left)
    placed = [
        (float(mark.middle @ widest.across), float(mark.middle @ widest.along), mark, text)
        for mark, text in pieces
    ]
    placed.sort(key=itemgetter(0, 1))
    lines: list[list[tuple[float, str]]] = []
    level = -np.inf
    for down, right, mark, text in placed:
        if down - level > (mark.bottom - mark.top) / 3:
            lines.append([])
            level = down
        lines[-1].append((right, text))
    return [" ".join(text for _, text in sorted(line)) for line in lines]
