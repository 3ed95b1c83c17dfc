"""`splice release …`, `splice stop`, `splice start`: what is live, and who put it there."""

from __future__ import annotations

import json

import onnx
import pytest
from onnx import TensorProto, helper


def live(command) -> list[tuple[int, bool]]:
    """Number of each release, newest first, and whether it is live."""
    return [(one["release"], one["live"]) for one in command("release", "list", "--json").json]


def ask(command, body: dict, release: int = 0, name: str = "order-screening") -> dict:
    """The line that a batch of one row gives."""
    command.write("in.jsonl", json.dumps(body) + "\n")
    pinned = ("--release", str(release)) if release else ()
    ran = command("batch", name, "in.jsonl", "-o", "out.jsonl", "--overwrite", *pinned)
    assert ran.code == 0, ran.err
    return json.loads((command.folder / "out.jsonl").read_text())


ORDER = {"customer": "c", "amount_eur": 600.0}


def test_releases_are_numbered_and_the_newest_is_live(applied, orders) -> None:
    first = applied("")
    second = applied("0.9 if=>0.8 if")

    assert "order-screening  first release: scorecard source " in first.out
    assert first.out.endswith("Release 1 of order-screening is live.\n")  # nothing to go back to
    assert second.out.endswith(
        "Release 2 of order-screening is live. Undo: splice release rollback order-screening\n"
    )
    assert "changes to release 1:" in second.out
    assert live(orders) == [(2, True), (1, False)]


def test_what_is_live_already_is_not_applied_again(applied, orders) -> None:
    applied("")

    again = applied("")

    assert again.code == 0
    assert "Nothing to apply." in again.err
    assert live(orders) == [(1, True)]


def test_without_a_terminal_nothing_is_applied_unless_yes_was_said(orders) -> None:
    ran = orders("release", "apply")

    assert ran.code == 1
    assert "add --yes" in ran.err
    assert live(orders) == []


def test_a_mistake_keeps_everything_from_being_applied(applied, orders) -> None:
    applied("")

    ran = applied('"200 ms"=>"soon"')

    assert ran.code == 1
    assert "'soon'" in ran.err
    assert live(orders) == [(1, True)]


def test_reasons_are_text_and_never_markup(orders) -> None:
    orders("release", "apply", "-y", "--why", "[/red] :warning: [bold]x[/bold]")

    ran = orders("release", "list")

    assert ran.code == 0
    assert "[/red] :warning: [bold]x[/bold]" in ran.out


@pytest.mark.parametrize(
    ("change", "what", "breaks"),
    [
        ("    items: int = 1=>    items: int", "request.items", True),
        ("    amount_eur: float=>    amount_eur: float\n    more: int", "request.more", True),
        ("    items: int = 1=>    items: int = 1\n    more: int = 0", "request.more", False),
        ("    items: int = 1\n=>", "request.items", True),
        ("    amount_eur: float=>    amount_eur: int", "request.amount_eur", True),
        ("    note: str | None = None=>    note: str = ''", "request.note", True),
        ("    items: int = 1=>    items: int = 2", None, False),
        ("    amount_eur: float\n=>    amount_eur: float = 0\n", "request.amount_eur", False),
        ('"review"]=>"review"]\n    more: int = 0\n', "reply.more", False),
        ('"ship", "review"]=>"ship", "review", "block"]', "reply.action", True),
        ('"review"]=>"review"] = "ship"\n', "reply.action", True),
    ],
)  # fmt: skip
def test_a_change_that_breaks_callers_is_flagged(
    applied, change: str, what: str | None, breaks: bool
) -> None:
    applied("")

    ran = applied(change)

    changed = [line for line in ran.out.splitlines() if line.startswith("  re")]
    if what is None:
        assert changed == []
    else:
        (line,) = changed
        assert line.startswith(f"  {what}: ")
        assert line.endswith("(breaks callers)") is breaks


def test_a_change_deep_inside_a_type_is_flagged(orders) -> None:
    nested = (orders.folder / "integrations.py").read_text().replace(
        "class Order(", "class Line(splice.Request):\n    sku: str\n\n\nclass Order("
    ).replace("    items: int = 1", "    items: list[Line] = []")  # fmt: skip
    orders.write("integrations.py", nested)
    orders("release", "apply", "-y")
    orders.write("integrations.py", nested.replace("    sku: str", "    sku: int"))

    ran = orders("release", "apply", "-y")

    assert "  request.items: " in ran.out
    assert "(breaks callers)" in ran.out


def test_diff_shows_the_source_and_applies_nothing(applied, orders) -> None:
    applied("")
    source = orders.folder / "integrations.py"
    source.write_text(source.read_text().replace("0.9 if", "0.8 if"))

    ran = orders("release", "diff")

    assert "-    return 0.9 if" in ran.out
    assert "+    return 0.8 if" in ran.out
    assert live(orders) == [(1, True)]


def test_two_releases_can_be_compared(applied, orders) -> None:
    applied("")
    applied("0.9 if=>0.8 if")
    applied("0.9 if=>0.7 if")

    ran = orders("release", "diff", "order-screening", "--from", "1", "--to", "3")

    assert "-    return 0.9 if" in ran.out
    assert "+    return 0.7 if" in ran.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("release", "diff", "order-screening", "--from", "9"), "no release 9"),
        (("release", "diff", "--from", "9"), "no release 9"),
        (("release", "diff", "nobody"), "no such integration"),
        (("release", "apply", "nobody", "-y"), "no such integration"),
        (("release", "rollback", "order-screening", "-y"), "no release to roll back to"),
        (("release", "rollback", "order-screening", "--to", "9", "-y"), "no release 9"),
        (("release", "rollback", "nobody", "-y"), "no release to roll back to"),
    ],
)
def test_what_is_not_there_is_said(applied, orders, arguments, said: str) -> None:
    applied("")

    ran = orders(*arguments)

    assert ran.code == (2 if "roll" in said or "name" in said or "9" in said else 1)
    assert said in ran.err
    assert live(orders) == [(1, True)]


def test_rollback_goes_to_the_one_before_and_to_any(applied, orders) -> None:
    for change in ("", "0.9 if=>0.8 if", "0.9 if=>0.7 if"):
        applied(change)

    undone = orders("release", "rollback", "order-screening", "--yes")
    after_one = live(orders)
    orders("release", "rollback", "order-screening", "--yes")
    after_two = live(orders)
    orders("release", "rollback", "order-screening", "--to", "3", "--yes")

    assert undone.out == "Release 2 of order-screening is live (was 3).\n"
    assert after_one == [(3, False), (2, True), (1, False)]
    assert after_two == [(3, False), (2, False), (1, True)]
    assert live(orders) == [(3, True), (2, False), (1, False)]


def test_the_way_back_leads_to_what_was_live_and_past_what_was_taken_back(applied, orders) -> None:
    applied("")
    applied("0.9 if=>0.8 if")
    orders("release", "rollback", "order-screening", "--yes")

    third = applied("0.9 if=>0.7 if")

    assert third.out.endswith("Undo: splice release rollback order-screening --to 1\n")


def test_rollback_asks_first(applied, orders) -> None:
    applied("")
    applied("0.9 if=>0.8 if")

    ran = orders("release", "rollback", "order-screening")

    assert ran.code == 1
    assert live(orders) == [(2, True), (1, False)]


def test_a_call_is_replayed_by_the_old_release_and_by_the_new(applied, orders) -> None:
    applied("")
    call_id = ask(orders, ORDER)["call_id"]
    applied("0.9 if=>0.8 if")

    same = orders("calls", "replay", call_id)
    other = orders("calls", "replay", call_id, "--release", "2", "--json")
    none = orders("calls", "replay", call_id, "--release", "9")

    assert same.out == "The same answer.\n"
    assert {one["what"]: (one["recorded"], one["replayed"]) for one in other.json["differences"]}[
        "reply.risk"
    ] == ("0.9", "0.8")
    assert none.code == 2


def test_an_old_release_runs_without_the_files_it_was_made_of(applied, orders) -> None:
    applied("")
    (orders.folder / "integrations.py").unlink()

    assert ask(orders, ORDER)["reply"]["risk"] == 0.9


def test_a_release_whose_library_is_gone_is_one_clear_message(orders) -> None:
    source = (orders.folder / "integrations.py").read_text()
    orders.write("lib/gone_later.py", "x = 1\n")
    orders.write(
        "integrations.py", "import sys\nsys.path.append('lib')\nimport gone_later\n" + source
    )
    orders("release", "apply", "-y")
    import sys

    sys.modules.pop("gone_later")
    for name in [one for one in sys.modules if one.startswith("splice_release_")]:
        del sys.modules[name]
    orders.write("lib/gone_later.py", "raise ImportError('gone')\n")
    orders.write("in.jsonl", json.dumps(ORDER))

    ran = orders("batch", "order-screening", "in.jsonl", "-o", "out.jsonl")

    assert ran.code == 1
    assert "release 1: integrations: got ImportError: gone" in ran.err
    assert "splice release rollback" in ran.err.lower()


def test_stop_and_start_survive_a_rollback(applied, orders) -> None:
    applied("")
    applied("0.9 if=>0.8 if")
    orders("stop", "order-screening", "--why", "a check")
    orders("release", "rollback", "order-screening", "-y")

    assert "stopped" in orders("release", "list").out
    started = orders("start", "order-screening")
    assert started.out == "order-screening answers again; it was stopped for: a check\n"
    (event,) = orders("audit", "list", "--action", "integration.start", "--json").json
    assert event["why"] == "ends the stop: a check"
    applied = orders("release", "apply", "-y")
    assert "makes the state of the files live again, which is that of release 2." in applied.err
    assert ask(orders, ORDER)["status"] == "answered"


def test_the_only_integration_of_a_project_need_not_be_named(applied, orders) -> None:
    applied("")
    stopped = orders("stop", "--why", "a check")
    orders("start")
    file = orders.folder / "integrations.py"
    file.write_text(file.read_text("utf-8") + '\n\nclass Others(OrderScreening):\n    "Others."\n')

    ran = orders("stop", "--why", "a check")

    assert stopped.out.startswith("order-screening is stopped: a check. On again:")
    assert ran.code == 2
    assert "NAME: got nothing, expected one of order-screening, others" in ran.err


def test_what_has_no_release_cannot_be_stopped(orders) -> None:
    ran = orders("stop", "order-screening", "--why", "x")

    assert ran.code == 2
    assert "no live release" in ran.err


# --- models

MODEL = '''
import splice

class Order(splice.Request):
    a: float
    b: float

class Score(splice.Reply):
    score: float

class Credit(splice.Integration):
    """Score an order."""
    routes = [splice.Model("credit", features=("a", "b"))]
    def decide(self, order: Order, prediction: splice.Prediction) -> Score:
        return Score(prediction.value)
'''


def onnx_model(weights: list[float]) -> bytes:
    """A model [N, F] -> the weighted sum [N, 1]."""
    count = len(weights)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, count])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor("w", TensorProto.FLOAT, [count, 1], weights)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model.SerializeToString()


@pytest.fixture
def credit(command):
    command.write("integrations.py", MODEL)
    command.write("models/credit.onnx", "")
    (command.folder / "models/credit.onnx").write_bytes(onnx_model([1.0, 1.0]))
    return command


def score(command, release: int = 0) -> float:
    return ask(command, {"a": 2.0, "b": 3.0}, release, "credit")["reply"]["score"]


def champion(command) -> list[str]:
    """Labels of the versions of credit that the alias names."""
    listed = command("models", "list", "--json").json
    return [f"{one['version']['version']}" for one in listed if "champion" in one["aliases"]]


def test_a_new_file_is_a_new_version_and_old_releases_keep_theirs(credit) -> None:
    credit("release", "apply", "-y")
    (credit.folder / "models/credit.onnx").write_bytes(onnx_model([1.0, 10.0]))
    before = score(credit)

    ran = credit("release", "apply", "-y")

    assert before == 5.0
    assert "model credit@2 is new" in ran.out
    assert "model:credit: credit@1 -> credit@2" in ran.out
    assert score(credit) == 32.0
    assert score(credit, release=1) == 5.0
    assert champion(credit) == ["2"]


def test_the_file_may_go_once_it_was_applied(credit) -> None:
    credit("release", "apply", "-y")
    (credit.folder / "models/credit.onnx").unlink()

    assert credit("check").code == 0
    assert "Nothing to apply." in credit("release", "apply", "-y").err
    assert score(credit) == 5.0


@pytest.mark.parametrize("arguments", [("diff",), ("apply",)])
def test_looking_at_a_change_does_not_move_the_champion(credit, arguments) -> None:
    credit("release", "apply", "-y")
    (credit.folder / "models/credit.onnx").write_bytes(onnx_model([1.0, 10.0]))

    credit("release", *arguments)

    assert champion(credit) == ["1"]


def test_an_alias_moves_nothing_until_it_is_applied(credit) -> None:
    credit("release", "apply", "-y")
    file = credit.folder / "models/credit.onnx"
    file.write_bytes(onnx_model([1.0, 10.0]))
    credit("models", "add", "credit", "models/credit.onnx", "--alias", "champion")
    file.unlink()
    before = score(credit)

    credit("release", "apply", "-y")

    assert (before, score(credit)) == (5.0, 32.0)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "credit.onnx"),
        (b"\x00" * 100, "credit.onnx"),
        (b"<html>not found</html>", "credit.onnx"),
        (onnx_model([1.0, 1.0])[:-20], "credit.onnx"),
        (onnx_model([1.0, 1.0, 1.0]), "2 features for credit: a, b"),
    ],
    ids=["empty", "zeros", "a web page", "truncated", "of three columns"],
)
def test_a_model_file_that_does_not_fit_is_a_mistake_of_the_declaration(
    credit, raw: bytes, said: str
) -> None:
    (credit.folder / "models/credit.onnx").write_bytes(raw)

    for arguments in (("check",), ("release", "apply", "-y")):
        ran = credit(*arguments)

        assert ran.code == 1
        assert "integrations.py:12: Credit.routes" in ran.err
        assert said in ran.err
    assert credit("models", "list", "--json").json == []


def test_inputs_that_the_request_has_not_are_named(credit) -> None:
    credit.write("integrations.py", MODEL.replace('("a", "b")', '("a", "colour")'))

    ran = credit("check")

    assert "a model that reads colour, which the request has not" in ran.err
    assert "inputs among a, b" in ran.err


def test_a_withdrawn_version_is_refused_by_file_and_by_name(credit) -> None:
    credit("release", "apply", "-y")
    credit("models", "withdraw", "credit@1", "--why", "leaks")

    by_file = credit("check")
    (credit.folder / "models/credit.onnx").unlink()
    by_name = credit("check")

    for ran in (by_file, by_name):
        assert ran.code == 1
        assert "credit@1, withdrawn: leaks" in ran.err


@pytest.mark.parametrize("name", ["a b", "../x", "", "a@1", "x" * 65])
def test_a_model_that_no_route_could_name_is_not_registered(credit, name: str) -> None:
    ran = credit("models", "add", name, "models/credit.onnx")

    assert ran.code == 1
    assert credit("models", "list", "--json").json == []
