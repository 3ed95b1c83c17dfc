"""Splice over the texts: what it finds, and how long masking takes."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import msgspec

from splice.control.masking import Masking


def main(file: str, hostile: str, talks: str) -> None:
    """Print the findings, and the times of all texts, of conversations and of hostile texts."""
    texts = [json.loads(line)["text"] for line in Path(file).read_text("utf-8").splitlines()]
    masking = Masking(("all",), {})
    found: list[list[tuple[int, int, str]]] = []
    for text in texts:
        spans: list[tuple[int, int, str]] = []
        for placeholder, value in masking.veil(
            msgspec.json.encode(text), files=True
        ).values.items():
            rule = placeholder[1 : placeholder.rindex("-")]
            start = text.find(value)
            while start >= 0:
                spans.append((start, start + len(value), rule))
                start = text.find(value, start + len(value))
        found.append(spans)
    told = json.loads(Path(talks).read_text("utf-8"))
    spoken = [msgspec.json.encode([{"role": "user", "content": t} for t in talk]) for talk in told]
    seconds = masked(masking, [msgspec.json.encode(text) for text in texts])
    talks_s = masked(masking, spoken)
    worst = slowest(masking, hostile)
    print(json.dumps({"found": found, "cpu_s": seconds, "talks_s": talks_s, "hostile_s": worst}))


def masked(masking: Masking, documents: list[bytes]) -> float:
    """CPU seconds of masking documents: the mean of so many times that a second goes by.

    One time takes some hundredths of a second, which tells little; Presidio's takes several.
    """
    times, spent = 0, 0.0
    while spent < 1.0:
        began = time.process_time()
        for document in documents:
            masking.mask(document)
        spent += time.process_time() - began
        times += 1
    return spent / times


def slowest(masking: Masking, hostile: str) -> float:
    """CPU seconds of the worst of the hostile texts."""
    worst = 0.0
    for text in json.loads(Path(hostile).read_text("utf-8")):
        began = time.process_time()
        masking.mask(msgspec.json.encode(text))
        worst = max(worst, time.process_time() - began)
    return worst


if __name__ == "__main__":
    main(*sys.argv[1:4])
