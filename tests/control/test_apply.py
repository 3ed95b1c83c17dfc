"""What a start applies by itself, and that what was rolled back stays rolled back."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import splice
from splice.app.clock import now_us
from splice.core.errors import DeclarationError, InputMismatch, UnknownRelease

SOURCE = '''
    import splice

    class Order(splice.Request):
        customer: splice.Entity
        amount: float

    class Verdict(splice.Reply):
        risk: float

    def rule(context):
        return {limit}

    class Screening(splice.Integration):
        """Find what is bad."""
        routes = [splice.Rule(rule)]

        def decide(self, order: Order, prediction: splice.Prediction) -> Verdict:
            return Verdict(prediction.score)
'''
Program = Callable[[float], Any]


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """The integration class of a program whose source has that number in it."""

    def imported(limit: float) -> Any:
        text = textwrap.dedent(SOURCE.format(limit=limit))
        (tmp_path / "integrations.py").write_text(text)
        module = ModuleType("integrations")
        module.__file__ = str(tmp_path / "integrations.py")
        sys.modules["integrations"] = module
        exec(compile(text, module.__file__, "exec"), vars(module))
        import linecache

        linecache.clearcache()
        return module.Screening

    path = list(sys.path)
    yield imported
    sys.modules.pop("integrations", None)
    sys.path[:] = path


async def releases(app: splice.App) -> list[tuple[int, bool]]:
    store = app.services.stores.releases
    live = {one.number for one in store.live()}
    return [(one.number, one.number in live) for one in store.releases("screening")]


async def started(tmp_path: Path, *classes: Any, **options: Any) -> tuple[Any, Any]:
    """The releases after a start and a stop, and what a call said."""
    async with splice.App(*classes, project=tmp_path, **options) as app:
        said = None
        if "screening" in app.engine.lines:
            said = (await app.call("screening", {"customer": "c", "amount": 1}))["risk"]
        return await releases(app), said


async def test_an_embedded_program_applies_what_changed(tmp_path: Path, program: Program) -> None:
    first = await started(tmp_path, program(0.25))
    again = await started(tmp_path, program(0.25))
    changed = await started(tmp_path, program(0.5))

    assert first == ([(1, True)], 0.25)
    assert again == first
    assert changed == ([(2, True), (1, False)], 0.5)


async def test_a_declaration_that_was_rolled_back_stays_so_after_a_restart(
    tmp_path: Path, program: Program
) -> None:
    await started(tmp_path, program(0.25))
    await started(tmp_path, program(0.5))
    async with splice.App(project=tmp_path, apply="never") as app:
        app.services.control.rollback("screening", None, by="me", why="worse", now_us=now_us())

    again = await started(tmp_path, program(0.5))
    newer = await started(tmp_path, program(0.75))

    assert again == ([(2, False), (1, True)], 0.25)
    assert newer == ([(3, True), (2, False), (1, False)], 0.75)


@pytest.mark.parametrize(
    ("apply", "first", "second"),
    [
        ("first", [(1, True)], [(1, True)]),
        ("new", [(1, True)], [(2, True), (1, False)]),
        ("never", [], []),
    ],
)
async def test_a_project_applies_what_its_setting_says(
    tmp_path: Path, program: Program, apply: Any, first: Any, second: Any
) -> None:
    program(0.25)
    one, _ = await started(tmp_path, apply=apply)
    program(0.5)
    two, _ = await started(tmp_path, apply=apply)

    assert (one, two) == (first, second)


async def test_a_project_whose_declaration_is_wrong_does_not_start_with_new(
    tmp_path: Path, program: Program
) -> None:
    program(0.25)
    (tmp_path / "integrations.py").write_text("x =")

    with pytest.raises(DeclarationError, match="syntax error"):
        await started(tmp_path, apply="new")
    assert await started(tmp_path, apply="never") == ([], None)


async def test_rolling_back_to_what_is_not_there_is_refused(
    tmp_path: Path, program: Program
) -> None:
    await started(tmp_path, program(0.25))

    async with splice.App(project=tmp_path, apply="never") as app:
        for number in (None, 2, 0, -1):
            with pytest.raises(UnknownRelease, match="one of its releases: 1"):
                app.services.control.rollback("screening", number, by="", why="", now_us=1)


async def test_a_call_in_process_with_half_a_character_is_a_mismatch(
    tmp_path: Path, program: Program
) -> None:
    async with splice.App(program(0.25), project=tmp_path) as app:
        with pytest.raises(InputMismatch):
            await app.call("screening", {"customer": "\ud800", "amount": 1})


async def test_a_class_gets_its_own_type_back(tmp_path: Path, program: Program) -> None:
    cls = program(0.25)

    async with splice.App(cls, project=tmp_path) as app:
        reply = await app.call(cls, {"customer": "c", "amount": 1})
        again = await app.call(cls, sys.modules["integrations"].Order("c", 1.0))

    assert type(reply) is sys.modules["integrations"].Verdict
    assert reply == again
