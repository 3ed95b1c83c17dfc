"""Kills and drains of a real server while streams run: what was answered is recorded."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from gw_house import (
    BASE,
    CHAT,
    HELLO,
    MESSAGES,
    Gateway,
    eventually,
    provider,
    raw_request,
    read_response,
    serving,
)

from splice.core.call import Reason, Status
from splice.testing.openai_server import OpenAIServer, Scripted
from splice.testing.project import Project, Server

INTEGRATIONS = '''
import splice


class Careful(splice.Conversation):
    """Talk, where no answer may be lost."""

    risk = splice.Risk.HIGH
    routes = [splice.LLM("a/m", retries=0)]


class Talk(splice.Conversation):
    """Talk."""

    deadline = "60 s"
    routes = [splice.LLM("a/m", retries=0)]
'''


@pytest.fixture(scope="module")
def upstream() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture(autouse=True)
def plain(upstream: OpenAIServer) -> Iterator[None]:
    yield
    upstream.always = Scripted()


class Client(threading.Thread):
    """Asks until told to stop; its journal holds the id of every call whose answer it has begun."""

    def __init__(self, server: Server, number: int) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._number = number
        self._ended = threading.Event()
        self.journal: list[str] = []
        self.start()

    def run(self) -> None:
        path = MESSAGES if self._number % 2 else CHAT
        stream = self._number % 3 > 0
        body = {"model": "careful", "messages": HELLO, "max_tokens": 9, "stream": stream}
        while not self._ended.is_set():
            with contextlib.suppress(OSError, EOFError), self._server.socket(10.0) as one:
                while not self._ended.is_set():
                    one.sendall(raw_request(body, path))
                    self._read(one)
            time.sleep(0.01)

    def _read(self, one: socket.socket) -> None:
        raw = b""
        while b"\r\n\r\n" not in raw:
            if not (piece := one.recv(65536)):
                raise EOFError
            raw += piece
        head, _, rest = raw.partition(b"\r\n\r\n")
        lines = head.decode().lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        if b"200" in head[:13] and rest:  # some of the answer is here
            self.journal.append(headers["splice-call-id"])
        end = b"\r\n0\r\n\r\n" if "transfer-encoding" in headers else None
        while not (rest.endswith(end) if end else len(rest) >= int(headers["content-length"])):
            if not (piece := one.recv(65536)):
                raise EOFError
            rest += piece

    def end(self) -> list[str]:
        self._ended.set()
        self.join(20)
        return self.journal


def test_no_answer_that_began_is_missing_after_any_of_twenty_kills(
    tmp_path: Path, upstream: OpenAIServer
) -> None:
    upstream.always = Scripted(text="one two three four five", pause_s=0.002)
    project = Project(tmp_path / "p", BASE + provider("a", upstream.base_url))
    project.declare(INTEGRATIONS)
    journal: list[str] = []
    with project.serve(workers=2) as server:
        gateway = Gateway(project, server, workers=2)
        clients = [Client(server, number) for number in range(6)]
        for kill in range(20):
            time.sleep(0.1 + kill % 5 * 0.03)
            wanted = 6 * kill  # a slow machine has answered too, before the next one is killed
            eventually(lambda: sum(len(one.journal) for one in clients) >= wanted)  # noqa: B023
            # Both of the last may be gone, and the next not yet there.
            workers = eventually(lambda: server.pids()[1:])
            with contextlib.suppress(ProcessLookupError):
                os.kill(workers[kill % len(workers)], signal.SIGKILL)
        time.sleep(0.3)
        server.kill()  # and all of it, with everything that runs
        for client in clients:
            journal += client.end()

        stored = {one.call_id for one in gateway.all_records("careful")}
        gateway.close()

    assert len(journal) > 100
    assert [one for one in journal if one not in stored] == []


PATIENT = BASE.replace("drain_seconds = 5.0", "drain_seconds = 50.0")


def test_sigterm_lets_streams_end_regularly(tmp_path: Path, upstream: OpenAIServer) -> None:
    drains = threading.Event()
    upstream.always = Scripted(text="one two three four five six", rest_after=drains)
    said: dict[str, str] = {}
    with serving(
        tmp_path, PATIENT + provider("a", upstream.base_url), INTEGRATIONS, workers=2
    ) as gateway:

        def ours(model: str) -> None:
            stream = gateway.openai(model).chat.completions.create(
                model=model, messages=HELLO, stream=True
            )
            said[f"chat {model}"] = "".join(one.choices[0].delta.content or "" for one in stream)

        def theirs(model: str) -> None:
            with gateway.anthropic(model).messages.stream(
                model=model, messages=HELLO, max_tokens=50
            ) as stream:
                said[f"messages {model}"] = stream.get_final_text()

        def whole() -> None:
            reply = gateway.ask({"seed": 1}, traceparent="x")
            said["whole"] = reply.json["choices"][0]["message"]["content"]

        asking = [
            threading.Thread(target=ask, args=(model,))
            for ask in (ours, theirs)
            for model in ("talk", "careful")
        ]
        asking.append(threading.Thread(target=whole))
        before = len(upstream.asked)
        for one in asking:
            one.start()
        eventually(lambda: len(upstream.asked) == before + 5)
        eventually(lambda: "whole" in said)

        gateway.server.process.send_signal(signal.SIGTERM)
        gateway.server.until_it_drains()
        drains.set()
        code = gateway.server.process.wait(60)
        for one in asking:
            one.join(20)

        assert code == 0
        assert said == dict.fromkeys(
            ("chat talk", "chat careful", "messages talk", "messages careful", "whole"),
            "one two three four five six",
        )
        assert [one.status for one in gateway.all_records()] == [Status.ANSWERED] * 5
        assert "Traceback" not in gateway.server.log


def test_a_stream_that_outlives_the_drain_is_cut_with_an_error_and_recorded(
    tmp_path: Path, upstream: OpenAIServer
) -> None:
    upstream.always = Scripted(text=" ".join(["word"] * 400), pause_s=0.1)
    toml = BASE.replace("drain_seconds = 5.0", "drain_seconds = 1.0")
    with serving(tmp_path, toml + provider("a", upstream.base_url), INTEGRATIONS) as gateway:
        wires = []
        for path, more in ((CHAT, ()), (MESSAGES, ()), (CHAT, ("traceparent: x",))):
            one = gateway.server.socket(20.0)
            body = {"model": "talk", "messages": HELLO, "max_tokens": 999, "stream": True}
            one.sendall(raw_request(body, path, *more))
            assert b"200 OK" in one.recv(65536)
            wires.append(one)
        eventually(lambda: gateway.in_flight() == 3)

        gateway.server.stop()

        ends = [rest_of(one) for one in wires]
        records = gateway.all_records()
        assert [(one.status, one.reason) for one in records] == [(Status.FAILED, Reason.BROKEN)] * 3
        for record in records:
            assert record.cost_nano
            assert record.problem is not None
            assert record.problem.code == "draining"
        assert all(b"shutting down" in end for end in ends)
        assert "Traceback" not in gateway.server.log
        eventually(lambda: upstream.disconnects >= 3)


def test_a_call_that_outlives_the_drain_gets_its_vendors_refusal_and_is_recorded(
    tmp_path: Path, upstream: OpenAIServer
) -> None:
    upstream.always = Scripted(delay_s=60.0)
    toml = BASE.replace("drain_seconds = 5.0", "drain_seconds = 1.0")
    with serving(tmp_path, toml + provider("a", upstream.base_url), INTEGRATIONS) as gateway:
        wires = [gateway.server.socket(20.0) for _ in range(4)]
        body = {"model": "talk", "messages": HELLO, "max_tokens": 9}
        for number, one in enumerate(wires):
            path = MESSAGES if number % 2 else CHAT
            one.sendall(raw_request(body, path, *(["traceparent: x"] if number > 1 else [])))
        eventually(lambda: gateway.in_flight() == 4)

        code = gateway.server.stop()

        answers = [read_response(one) for one in wires]
        for one in wires:
            one.close()
        assert code == 0
        assert [status for status, _, _ in answers] == [503, 529, 503, 529]
        assert json.loads(answers[0][2])["error"]["code"] == "draining"
        assert json.loads(answers[1][2])["error"]["type"] == "overloaded_error"
        assert [one.reason for one in gateway.all_records()] == [Reason.CANCELLED] * 4
        assert "Traceback" not in gateway.server.log


def rest_of(one: socket.socket) -> bytes:
    came = b""
    with contextlib.suppress(ConnectionError), one:
        while piece := one.recv(65536):
            came += piece
    return came


def test_a_call_that_comes_while_the_server_drains_gets_its_vendors_refusal(
    tmp_path: Path, upstream: OpenAIServer
) -> None:
    drains = threading.Event()
    upstream.always = Scripted(text="one two three four five six", rest_after=drains)
    with serving(tmp_path, PATIENT + provider("a", upstream.base_url), INTEGRATIONS) as gateway:
        wires = [gateway.server.socket(20.0) for _ in range(2)]
        body: dict[str, Any] = {"model": "talk", "messages": HELLO, "max_tokens": 99}
        for one in wires:
            one.sendall(raw_request({**body, "stream": True}))
            assert b"200 OK" in one.recv(1000)
        eventually(lambda: gateway.in_flight() == 2)
        gateway.server.process.send_signal(signal.SIGTERM)
        eventually(lambda: "stopping" in gateway.server.log)

        with pytest.raises((openai.APIConnectionError, openai.InternalServerError)):
            gateway.openai("new").chat.completions.create(model="talk", messages=HELLO)
        with pytest.raises((anthropic.APIConnectionError, anthropic.InternalServerError)):
            gateway.anthropic("new").messages.create(model="talk", messages=HELLO, max_tokens=5)
        # Behind the streams that still run.
        wires[0].sendall(raw_request(body))
        wires[1].sendall(raw_request(body, MESSAGES))
        drains.set()
        ends = [rest_of(one) for one in wires]

        assert gateway.server.process.wait(20) == 0
        for end in ends:
            assert b"[DONE]" in end
        # A connection that is to close takes nothing more, or says why.
        ours, theirs = (end.partition(b"0\r\n\r\n")[2] for end in ends)
        assert ours == b"" or b"503" in ours
        assert theirs == b"" or b"529" in theirs
