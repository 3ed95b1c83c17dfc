"""A project to register in, and estimators trained on real data."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from registering_house import Registered

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Registered]:
    """An empty project."""
    made = Registered(tmp_path / "project")
    yield made
    made.stores.close()


@pytest.fixture(scope="session")
def credit() -> SimpleNamespace:
    """German credit: 1,000 real applications, with named columns of numbers and texts."""
    sys.path.insert(0, str(EXAMPLES / "credit"))
    try:
        import data
    finally:
        sys.path.remove(str(EXAMPLES / "credit"))
        sys.modules.pop("data", None)
    try:
        applications = data.read()
    except data.DataUnavailableError as missing:
        pytest.skip(str(missing))
    rows = [dict(one.fields) for one in applications]
    numbers = [name for name, value in rows[0].items() if not isinstance(value, str)]
    return SimpleNamespace(
        rows=rows,
        labels=np.array(["defaulted" if one.defaulted else "repaid" for one in applications]),
        numbers=numbers,
        texts=[name for name in rows[0] if name not in numbers],
        matrix=np.array([[row[name] for name in numbers] for row in rows], dtype=float),
    )
