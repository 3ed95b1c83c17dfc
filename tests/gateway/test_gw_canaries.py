"""Planted secrets and personal data: everything that was written is searched, and holds none."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import socket
import sqlite3
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gw_house import (
    BASE,
    CHAT,
    MESSAGES,
    Gateway,
    eventually,
    provider,
    raw_request,
    serving,
)
from redis_server import OwnServer

from splice.core.call import Record
from splice.testing.openai_server import OpenAIServer, Scripted
from splice.testing.openai_shapes import DONE, chat_events, event
from splice.testing.project import Answer, Project

pytestmark = pytest.mark.redis

# What may be nowhere, in no place and no form.
SECRETS = {
    "provider": "canaryprovider-Qz81kXw0pLm3vR7t",
    "pepper": "canarypepper-Kj62vBn8cZx1qW0r",
    "redis": "canaryredis-Mm31tGy7uIo4pA9s",
    "header": "canaryheader-Ll20dFg5hJk8zX3c",
}
# What may go to the provider and back to the caller, and nowhere else. The left form is sent; the
# right one must not be found, whatever else is masked with it.
PERSONAL = {
    "zebra.quokka@canary-mail.example": "quokka",
    "WOMBAT.NUMBAT@CANARY-MAIL.EXAMPLE": "numbat",
    "ｋａｋａｐｏ＠ｃａｎａｒｙ－ｍａｉｌ．ｅｘａｍｐｌｅ": "kakapo",
    "axo\u00adlotl@canary\u200b-mail.example": "axolotl",
    "4111 1111 1111 1111": "1111 1111",
    "٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢": "42424242",
    "DE89 3704 0044 0532 0130 00": "0532 0130",
    "+49 171 5558642": "5558642",
    "203.0.113.77": "203.0.113.77",
    "sk-proj-canaryprompt5678ghi789jkl": "canaryprompt",
    "postgres://app:canarypassword@db.example/x": "canarypassword",
}
EVERYTHING = "; ".join(PERSONAL)

INTEGRATIONS = '''
import splice


class Talk(splice.Conversation):
    """Talk with people."""

    log = splice.Log(mask=("all",))
    deadline = "5 s"
    coalesce = True
    cache = splice.Cache(exact="1 h")
    routes = [splice.LLM("a/m", retries=0), splice.LLM("b/m", retries=0)]


class Careful(splice.Conversation):
    """Talk with people, and lose no answer."""

    log = splice.Log(mask=("all",))
    risk = splice.Risk.HIGH
    routes = [splice.LLM("a/m", retries=0)]


class Poor(splice.Conversation):
    """Talk with people, for next to nothing."""

    log = splice.Log(mask=("all",))
    budget = splice.Spend("EUR 0.000001", per="total")
    routes = [splice.LLM("a/m", retries=0)]


class Bare(splice.Conversation):
    """Talk, and keep no word of it."""

    log = splice.Log(keep=0.0)
    routes = [splice.LLM("a/m", retries=0)]


class Message(splice.Request):
    customer: splice.Entity
    text: str


class Label(splice.Reply):
    label: str


def crash(context):
    raise ValueError(context["text"])


class Typed(splice.Integration):
    """Read what people wrote, and fail over it."""

    log = splice.Log(mask=("all",))
    routes = [splice.Rule(crash)]
    request = Message
    reply = Label
'''


class Collector:
    """An OTLP endpoint that keeps what it is sent."""

    def __init__(self) -> None:
        received = self.received = list[bytes]()

        class Taking(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taking)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Run(msgspec.Struct):
    """What was written and answered while everything was tried."""

    records: list[Record]
    answers: list[Answer]
    files: dict[str, bytes]
    metrics: str
    log: str
    traces: list[bytes]
    keys: list[str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("canaries")
    with contextlib.ExitStack() as stack:
        up = stack.enter_context(OpenAIServer())
        collector = Collector()
        stack.callback(collector.server.server_close)
        stack.callback(collector.server.shutdown)
        toml = BASE.replace("body_seconds = 1.0", "body_seconds = 1.0\nmax_in_flight = 200")
        toml += provider("a", up.base_url, "breaker_failures = 1000", key="A_KEY")
        toml += provider("b", up.base_url, "breaker_failures = 1000", key="A_KEY")
        toml += f"""
[access]
pepper_env = "HOUSE_PEPPER"
[telemetry]
endpoint = "{collector.url}"
[meters]
url = "redis://:{SECRETS["redis"]}@127.0.0.1:9/0"
"""  # nobody is there
        gateway = stack.enter_context(
            serving(
                folder,
                toml,
                INTEGRATIONS,
                pepper=SECRETS["pepper"],
                A_KEY=SECRETS["provider"],
                HOUSE_PEPPER=SECRETS["pepper"],
                OTEL_BSP_SCHEDULE_DELAY="100",
            )
        )
        keys = [gateway.shared_key("canary"), gateway.shared_key("limited", tokens_per_minute=9)]
        answers = [*everything(gateway, up, keys[0]), gateway.ask(key=keys[1])]
        gateway.rest()
        answers += while_the_ledger_is_away(gateway, keys[0])
        eventually(lambda: collector.received)
        pages = [f"/v1/calls?integration={name}" for name in ("talk", "careful", "poor", "typed")]
        answers += [
            gateway.server.ask("GET", page, authorization=f"Bearer {keys[0]}") for page in pages
        ]
        metrics = gateway.metrics()
        records = gateway.all_records()
        assert gateway.server.stop() == 0
        files = {
            str(file): file.read_bytes() for file in gateway.project.folder.rglob("*")
            if file.is_file() and file.suffix not in (".toml", ".py", ".pyc")
        }  # fmt: skip
        log = gateway.server.log
        yield Run(records, answers, files, metrics, log, list(collector.received), keys)


def everything(gateway: Gateway, up: OpenAIServer, key: str) -> Iterator[Answer]:
    """Answers whole and streamed, failures, refusals, broken streams, and requests that are bad."""

    def ask(body: Any, path: str = CHAT, **headers: str) -> Answer:
        return gateway.ask(body, path, key, cookie=f"s={SECRETS['header']}", **headers)

    said = {"messages": [{"role": "user", "content": EVERYTHING}], "max_tokens": 50}
    deep = {
        "messages": [
            {"role": "system", "content": f"You serve {EVERYTHING}"},
            {"role": "user", "content": [{"type": "text", "text": f"I am {EVERYTHING}"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "f", "arguments": json.dumps({"who": EVERYTHING})},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": EVERYTHING},
        ],
        "user": "zebra.quokka@canary-mail.example",
        "metadata": {"mail": "zebra.quokka@canary-mail.example", EVERYTHING: "as a name"},
        "stop": [EVERYTHING],
        "max_tokens": 50,
    }
    for model in ("talk", "careful", "bare", "poor"):
        for stream in (False, True):
            for path in (CHAT, MESSAGES):
                up.always = Scripted(text=f"You said: {EVERYTHING}")
                yield ask({**said, "model": model, "stream": stream}, path)
            yield ask({**deep, "model": model, "stream": stream, "seed": 1})
            yield ask({"model": model, "input": EVERYTHING, "stream": stream}, "/v1/responses")
        yield ask({"model": model, "input": EVERYTHING}, "/v1/embeddings")
        for status in (400, 401, 429, 500):  # each tells the key and the prompt back
            up.always = Scripted(status=status, text=f"bad: {SECRETS['provider']} {EVERYTHING}")
            yield ask({**said, "model": model, "seed": status})
            yield ask({**said, "model": model, "seed": status, "stream": True})
            yield ask({**said, "model": model}, MESSAGES)
        up.always = Scripted(text=f"{EVERYTHING} {SECRETS['provider']}")
        yield ask({**said, "model": model, "seed": 2})
        for raw in (split_stream(), broken_stream(), split_stream()[:-60], b"data: " + b"x" * 99):
            up.always = Scripted(raw=raw)
            yield ask({**said, "model": model, "stream": True, "seed": len(raw)})
            yield ask({**said, "model": model, "stream": True}, MESSAGES)
        up.always = Scripted(text=EVERYTHING)
        up.script(Scripted(status=500, text=EVERYTHING))
        yield ask({**said, "model": model, "seed": 5})
        if model != "bare":  # which masks nothing, and keeps what is no text
            key_of_mail = "quokka@canary.example"
            yield ask({**said, "model": model, "seed": 3}, idempotency_key=key_of_mail)
        yield ask({**said, "model": model, "seed": 4}, traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
        yield ask({"messages": said["messages"]}, f"/v1/integrations/{model}/calls")
        for bad in ({"temperature": EVERYTHING}, {"messages": EVERYTHING}, {"tools": EVERYTHING}):
            yield ask({**said, "model": model, **bad})
            yield ask({**said, "model": model, **bad}, MESSAGES)
        leave_in_mid_stream(gateway, up, key, model)
    yield ask({**said, "model": EVERYTHING})
    yield ask(EVERYTHING.encode())
    yield gateway.ask(said, key=key[:-2] + "xy")
    yield ask({"customer": "zebra.quokka@canary-mail.example", "text": EVERYTHING},
              "/v1/integrations/typed/calls")  # fmt: skip


def split_stream() -> bytes:
    """A reply with a piece of three characters in each event."""
    message = {"role": "assistant", "content": ""}
    head, *_ = chat_events("m", [message], "stop", None, counted=False)
    pieces = [EVERYTHING[at : at + 3] for at in range(0, len(EVERYTHING), 3)]
    chunk = msgspec.json.decode(head.removeprefix(b"data: "))
    events = [head]
    for piece in pieces:
        chunk["choices"][0]["delta"] = {"content": piece}
        events.append(event(chunk))
    chunk["choices"][0] |= {"delta": {}, "finish_reason": "stop"}
    return b"".join([*events, event(chunk), DONE])


def broken_stream() -> bytes:
    """The same, with an error in its middle that tells everything back."""
    whole = split_stream()
    half = whole[: whole.index(b"\n\n", len(whole) // 2) + 2]
    told = {"error": {"message": f"{SECRETS['provider']} choked on {EVERYTHING}"}}
    return half + event(told)


def leave_in_mid_stream(gateway: Gateway, up: OpenAIServer, key: str, model: str) -> None:
    up.always = Scripted(text=EVERYTHING, pause_s=0.05)
    body = {
        "model": model, "stream": True, "max_tokens": 50,
        "messages": [{"role": "user", "content": EVERYTHING + " and I leave"}],
    }  # fmt: skip
    one = gateway.server.socket()
    one.sendall(raw_request(body, CHAT, f"authorization: Bearer {key}"))
    with contextlib.suppress(socket.timeout):
        one.settimeout(0.3)
        while b"quokka" not in one.recv(65536):
            pass
    one.close()
    gateway.rest()


def while_the_ledger_is_away(gateway: Gateway, key: str) -> list[Answer]:
    """What is set aside for a locked ledger is a file, too; it is read before it is written."""
    spool = gateway.project.folder / ".splice" / "spool"
    file = gateway.project.folder / ".splice" / "ledger.db"
    with contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=10.0)) as ledger:
        ledger.execute("BEGIN EXCLUSIVE")
        said = {"messages": [{"role": "user", "content": EVERYTHING + " again"}]}
        answers = [gateway.ask(said, key=key) for _ in range(3)]
        kept = eventually(lambda: list(spool.glob("*.records")), 30.0)
        for one in kept:
            (gateway.project.folder / f"seen-{one.name}").write_bytes(one.read_bytes())
        ledger.execute("ROLLBACK")
    eventually(lambda: not list(spool.glob("*.records")), 30.0)
    return answers


def plain(text: str) -> str:
    """As a reader would see it: of one width, without what cannot be seen, in lower case."""
    seen = "".join(
        one for one in unicodedata.normalize("NFKC", text) if unicodedata.category(one) != "Cf"
    )
    digits = "".join(str(unicodedata.digit(one, one)) for one in seen)
    return digits.lower()


def forms(text: str) -> set[str]:
    escaped = json.dumps(text)[1:-1]
    return {plain(text), text.lower(), escaped.lower(), text.replace(" ", "").lower()}


def found_in(raw: bytes | str, needles: list[str]) -> list[str]:
    text = raw if isinstance(raw, str) else raw.decode("utf-8", "replace")
    as_read = {text.lower(), plain(text)}
    as_read.add(plain(re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), text)))
    return [one for one in needles if any(form in seen for form in forms(one) for seen in as_read)]


def searched(run: Run) -> dict[str, bytes | str]:
    """Everything that was written."""
    return {
        **run.files,
        "metrics": run.metrics,
        "log": run.log,
        **{f"trace {n}": one for n, one in enumerate(run.traces)},
        **{f"record {n}": readable(one) for n, one in enumerate(run.records)},
    }


def readable(record: Record) -> bytes:
    shown = msgspec.structs.asdict(record)
    for name in ("input", "context", "prediction", "reply"):
        value = shown[name]
        shown[name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    # Twice: what is JSON within JSON is read as what it says.
    once = msgspec.json.encode(shown, enc_hook=str)
    return once + once.replace(b"\\", b"")


def test_everything_was_tried(run: Run) -> None:
    statuses = {answer.status for answer in run.answers}
    reasons = {str(one.reason) for one in run.records}

    assert statuses >= {200, 400, 401, 404, 503}
    assert reasons >= {
        "first", "fallback", "exhausted", "rejected", "broken", "disconnected", "meter_away",
        "cached",
    }  # fmt: skip
    assert len(run.records) > 100
    assert run.traces
    assert any("seen-" in name for name in run.files)
    assert any(b"[email]" in (one.input or b"") for one in run.records)
    assert any(b"[email]" in (one.reply or b"") for one in run.records)


def test_the_search_finds_what_is_there() -> None:
    for sent, needle in PERSONAL.items():
        for text in (sent, sent.upper(), json.dumps(sent), f"x{sent}y"):
            assert found_in(text.encode(), [needle]) == [needle], (text, needle)


def test_no_secret_was_written_anywhere(run: Run) -> None:
    needles = [*SECRETS.values(), *run.keys]

    found = {place: found_in(raw, needles) for place, raw in searched(run).items()}

    assert {place: what for place, what in found.items() if what} == {}


def test_no_secret_was_told_to_a_caller(run: Run) -> None:
    needles = [*SECRETS.values(), *run.keys]

    told = [
        (answer.status, found_in(answer.body, needles), answer.body[:300])
        for answer in run.answers
        if found_in(answer.body, needles) or found_in(str(answer.headers), needles)
    ]

    assert told == []


def test_no_personal_data_was_written_anywhere(run: Run) -> None:
    needles = list(PERSONAL.values())

    found = {place: found_in(raw, needles) for place, raw in searched(run).items()}

    assert {place: what for place, what in found.items() if what} == {}


def test_a_ledger_that_cannot_be_reached_does_not_show_its_password(tmp_path: Path) -> None:
    password = "canaryledger-Vb73nMq2wEr9"
    url = f"postgresql://splice:{password}@127.0.0.1:9/splice"
    project = Project(tmp_path / "p", f'{BASE.replace("[ledger]", "")}[ledger]\nurl = "{url}"\n')
    project.declare(INTEGRATIONS)

    said = [
        project.run(*command)
        for command in (("serve", "--port", "0"), ("calls", "list"), ("keys", "list"))
    ]

    for one in said:
        assert one.returncode != 0
        assert password not in one.stdout + one.stderr
    files = [file for file in project.folder.rglob("*") if file.is_file()]
    assert [f for f in files if password.encode() in f.read_bytes()] == [
        project.folder / "splice.toml"
    ]


def test_a_redis_that_refuses_the_password_is_told_without_it(
    tmp_path: Path, own_redis: OwnServer
) -> None:
    own_redis.start("--requirepass", "another")
    password = SECRETS["redis"]
    url = own_redis.url.replace("unix://", f"unix://:{password}@")
    toml = BASE + f'[meters]\nurl = "{url}"\n[cache]\nurl = "{url}"\n'
    with (
        OpenAIServer() as up,
        serving(
            tmp_path, toml + provider("a", up.base_url) + provider("b", up.base_url), INTEGRATIONS
        ) as gateway,
    ):
        answers = [gateway.ask({"model": "poor"}), gateway.ask()]
        shown = gateway.metrics() + gateway.server.get("/readyz").body.decode()

        assert [answer.status for answer in answers] == [503, 200]
        assert password not in gateway.server.log + shown + str([one.body for one in answers])
        assert password not in str(gateway.records(2))
