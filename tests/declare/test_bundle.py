"""Bundles: a release keeps its sources, and runs them apart from every other release."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from splice.core.errors import DeclarationError
from splice.core.release import Bundle
from splice.declare.bundle import collect, load, with_files
from splice.declare.discover import find, prompts_in, prompts_on_disk, reopen

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes files of a project by their paths; gives its folder."""

    def files(**texts: str) -> Path:
        for name, text in texts.items():
            file = tmp_path / (name.replace("__", "/") + ".py")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text).lstrip("\n"), "utf-8")
        return tmp_path

    return files


def package(root: Path, name: str) -> None:
    (root / name / "__init__.py").parent.mkdir(parents=True, exist_ok=True)
    (root / name / "__init__.py").write_text("")


def test_every_local_import_is_in_it_however_indirect(write: Write) -> None:
    root = write(
        main="""
            from __future__ import annotations
            import json, os.path, a
            from b import thing
            from pkg import sub
            from pkg.other import x as y
            import space.inner.deep
            from typing import TYPE_CHECKING
            if TYPE_CHECKING:
                import typed
            def later():
                import lazy
                return lazy.VALUE
        """,
        a="import c", b="thing = 1", c="import main", typed="", lazy="VALUE = 1",
        pkg__sub="from . import near\nfrom .deeper.leaf import z",
        pkg__near="from ..never import q",
        pkg__deeper__leaf="from ..far import w\nz = 1", pkg__far="w = 1", pkg__other="x = 1",
        pkg__unused="", space__inner__deep="", unused="",
    )  # fmt: skip
    package(root, "pkg")
    package(root, "pkg/deeper")

    bundle = collect(root, "main")

    assert sorted(bundle.files) == [
        "a.py", "b.py", "c.py", "lazy.py", "main.py", "pkg/__init__.py", "pkg/deeper/__init__.py",
        "pkg/deeper/leaf.py", "pkg/far.py", "pkg/near.py", "pkg/other.py", "pkg/sub.py",
        "space/inner/deep.py", "typed.py",
    ]  # fmt: skip


def test_a_folder_named_like_the_standard_library_is_not_ours(write: Write) -> None:
    root = write(main="import json.decoder", json__decoder="")

    assert list(collect(root, "main").files) == ["main.py"]


def test_a_file_named_like_the_standard_library_is_ours(write: Write) -> None:
    root = write(main="import colorsys\nVALUE = colorsys.VALUE", colorsys="VALUE = 'ours'")

    assert load(collect(root, "main"), root).VALUE == "ours"


def test_the_hash_is_of_the_content_alone(write: Write, tmp_path: Path) -> None:
    root = write(main="import b, a", a="", b="")
    first = collect(root, "main")

    again = Bundle(first.entry, dict(reversed(first.files.items())))
    moved = Bundle("other", first.files)

    assert collect(root, "main").sha256 == first.sha256 == again.sha256
    assert moved.sha256 != first.sha256
    assert with_files(first, {"p.md": "x"}).sha256 != first.sha256
    write(a="x = 1")
    assert collect(root, "main").sha256 != first.sha256


def test_two_releases_of_one_module_run_side_by_side(write: Write) -> None:
    source = """
        import rules
        def limit():
            return rules.LIMIT
        def lazily():
            import later
            from later import VALUE
            from pkg import inner
            import pkg.inner as again
            import pkg.inner
            return later.VALUE, VALUE, inner.VALUE, again.VALUE, pkg.inner.VALUE
    """
    root = write(main=source, rules="LIMIT = 1", later="VALUE = 1", pkg__inner="VALUE = 1")
    first_bundle = collect(root, "main")
    first = load(first_bundle, root)
    write(rules="LIMIT = 2", later="VALUE = 2", pkg__inner="VALUE = 2")
    second = load(collect(root, "main"), root)
    for name in ("main", "rules", "later", "pkg/inner"):
        (root / f"{name}.py").unlink()

    assert (first.limit(), second.limit()) == (1, 2)
    assert first.lazily() == (1,) * 5
    assert second.lazily() == (2,) * 5
    assert "rules" not in sys.modules
    assert load(first_bundle) is first


@pytest.mark.parametrize("future", ["from __future__ import annotations", ""])
def test_types_are_those_of_their_own_release(write: Write, future: str) -> None:
    source = f"""
        {future}
        import dataclasses, typing
        import msgspec, pydantic
        import kinds
        @dataclasses.dataclass
        class Data:
            kind: kinds.Kind
        class Struct(msgspec.Struct):
            kind: kinds.Kind
        class Model(pydantic.BaseModel):
            kind: kinds.Kind
    """
    kinds = "from enum import Enum\nclass Kind(Enum):\n    ONE = '{}'\n"
    releases = []
    for value in ("old", "new"):
        root = write(main=source, kinds=kinds.format(value))
        releases.append(load(collect(root, "main"), root))
    old, new = releases

    import msgspec

    for kind in ("Data", "Struct"):
        assert msgspec.json.decode(b'{"kind":"old"}', type=getattr(old, kind)).kind.value == "old"
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(b'{"kind":"old"}', type=getattr(new, kind))
    assert old.Model(kind="old").kind is old.kinds.Kind.ONE
    assert new.Model(kind="new").kind is new.kinds.Kind.ONE


def test_a_module_is_compiled_with_its_own_future_and_not_with_ours(write: Write) -> None:
    root = write(main="def f(x: int): pass\nKIND = type(f.__annotations__['x'])")

    assert load(collect(root, "main"), root).KIND is type


def test_a_folder_of_prompts_does_not_hide_a_library(write: Write) -> None:
    root = write(main="import msgspec\nOK = hasattr(msgspec, 'Struct')")
    bundle = with_files(collect(root, "main"), {"msgspec/ask.md": "## user\nx"})

    assert load(bundle).OK


def test_star_imports_and_cycles_work_as_they_do_in_python(write: Write) -> None:
    root = write(
        main="from a import *\nimport b\nVALUE = (PUBLIC, b.late())",
        a="__all__ = ['PUBLIC']\nPUBLIC = 1\nHIDDEN = 2\nimport b",
        b="import a\ndef late():\n    return a.HIDDEN",
    )

    module = load(collect(root, "main"), root)

    assert module.VALUE == (1, 2)
    assert not hasattr(module, "HIDDEN")


def test_a_bundle_that_failed_once_can_be_loaded_once_it_is_mended(write: Write) -> None:
    root = write(main="import helper_of_this_test")
    bundle = collect(root, "main")
    with pytest.raises(DeclarationError, match="ModuleNotFoundError"):
        load(bundle, root)

    assert [name for name in sys.modules if name.endswith("helper_of_this_test")] == []
    sys.modules["helper_of_this_test"] = sys
    try:
        assert load(bundle, root).helper_of_this_test is sys
    finally:
        del sys.modules["helper_of_this_test"]


def test_the_mistake_is_placed_in_our_file_and_not_in_a_library_of_the_same_name(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(decoder="import json\n\njson.loads('{')\n")

    with pytest.raises(DeclarationError) as raised:
        load(collect(root, "decoder"), root)

    assert (raised.value.file, raised.value.line) == (str(root / "decoder.py"), 3)


DECLARATION = '''
    from __future__ import annotations
    import splice
    from rules import rule

    class Order(splice.Request):
        amount: float

    class Verdict(splice.Reply):
        risk: float

    class Screening(splice.Integration):
        """Find what is bad."""
        routes = [splice.Rule(rule), splice.LLM("local/x", "prompts/ask.md", output=Verdict)]

        def decide(self, order: Order, prediction: splice.Prediction) -> Verdict:
            return Verdict(prediction.score)
'''


def test_a_stored_bundle_opens_with_its_prompts_and_without_its_files(write: Write) -> None:
    root = write(main=DECLARATION, rules="def rule(context):\n    return 0.5")
    (root / "prompts").mkdir()
    (root / "prompts/ask.md").write_text("## user\nIs {{amount}} too much?\n")
    (found,), mistakes = find(root, ["main"])
    for name in ("main.py", "rules.py", "prompts/ask.md"):
        (root / name).unlink()

    declaration = reopen(found.bundle, found.entry)

    assert mistakes == []
    assert found.entry == "main:Screening"
    assert sorted(found.bundle.files) == ["main.py", "prompts/ask.md", "rules.py"]
    assert declaration.routes[1].prompt == found.declaration.routes[1].prompt
    assert declaration.request.decode(b'{"amount":1}', "x").amount == 1.0
    assert declaration.cls is not found.declaration.cls


@pytest.mark.parametrize(
    ("files", "entry", "said"),
    [
        ({"main.py": "import not_there_any_more"}, "main:X", "not_there_any_more"),
        ({"main.py": "x = "}, "main:X", "SyntaxError"),
        ({"main.py": "x = 1"}, "main:X", "no such class in the bundle"),
        ({"main.py": "class X: pass"}, "main:X", "no such class in the bundle"),
        ({}, "main:X", "main"),
        ({"main.py": "import splice\nclass X(splice.Integration): pass"}, "main:X", "docstring"),
    ],
)
def test_a_bundle_that_does_not_load_any_more_is_one_clear_error(
    files: dict[str, str], entry: str, said: str
) -> None:
    with pytest.raises(DeclarationError, match=said):
        reopen(Bundle("main", files), entry)


def test_prompts_are_read_inside_the_project_only(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "secret.md").write_text("secret")
    (tmp_path / "project/link.md").symlink_to(tmp_path / "secret.md")
    read = prompts_on_disk(tmp_path / "project")

    for path in ("../secret.md", str(tmp_path / "secret.md"), "link.md", "a/../../secret.md"):
        with pytest.raises(OSError, match="outside"):
            read(path)
    with pytest.raises(FileNotFoundError):
        prompts_in(Bundle("main", {}))("p.md")


PROGRAM = '''
import asyncio, sys
import splice

class Order(splice.Request):
    amount: float

class Verdict(splice.Reply):
    risk: float

def rule(context):
    return LIMIT

LIMIT = 0.25

class Screening(splice.Integration):
    """Find what is bad."""
    routes = [splice.Rule(rule)]

    def decide(self, order: Order, prediction: splice.Prediction) -> Verdict:
        return Verdict(prediction.score)

async def main():
    async with splice.App(Screening, project=".") as app:
        reply = await app.call(Screening, Order(1.0))
        live = app.engine.lines["screening"].release
        print(type(reply) is Verdict, reply.risk, live.number, live.manifest.entry)

if __name__ == "__main__":
    asyncio.run(main())
'''


@pytest.mark.parametrize("module", [False, True])
def test_a_program_declares_what_it_serves(tmp_path: Path, module: bool) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").write_text("")
    (tmp_path / "shop/screen.py").write_text(PROGRAM)
    how = ["-m", "shop.screen"] if module else ["shop/screen.py"]

    for change, number, risk in (("0.25", 1, 0.25), ("0.25", 1, 0.25), ("0.75", 2, 0.75)):
        (tmp_path / "shop/screen.py").write_text(PROGRAM.replace("0.25", change))
        # Without bytecode: Python takes a file of the same size and second for unchanged.
        ran = subprocess.run(
            [sys.executable, "-B", *how], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        entry = "shop.screen:Screening" if module else "screen:Screening"
        assert ran.stdout == f"True {risk} {number} {entry}\n", ran.stderr
