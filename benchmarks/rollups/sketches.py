"""`python -m benchmarks.rollups.sketches`: which sketch holds latencies best.

Each sketch takes 200,000 log-normal latencies (median 12 ms, a thousandth of them 30 times as
long) in 200 parts of 1,000, is merged from them, stored, and asked for its 99th percentile. What is
printed: bytes stored (of a part, of the whole), microseconds to merge a stored part into the whole,
and how far p50, p95, p99 and p99.9 are from the truth (the worst of 10 seeds, in percent).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import datasketches
import numpy as np

from splice.core import histograms

PARTS, EACH, SEEDS = 200, 1000, 10
SHARES = (0.5, 0.95, 0.99, 0.999)
Floats = np.ndarray[Any, np.dtype[np.float64]]


def latencies(seed: int) -> Floats:
    """In whole microseconds."""
    rng = np.random.default_rng(seed)
    found = rng.lognormal(math.log(12_000), 0.6, PARTS * EACH)
    found[rng.random(len(found)) < 0.001] *= 30
    return np.floor(found)


class Sketched:
    """A sketch of the library, by how it is made, read and written."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def pack(self, values: Floats) -> bytes:
        """The stored sketch of some values."""
        sketch = self._make()
        sketch.update(values.astype(np.float32 if "floats" in type(sketch).__name__ else float))
        return bytes(sketch.serialize())

    def merged(self, parts: list[bytes]) -> Any:
        """All of them in one."""
        whole = self._make()
        for part in parts:
            whole.merge(type(whole).deserialize(part))
        return whole

    def stored(self, whole: Any) -> bytes:
        """As it is stored."""
        return bytes(whole.serialize())

    def quantiles(self, whole: Any) -> list[float]:
        """At the shares."""
        return [float(whole.get_quantile(share)) for share in SHARES]


class Counted:
    """Our own histogram."""

    def pack(self, values: Floats) -> bytes:
        """The stored histogram of some values."""
        counts: dict[int, int] = {}
        for value in values.astype(np.int64).tolist():
            bucket = histograms.bucket_of(value)
            counts[bucket] = counts.get(bucket, 0) + 1
        return histograms.pack(counts)

    def merged(self, parts: list[bytes]) -> dict[int, int]:
        """All of them in one."""
        counts: dict[int, int] = {}
        histograms.unpack_into(counts, parts)
        return counts

    def stored(self, whole: dict[int, int]) -> bytes:
        """As it is stored."""
        return histograms.pack(whole)

    def quantiles(self, whole: dict[int, int]) -> list[float]:
        """At the shares."""
        return histograms.quantiles(whole, SHARES) or []


SUBJECTS: dict[str, Sketched | Counted] = {
    "KLL, k = 200": Sketched(lambda: datasketches.kll_floats_sketch(200)),
    "KLL, k = 800": Sketched(lambda: datasketches.kll_floats_sketch(800)),
    "REQ, k = 12, high ranks": Sketched(lambda: datasketches.req_floats_sketch(12, True)),
    "t-digest, k = 200": Sketched(lambda: datasketches.tdigest_double(200)),
    "histogram of 7 bits": Counted(),
}


def main() -> None:
    """Print a row for each sketch."""
    print(f"{'':26}{'part B':>8}{'whole B':>9}{'pack us':>9}{'merge us':>9}  worst error in %")
    for name, subject in SUBJECTS.items():
        worst = [0.0] * len(SHARES)
        part_bytes = whole_bytes = 0
        pack_us = merge_us = 0.0
        for seed in range(SEEDS):
            values = latencies(seed)
            began = time.perf_counter()
            parts = [subject.pack(part) for part in np.split(values, PARTS)]
            packed = time.perf_counter()
            whole = subject.merged(parts)
            merged = time.perf_counter()
            pack_us, merge_us = packed - began, merged - packed
            part_bytes, whole_bytes = len(parts[0]), len(subject.stored(whole))
            truth = np.quantile(values, SHARES, method="inverted_cdf")
            found = subject.quantiles(whole)
            worst = [
                max(w, abs(f / t - 1) * 100) for w, f, t in zip(worst, found, truth, strict=True)
            ]
        told = ", ".join(f"p{s * 100:g} {w:.2f}" for s, w in zip(SHARES, worst, strict=True))
        each = 1e6 / PARTS
        print(
            f"{name:26}{part_bytes:8}{whole_bytes:9}{pack_us * each:9.0f}{merge_us * each:9.1f}"
            f"  {told}"
        )


if __name__ == "__main__":
    main()
