"""The version of a rule changes with what it runs, and with nothing else where that can be told."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from splice.core.release import Bundle
from splice.declare.bundle import load
from splice.declare.rule_versions import RuleVersions, source_digest

RULES = '''
"""Rules of the shop."""
import functools
import math
from shop import limits

LIMIT = 500
WEIGHTS = {"new": 0.4}
OTHER = 7
ITEMS: list[int] = []


def weight(order):
    return WEIGHTS["new"] if order["new"] else Base().least


class Base:
    least = math.pi / 10


@functools.cache
def scorecard(order):
    # A comment.
    return weight(order) if order["amount"] > LIMIT else limits.LEAST


def rule(order):
    return scorecard(order)


def other(order):
    return OTHER


ITEMS.append(len(WEIGHTS))


class Orders:
    """What answers."""

    routes = [rule, other]
'''
FILES = {"rules.py": RULES, "shop/limits.py": "from shop.deep import LEAST\n",
         "shop/deep.py": "LEAST = 0.1\n", "shop/unused.py": "A = 1\n", "p.md": ""}  # fmt: skip


def version(function: str = "rule", *, file: str = "rules.py", **change: str) -> str:
    """The digest of a rule after a change of a file: of `old` into `new`."""
    files = dict(FILES)
    if change:
        assert files[file].count(change["old"]) == 1
        files[file] = files[file].replace(change["old"], change["new"])
    bundle = Bundle("rules", files)
    return source_digest(bundle, getattr(load(bundle), function))


@pytest.mark.parametrize(
    ("old", "new", "file"),
    [
        ("# A comment.", "# Another.", "rules.py"),
        ("Rules of the shop.", "Rules of another shop.", "rules.py"),
        ("    return OTHER", "    return 9", "rules.py"),
        ("OTHER = 7", "OTHER = 8", "rules.py"),
        ("routes = [rule, other]", "routes = [rule]", "rules.py"),
        ("What answers.", "Who answers.", "rules.py"),
        ("import math", "import json\nimport math", "rules.py"),
        ("A = 1", "A = 2", "shop/unused.py"),
        ("", "a prompt", "p.md"),
    ],
)
def test_what_a_rule_does_not_run_leaves_its_version(old: str, new: str, file: str) -> None:
    assert version(file=file, old=old, new=new) == version() != ""


@pytest.mark.parametrize(
    ("old", "new", "file"),
    [
        ("return scorecard(order)", "return 1 - scorecard(order)", "rules.py"),
        ('order["amount"] > LIMIT', 'order["amount"] >= LIMIT', "rules.py"),
        ("LIMIT = 500", "LIMIT = 501", "rules.py"),
        ('WEIGHTS = {"new": 0.4}', 'WEIGHTS = {"new": 0.5}', "rules.py"),
        ("least = math.pi / 10", "least = 0.3", "rules.py"),
        ("import math", "import cmath as math", "rules.py"),
        ("import math", "import math\nimport shop.unused  # for what it does", "rules.py"),
        ("@functools.cache\n", "", "rules.py"),
        ("ITEMS.append(len(WEIGHTS))", "WEIGHTS.clear()", "rules.py"),
        ("OTHER = 7", "OTHER = WEIGHTS.setdefault('x', 1)", "rules.py"),
        ("    routes = [rule, other]", "    WEIGHTS.clear()", "rules.py"),
        ("    return OTHER", "    global LIMIT\n    LIMIT = 1", "rules.py"),
        ("class Orders:", "@(lambda one: one)\nclass Orders:", "rules.py"),
        ("LEAST = 0.1", "LEAST = 0.2", "shop/deep.py"),
    ],
)
def test_what_a_rule_runs_however_indirectly_changes_its_version(
    old: str, new: str, file: str
) -> None:
    assert version(file=file, old=old, new=new) not in (version(), "")


@pytest.mark.parametrize(
    ("function", "old", "new"),
    [
        ("rule", "LEAST = 0.1", "def late():\n    import rules\nLEAST = 0.1"),
        ("rule", "import math", "from math import *\nimport math"),
        ("rule", "    return OTHER", "    return globals()['LIMIT']"),
        ("rule", "class Base:", "class Base(metaclass=type):"),
        ("rule", "OTHER = 7", "def rule(order):\n    return 1\nOTHER = 7"),
        ("bound", "OTHER = 7", "bound = functools.partial(len)\nOTHER = 7"),
        ("anonymous", "OTHER = 7", "anonymous = lambda order: 1\nOTHER = 7"),
    ],
)
def test_where_it_cannot_be_told_the_version_is_of_all_sources(
    function: str, old: str, new: str
) -> None:
    file = next(name for name, text in FILES.items() if old in text)

    assert version(function, file=file, old=old, new=new) == ""


def test_the_very_same_sources_keep_the_version_that_an_earlier_release_has() -> None:
    bundle = Bundle("rules", FILES)
    rule = load(bundle).rule
    route = _route("rule", f"rule source {bundle.sha256[:12]}")
    manifest = _of(routes=[route], rollout=None, holdout=None, bundle=bundle.sha256)

    kept = RuleVersions(bundle, [_of(manifest=manifest)])
    fresh = RuleVersions(bundle)

    assert kept.version(rule) == route.version
    assert fresh.version(rule) == f"rule source {source_digest(bundle, rule)[:12]}"
    assert RuleVersions(bundle).version(functools.partial(rule)) == (
        f"rule source {bundle.sha256[:12]}"
    )


def _of(**fields: Any) -> Any:
    return type("Of", (), fields)


def _route(function: str, version: str) -> Any:
    return _of(kind="rule", function=function, version=version)
