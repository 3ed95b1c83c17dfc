"""Settings: read once, refused where they are wrong, and never a secret in sight."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from splice.app import sections
from splice.app.providers import providers
from splice.app.settings import Section, Settings, find_root, load
from splice.core.errors import SettingsError


def settings(tmp_path: Path, text: str = "", **environment: str) -> Settings:
    (tmp_path / "splice.toml").write_text(text, "utf-8")
    return load(tmp_path, environment)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[servr]\nport = 1", "servr"),
        ("[server]\nprot = 1", "prot"),
        ("[server]\nport = 65536", "server.port"),
        ("[server]\nport = -1", "server.port"),
        ('[server]\nport = "x"', "server.port"),
        ("[server]\nworkers = 0", "server.workers"),
        ("[server]\nbody_seconds = nan", "server.body_seconds"),
        ("[server]\ndrain_seconds = inf", "server.drain_seconds"),
        ("[server]\nmax_body_bytes = 1", "server.max_body_bytes"),
        ("[ledger]\nflush_interval_ms = 0", "ledger.flush_interval_ms"),
        ("[cost]\nmachine_hour = nan", "cost.machine_hour"),
        ("[cost]\nmachine_hour = inf", "cost.machine_hour"),
        ("[cost]\nmachine_hour = -1", "cost.machine_hour"),
        ('[cost]\ncurrency = "euro"', "cost.currency"),
        ('[project]\napply = "always"', "project.apply"),
        ('[project]\nmodules = "integrations"', "project.modules"),
        ("[models]\nthreads = 0", "models.threads"),
        ("[providers.x]\nkey = 'secret'", "providers"),
        ("[providers.x.prices.m]\ninput = inf\noutput = 1", "input"),
        ("providers = 5", "providers"),
        ("server = 5", "server"),
        ("server = [", "splice.toml"),
        ('root = "/"', "root"),
        ("[secrets]\nx = 1", "secrets"),
    ],
)
def test_a_setting_that_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        settings(tmp_path, text, SPLICE_SERVER_HOST="h")

    assert said in str(raised.value)
    assert raised.value.mend or raised.value.promised or raised.value.got


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[consume.a]\n[consume.b]\ntargets = "table:x"\n',
            "splice.toml consume.b.targets: got str, expected array",
        ),
        ("[kafka.options]\nacks = []\n", "splice.toml kafka.options"),
        ('[server]\nport = "x"', "splice.toml server.port: got str, expected int"),
    ],
)
def test_a_wrong_type_is_placed_in_its_section(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        settings(tmp_path, text)

    assert said in str(raised.value)


def test_a_file_that_is_not_text_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "splice.toml").write_bytes(b"\xff\xfe")

    with pytest.raises(SettingsError, match=r"splice\.toml"):
        load(tmp_path, {})


def test_the_environment_is_stronger_than_the_file(tmp_path: Path) -> None:
    made = settings(
        tmp_path, "[server]\nport = 1\nhost = 'a'\n", SPLICE_SERVER_PORT="2",
        SPLICE_PROJECT_MODULES="x,y.z", SPLICE_COST_MACHINE_HOUR="0.5", SPLICE_PROJECT_APPLY="new",
    )  # fmt: skip

    assert (made.server.port, made.server.host) == (2, "a")
    assert made.project.modules == ("x", "y.z")
    assert (made.cost.machine_hour, made.project.apply) == (0.5, "new")


@pytest.mark.parametrize("value", ["x", "-1", "99999", "", "1.5"])
def test_a_bad_variable_is_named_and_not_the_file(tmp_path: Path, value: str) -> None:
    with pytest.raises(SettingsError) as raised:
        settings(tmp_path, "[server]\nport = 1\n", SPLICE_SERVER_PORT=value)

    assert raised.value.where == "SPLICE_SERVER_PORT"


def test_every_setting_has_a_default_and_a_reason(tmp_path: Path) -> None:
    made = settings(tmp_path)
    files = sorted(Path(sections.__file__).parent.glob("*sections.py"))
    source = "".join(file.read_text("utf-8") for file in files)

    for section in msgspec.structs.fields(Settings):
        part = getattr(made, section.name)
        if isinstance(part, Section):
            for field in msgspec.structs.fields(part):
                own = source.split(f"class {type(part).__name__}(", 1)[1]
                after = own.split(f"    {field.name}: ", 1)[1].split("\n", 1)[1].lstrip()
                assert after.startswith('"""'), f"{section.name}.{field.name} gives no reason"


SECRET = "sk-canary-7f3a"


def test_no_secret_is_in_any_text_of_the_settings(tmp_path: Path) -> None:
    made = settings(
        tmp_path,
        f"[ledger]\nurl = 'postgresql://me:{SECRET}@host/db'\n"
        f"[features]\nurl = 'postgresql://me:{SECRET}@host/db'\n"
        "[providers.x]\nbase_url = 'https://x/v1'\napi_key_env = 'X_KEY'\n",
        X_KEY=SECRET,
        OPENAI_API_KEY=SECRET,
    )

    assert made.secrets == {"X_KEY": SECRET, "OPENAI_API_KEY": SECRET}
    for part in (made, *(getattr(made, f.name) for f in msgspec.structs.fields(Settings))):
        if part is not made.secrets:
            assert SECRET not in repr(part)
            assert SECRET not in str(part)


def test_paths_start_at_the_folder_of_the_file(tmp_path: Path) -> None:
    made = settings(tmp_path, "[ledger]\nurl = 'sqlite:///deep/l.db'\n")

    assert made.ledger_url == f"sqlite:///{tmp_path.resolve()}/deep/l.db"
    assert settings(tmp_path, "[ledger]\nurl = 'sqlite:////x/l.db'").ledger_url == (
        "sqlite:////x/l.db"
    )
    assert made.path("models") == tmp_path.resolve() / "models"


def test_the_project_is_found_from_below_and_not_from_beside(tmp_path: Path) -> None:
    settings(tmp_path)
    (tmp_path / "a/b").mkdir(parents=True)

    assert find_root(tmp_path / "a/b") == tmp_path.resolve()
    with pytest.raises(SettingsError, match="no such folder"):
        find_root(tmp_path / "a/typing-slip")


@pytest.mark.parametrize(
    ("text", "place", "mend"),
    [
        ("[servr]\nport = 1", "splice.toml:", "Did you mean server?"),
        ("[server]\nprot = 1", "server:", "Did you mean port?"),
        ("[providers.x]\nbase_ulr = 'a'", "providers.x:", "Did you mean base_url?"),
        (
            "[providers.y]\nkind = 'a'\n[[providers.x.deployments]]\nbase_ulr = 'a'",
            "providers.x.deployments[0]:",
            "Did you mean base_url?",
        ),
        ("[providers.x.prices.m]\ninpt = 1", "providers.x.prices.m:", "Did you mean input?"),
        ("[providers.x]\nqqqq = 1", "providers.x:", "See docs/reference/settings.md"),
    ],
)
def test_a_slip_in_a_name_is_placed_and_its_like_is_named(
    tmp_path: Path, text: str, place: str, mend: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        settings(tmp_path, text)

    assert place in str(raised.value)
    assert mend in str(raised.value)


def test_an_unknown_kind_of_provider_is_told_the_vendors_too(tmp_path: Path) -> None:
    wrong = settings(tmp_path, "[providers.x]\nkind = 'opnai'")

    with pytest.raises(SettingsError, match="opnai") as raised:
        providers(wrong)

    assert {"openai", "groq", "anthropic"} <= set(raised.value.promised[7:].split(", "))
