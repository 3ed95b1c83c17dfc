"""Integrations of a project: found on disk or in a stored bundle, each with its own bundle."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from splice.core.errors import DeclarationError
from splice.core.release import Bundle
from splice.declare import bundle as bundles
from splice.declare.reading import Declaration, integrations_in, read
from splice.declare.routes import ReadText
from splice.declare.spec import Integration


class Found(msgspec.Struct, frozen=True):
    """An integration with the sources that declare it."""

    declaration: Declaration
    bundle: Bundle
    entry: str  # module:Class inside the bundle


def prompts_on_disk(root: Path) -> ReadText:
    """Reads prompts below a folder, and nowhere else."""

    def text(path: str) -> str:
        file = (root / path).resolve()
        if not file.is_relative_to(root.resolve()):
            raise OSError("it is outside the project")
        return file.read_text("utf-8")

    return text


def prompts_in(bundle: Bundle) -> ReadText:
    """Reads prompts out of a bundle."""

    def text(path: str) -> str:
        if path not in bundle.files:
            raise FileNotFoundError(path)
        return bundle.files[path]

    return text


def find(root: Path, modules: Sequence[str]) -> tuple[list[Found], list[DeclarationError]]:
    """Every integration of these modules, and every mistake in them."""
    found: list[Found] = []
    mistakes: list[DeclarationError] = []
    for name in modules:
        try:
            bundle = bundles.collect(root, name)
            module = bundles.load(bundle, root)
        except DeclarationError as error:
            mistakes.append(error)
            continue
        for cls in integrations_in(module):
            one, wrong = _read_one(cls, bundle, root, name)
            mistakes.extend(wrong)
            if one is not None:
                found.append(one)
    mistakes.extend(_twice(found, root))
    return found, mistakes


def _read_one(
    cls: type[Integration], bundle: Bundle, root: Path, module: str
) -> tuple[Found | None, list[DeclarationError]]:
    path = next(
        p
        for p in (f"{module.replace('.', '/')}.py", f"{module.replace('.', '/')}/__init__.py")
        if p in bundle.files
    )
    tree = bundles.parse_source(bundle.files[path], path)
    declaration, mistakes = read(cls, tree, str(root / path), prompts_on_disk(root))
    if declaration is None:
        return None, mistakes
    prompts = {
        r.prompt.path: prompts_on_disk(root)(r.prompt.path)
        for r in declaration.routes
        if r.prompt is not None
    }
    return Found(declaration, bundles.with_files(bundle, prompts), f"{module}:{cls.__name__}"), []


def _twice(found: Sequence[Found], root: Path) -> list[DeclarationError]:
    first: dict[str, Found] = {}
    wrong: list[DeclarationError] = []
    for one in found:
        name = one.declaration.name
        if name not in first:
            first[name] = one
            continue
        file, line = _place(one.declaration.cls, root)
        wrong.append(
            DeclarationError(
                one.declaration.cls.__name__,
                got=f"the name {name!r}, which {first[name].entry} has too",
                promised="one integration of a name",
                mend='give one of them another: name = "…"',
                file=file,
                line=line,
            )
        )
    return wrong


def _place(cls: type[Integration], root: Path) -> tuple[str, int]:
    file = getattr(sys.modules[cls.__module__], "__file__", "") or str(root)
    tree = bundles.parse_source(Path(file).read_text("utf-8"), file)
    lines = [
        n.lineno for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == cls.__name__
    ]
    return file, lines[-1] if lines else 0


def find_live(cls: type[Integration]) -> Found:
    """An integration class of a running application, with its sources from disk.

    Raises:
        DeclarationError: It has mistakes (the first is raised), or no source file.
    """
    module = sys.modules[cls.__module__]
    file = getattr(module, "__file__", None)
    if file is None:
        raise DeclarationError(
            cls.__name__,
            got="a class without a source file",
            promised="a class in a module",
            mend="declare it in a file: a release keeps its source",
        )
    path, name = Path(inspect.getfile(cls)).resolve(), cls.__module__
    depth = name.count(".") + (1 if path.name == "__init__.py" else 0)
    if name == "__main__":
        spec = getattr(module, "__spec__", None)  # set by `python -m package.module`
        name = path.stem if spec is None else spec.name
        depth = name.count(".") + (1 if path.name == "__init__.py" else 0)
    root = path.parents[depth]
    bundle = bundles.collect(root, name, within=name.partition(".")[0])
    one, mistakes = _read_one(cls, bundle, root, name)
    if one is None:
        raise mistakes[0]
    return one


def reopen(bundle: Bundle, entry: str) -> Declaration:
    """The declaration inside a stored bundle.

    Raises:
        DeclarationError: The bundle does not load here any more: say, a library is missing.
    """
    module = bundles.load(bundle)
    name = entry.partition(":")[2]
    cls = getattr(module, name, None)
    if not (isinstance(cls, type) and issubclass(cls, Integration)):
        raise DeclarationError(entry, got="no such class in the bundle", promised="an integration")
    tree = bundles.parse_source("", entry)
    declaration, mistakes = read(cls, tree, entry, prompts_in(bundle))
    if declaration is None:
        raise mistakes[0]
    return declaration
