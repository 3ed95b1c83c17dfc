"""The version of a rule: a hash of what it runs, and not of all that stands in its file.

It covers the function, what it names in its module and what that names in turn, whatever runs
while the module is imported, and whole every module of the project that they import. Comments and
other functions do not change it. Where that cannot be told, it is of all sources.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Iterable, Iterator
from typing import Any

from splice.core.release import Bundle, Manifest, PinnedRoute, Release
from splice.declare.bundle import bundled_path, imported, plain_name

_DIGITS = 12
# With these a function reaches what nobody named.
_HIDDEN = frozenset(
    {"__import__", "compile", "eval", "exec", "globals", "import_module", "importlib", "vars"}
)
# Who is decorated with another may be put into a table by it.
_PLAIN = frozenset({"cache", "classmethod", "dataclass", "dataclasses", "functools", "lru_cache",
                    "property", "staticmethod"})  # fmt: skip
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_IMPORTS = (ast.Import, ast.ImportFrom)
_QUIET = (*_DEFINITIONS, ast.Assign, ast.AnnAssign, ast.Pass)


class RuleVersions:
    """Versions of the rules of one declaration.

    Args:
        bundle: Its sources.
        releases: Earlier ones: a function of the very same sources keeps the version it has there.
    """

    def __init__(self, bundle: Bundle, releases: Iterable[Release] = ()) -> None:
        self._bundle = bundle
        self._sha256 = bundle.sha256
        self._known = {
            route.function: route.version
            for release in releases
            if release.manifest.bundle == self._sha256
            for route in _rules(release.manifest)
        }

    def version(self, function: Any) -> str:
        """What pins it: "scorecard source 4f1c09ab77de"."""
        name = function_name(function)
        if name in self._known:
            return self._known[name]
        digest = source_digest(self._bundle, function) or self._sha256
        return f"{name} source {digest[:_DIGITS]}"


def function_name(function: Any) -> str:
    """What a rule's function is called."""
    return getattr(function, "__qualname__", "rule")


def _rules(manifest: Manifest) -> Iterator[PinnedRoute]:
    routes = [*manifest.routes]
    if manifest.rollout is not None:
        routes += manifest.rollout.shadows
        routes += [route for one in manifest.rollout.variants for route in one.routes]
    if manifest.holdout is not None:
        routes += manifest.holdout.routes
    return (one for one in routes if one.kind == "rule")


def source_digest(bundle: Bundle, function: Any) -> str:
    """SHA-256 in hexadecimal over what a function runs; empty where that cannot be told."""
    module = plain_name(str(getattr(function, "__module__", "")))
    path = bundled_path(bundle, module)
    if not inspect.isfunction(function) or path is None or path not in bundle.files:
        return ""
    tree = ast.parse(bundle.files[path])
    name = function.__qualname__
    if sum(one.name == name for one in ast.walk(tree) if isinstance(one, _FUNCTIONS)) != 1:
        return ""  # a lambda, a method, one within another, or one of several of that name
    own = _reached(tree, name)
    parts = [*own, *_unused(tree)]
    others = _modules(bundle, [one for part in parts for one in _named(part, module, path)])
    if path in others or any(_hides(part) for part in (tree, *others.values())):
        return ""
    texts = [f"{path}\n" + "\n".join(map(ast.unparse, own))]
    texts += [f"{other}\n{ast.unparse(others[other])}" for other in sorted(others)]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _named(part: ast.AST, module: str, path: str) -> Iterator[str]:
    """The modules that it imports, and the packages that they are in."""
    for name in imported(part, module, path.endswith("__init__.py")):
        while name:
            yield name
            name = name.rpartition(".")[0]


def _modules(bundle: Bundle, names: list[str]) -> dict[str, ast.Module]:
    """The modules of the project of these names, and all that they import, by their paths."""
    found: dict[str, ast.Module] = {}
    while names:
        name = names.pop()
        path = bundled_path(bundle, name)
        if path is not None and path not in found and path in bundle.files:
            found[path] = ast.parse(bundle.files[path])
            names += _named(found[path], name, path)
    return found


def _reached(tree: ast.Module, name: str) -> list[ast.stmt]:
    """The statements of a module on which a function rests, in their order.

    Whatever acts at import is there. What only defines a name is left out while nobody names it.
    """
    body = [one for one in tree.body if not _is_text(one)]
    wanted, kept = {name}, set[int]()
    while True:
        new = [
            at
            for at, one in enumerate(body)
            if at not in kept and (_acts(one) or wanted & _bound(one))
        ]
        if not new:
            return [body[at] for at in sorted(kept)]
        kept.update(new)
        for at in new:
            wanted |= {one.id for one in ast.walk(body[at]) if isinstance(one, ast.Name)}


def _unused(tree: ast.Module) -> list[ast.stmt]:
    """Imports of what nobody names: they may be there for what they do."""
    used = {one.id for one in ast.walk(tree) if isinstance(one, ast.Name)}
    return [one for one in tree.body if isinstance(one, _IMPORTS) and not used & _bound(one)]


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _acts(statement: ast.stmt) -> bool:
    """Whether it may do more while the module is imported than give names their values."""
    if isinstance(statement, _IMPORTS):
        return False
    if isinstance(statement, _DEFINITIONS):
        quiet = all(_root(one) in _PLAIN for one in statement.decorator_list)
        if isinstance(statement, ast.ClassDef):
            quiet = quiet and all(_is_text(o) or isinstance(o, _QUIET) for o in statement.body)
        return not quiet
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        plain = all(isinstance(one, ast.Name) for one in _targets(statement))
        return not plain or any(isinstance(one, ast.Call) for one in ast.walk(statement))
    return True


def _targets(statement: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return statement.targets if isinstance(statement, ast.Assign) else [statement.target]


def _root(decorator: ast.expr) -> str:
    """The first name of a decorator: functools of `@functools.lru_cache(9)`."""
    while not isinstance(decorator, ast.Name):
        if isinstance(decorator, ast.Call):
            decorator = decorator.func
        elif isinstance(decorator, ast.Attribute):
            decorator = decorator.value
        else:
            return ""
    return decorator.id


def _bound(statement: ast.stmt) -> set[str]:
    """The names that it gives a value."""
    if isinstance(statement, _DEFINITIONS):
        return {statement.name} | {
            name for one in ast.walk(statement) if isinstance(one, ast.Global) for name in one.names
        }
    if isinstance(statement, _IMPORTS):
        return {(one.asname or one.name).partition(".")[0] for one in statement.names}
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        return {one.id for one in _targets(statement) if isinstance(one, ast.Name)}
    return set()  # it acts: it is there whatever it names


def _hides(part: ast.AST) -> bool:
    """Whether something in it may reach what it does not name, or change others when defined."""
    for one in ast.walk(part):
        if isinstance(one, ast.ClassDef) and one.keywords:
            return True
        if isinstance(one, _FUNCTIONS) and one.name in ("__getattr__", "__init_subclass__"):
            return True
        if isinstance(one, ast.Name) and one.id in _HIDDEN:
            return True
        if isinstance(one, ast.alias) and (one.name == "*" or one.name in _HIDDEN):
            return True
    return False
