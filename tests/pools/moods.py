"""Estimators that misbehave on request: pickled, they run in worker processes."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

CALM, EXIT, SEGFAULT, HANG, LEAK, PRINT, FORK, NAN, RAISE = range(9)
DAEMON, SLOW, OWN_PIPE, HOARD, LOOK = range(9, 14)
SECRET = "the-secret-of-this-test"


class Moody:
    """Gives back `value`; what it does before is `mood`."""

    def __init__(self) -> None:
        self.feature_names_in_ = np.array(["mood", "value"])
        self.n_features_in_ = 2

    def predict(self, matrix: Any) -> Any:
        answers = [self._answer(int(mood), float(value)) for mood, value in matrix]
        return np.array(answers)

    def _answer(self, mood: int, value: float) -> float:
        if mood == EXIT:
            os._exit(3)
        if mood == SEGFAULT:
            ctypes.string_at(0)
        if mood == HANG:
            while True:
                time.sleep(60)
        if mood == LEAK:
            kept = []
            while True:
                kept.append(bytearray(os.urandom(1 << 20)))
                time.sleep(0.001)
        if mood == HOARD:
            return float(len(bytearray(1 << 33)))
        if mood == PRINT:
            print("garbage" * 1000, flush=True)
            print("garbage", file=sys.stderr, flush=True)
            os.write(1, b"\x00\x00\x00\x05hello")
        if mood in (FORK, DAEMON) and (child := os.fork()) == 0:
            if mood == DAEMON:
                os.setsid()
            time.sleep(3600)
        if mood in (FORK, DAEMON):
            return float(child)
        if mood == NAN:
            return float("nan")
        if mood == RAISE:
            raise ValueError(f"the row was {value}")
        if mood == SLOW:
            time.sleep(value)
        if mood == OWN_PIPE:
            for number in map(int, os.listdir("/proc/self/fd")):
                try:
                    if os.readlink(f"/proc/self/fd/{number}").startswith("socket:"):
                        os.write(number, b"\x00\x00\x00\x05hello")
                except OSError:
                    continue
        if mood == LOOK:
            return float(seen())
        return value


def seen() -> int:
    """In how many places the secret can be found from here."""
    places = [Path("/proc/self/environ"), Path(f"/proc/{os.getppid()}/environ")]
    found = sum(SECRET in value for value in os.environ.values())
    for place in places:
        try:
            found += SECRET.encode() in place.read_bytes()
        except OSError:
            continue
    return found


class SlowToLoad(Moody):
    """Takes a while to load: as long as its file beside it says."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        time.sleep(self.seconds)


class DiesLoading(Moody):
    """Ends its process half a second after it is loaded, unless a file is there."""

    def __init__(self, unless: Path) -> None:
        super().__init__()
        self.unless = str(unless)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not os.path.exists(self.unless):
            time.sleep(0.5)
            os._exit(7)


class NotAnEstimator:
    """Has no predict()."""


class Marker:
    """Runs code when it is loaded: writes its process id to a file."""

    def __init__(self, file: Path) -> None:
        self.file = str(file)

    def __reduce__(self) -> Any:
        return (exec, (f"open({self.file!r}, 'w').write(str(__import__('os').getpid()))",))


class Crasher:
    """The model of the contract that crashes; it does not know its features."""

    n_features_in_ = 2

    def predict(self, matrix: Any) -> Any:
        for a, _ in matrix:
            if a == 1:
                os._exit(1)
            if a == 2:
                time.sleep(3600)
        return np.where(matrix[:, 0] == 3, np.nan, matrix[:, 1])


class Strict:
    """Says no though the chances are for yes: its threshold is high."""

    n_features_in_ = 2
    classes_ = np.array(["no", "yes"])

    def predict(self, matrix: Any) -> Any:
        return np.array(["no"] * len(matrix))

    def predict_proba(self, matrix: Any) -> Any:
        return np.array([[0.25, 0.75]] * len(matrix))
