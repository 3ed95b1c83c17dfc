"""The sources of a declaration: found by their imports, kept as text, loaded side by side.

A release must run as it was when it was made, beside newer ones, in one process. So its sources
are kept, and loaded under a prefix of their own: an absolute import of a bundled module is
redirected to that bundle's copy, and everything else is imported as usual.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.abc
import importlib.machinery
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from splice.core.errors import DeclarationError
from splice.core.release import Bundle

_PREFIX = "splice_release_"
_MAX_FILE = 1_000_000  # bytes; a longer source is data, and belongs into a model or a table
_loading = threading.RLock()


def _module_file(root: Path, module: str) -> Path | None:
    parts = module.split(".")
    if not all(part and Path(part).name == part for part in parts):  # a path leads elsewhere
        return None
    base = root.joinpath(*parts)
    for candidate in (base / "__init__.py", base.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


def imported(tree: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    """The modules that a tree may import, those of names that it takes from packages included."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".") if package else []
                kept = parents[: len(parents) - (node.level - 1)]
                base = ".".join([*kept, base] if base else kept)
            if base:
                yield base
            yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)


def collect(root: Path, module: str, *, within: str | None = None) -> Bundle:
    """The declaring module with every module under `root` that it imports, however indirectly.

    Args:
        root: The folder that absolute imports start from.
        module: Dotted name of the declaring module.
        within: Only modules of this top-level package; all under `root` where it is None.

    Raises:
        DeclarationError: A file is missing, is not UTF-8, or does not parse.
    """
    files: dict[str, str] = {}
    waiting, seen = [module], set[str]()
    if _module_file(root, module) is None:
        raise DeclarationError(
            module,
            got="no such module",
            promised=f"a file under {root}",
            mend="write it, or name the right one in project.modules",
        )
    while waiting:
        name = waiting.pop()
        if name in seen or (within and name.partition(".")[0] != within):
            continue
        seen.add(name)
        file = _module_file(root, name)
        if file is None or _is_shadowed(root, name):
            continue
        if "." in name:
            waiting.append(name.rpartition(".")[0])
        text = read_source(file)
        files[file.relative_to(root).as_posix()] = text
        tree = parse_source(text, file)
        waiting.extend(imported(tree, name, file.name == "__init__.py"))
    return Bundle(entry=module, files=dict(sorted(files.items())))


def _is_shadowed(root: Path, name: str) -> bool:
    # A folder named like an installed package without an __init__.py is not ours.
    return (
        name.partition(".")[0] in sys.stdlib_module_names
        and not (root / (name.partition(".")[0] + ".py")).exists()
    )


def read_source(file: Path) -> str:
    """The text of a source file.

    Raises:
        DeclarationError: It cannot be read, is too large, or is not UTF-8.
    """
    try:
        raw = file.read_bytes()
        if len(raw) > _MAX_FILE:
            raise DeclarationError(
                file.name,
                got=f"{len(raw)} bytes",
                promised=f"at most {_MAX_FILE}",
                mend="keep data out of the sources of a declaration",
                file=str(file),
            )
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise DeclarationError(file.name, got=str(error), file=str(file)) from error
    except UnicodeDecodeError as error:
        raise DeclarationError(file.name, got="text that is not UTF-8", file=str(file)) from error


def parse_source(text: str, file: Path | str) -> ast.Module:
    """The syntax tree.

    Raises:
        DeclarationError: It does not parse; names the line.
    """
    try:
        return ast.parse(text, filename=str(file))
    except (SyntaxError, ValueError, RecursionError) as error:
        line = (error.lineno or 0) if isinstance(error, SyntaxError) else 0
        raise DeclarationError(
            Path(file).name,
            got=f"a syntax error: {getattr(error, 'msg', None) or error}",
            promised="Python",
            mend="mend the line",
            file=str(file),
            line=line,
        ) from error


def with_files(bundle: Bundle, extra: Mapping[str, str]) -> Bundle:
    """The bundle with more files in it (prompts)."""
    return Bundle(entry=bundle.entry, files=dict(sorted({**bundle.files, **extra}.items())))


class _BundleFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Serves modules of loaded bundles under their prefixes."""

    def __init__(self) -> None:
        self.bundles: dict[str, tuple[Bundle, Path | None]] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        prefix, _, inner = fullname.partition(".")
        if prefix not in self.bundles:
            return None
        if not inner:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        found = bundled_path(self.bundles[prefix][0], inner)
        if found is None:
            return None
        return importlib.machinery.ModuleSpec(
            fullname, self, origin=found, is_package=not found.endswith(".py") or _is_init(found)
        )

    def exec_module(self, module: ModuleType) -> None:
        prefix, _, inner = module.__name__.partition(".")
        bundle, root = self.bundles[prefix]
        path = bundled_path(bundle, inner) if inner else None
        module.__dict__["__builtins__"] = _redirecting_builtins(prefix, bundle)
        if path is None or path not in bundle.files:  # the prefix itself, or a namespace package
            return
        shown = _shown(bundle, root, path)
        module.__file__ = shown
        # Else the user's module would be compiled with the future import of this file.
        code = compile(bundle.files[path], shown, "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102 - its job


def _shown(bundle: Bundle, root: Path | None, path: str) -> str:
    return str(root / path) if root else f"<release {bundle.sha256[:12]}>/{path}"


def plain_name(module: str) -> str:
    """What a module is called in its sources, loaded as a part of a bundle or not."""
    prefix, _, inner = module.partition(".")
    return inner if prefix.startswith(_PREFIX) else module


def _is_init(path: str) -> bool:
    return PurePosixPath(path).name == "__init__.py"


def bundled_path(bundle: Bundle, module: str) -> str | None:
    """Where a module is in a bundle: its file, or a folder; None where it is not."""
    base = module.replace(".", "/")
    for path in (f"{base}/__init__.py", f"{base}.py"):
        if path in bundle.files:
            return path
    # A folder of prompts is not a package, even where an installed library has its name.
    if any(path.startswith(f"{base}/") and path.endswith(".py") for path in bundle.files):
        return base
    return None


def _redirecting_builtins(prefix: str, bundle: Bundle) -> dict[str, Any]:
    tops = {PurePosixPath(path).parts[0].removesuffix(".py") for path in bundle.files}
    plain = builtins.__import__

    def redirect(
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - the signature of __import__
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or top not in tops or bundled_path(bundle, name) is None:
            return plain(name, globals, locals, fromlist or (), level)
        module = importlib.import_module(f"{prefix}.{name}")
        if not fromlist:
            return sys.modules[f"{prefix}.{top}"]
        for item in fromlist:
            if item != "*" and not hasattr(module, item) and bundled_path(bundle, f"{name}.{item}"):
                importlib.import_module(f"{prefix}.{name}.{item}")
        return module

    return {**vars(builtins), "__import__": redirect}


_finder = _BundleFinder()


def load(bundle: Bundle, root: Path | None = None) -> ModuleType:
    """The declaring module of a bundle, run apart from every other; the same bundle is run once.

    Args:
        bundle: The sources.
        root: Where they stand on disk, for messages; None for a stored release.

    Raises:
        DeclarationError: A module raised while it was imported; names file and line.
    """
    prefix = _PREFIX + bundle.sha256[:24]
    with _loading:
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
        _finder.bundles.setdefault(prefix, (bundle, root))
        name = f"{prefix}.{bundle.entry}"
        try:
            return importlib.import_module(name)
        except DeclarationError:
            raise
        except (Exception, SystemExit) as error:
            for loaded in [m for m in sys.modules if m == prefix or m.startswith(prefix + ".")]:
                del sys.modules[loaded]
            raise _import_error(error, bundle, root) from error


def _import_error(error: BaseException, bundle: Bundle, root: Path | None) -> DeclarationError:
    file, line = "", 0
    own = {_shown(bundle, root, path) for path in bundle.files}
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name in own:
            file, line = name, trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError):
        file, line = error.filename or file, error.lineno or line
    mend = "mend the line"
    if isinstance(error, ModuleNotFoundError):
        mend = f"install it, or put {error.name}.py beside the declaration"
    if isinstance(error, SystemExit):
        mend = 'put what ends the program under if __name__ == "__main__":'
    where = Path(file).name if file else bundle.entry
    return DeclarationError(
        where,
        got=f"{type(error).__name__}: {error}",
        promised="a module that can be imported",
        mend=mend,
        file=file or str(root or ""),
        line=line,
    )
