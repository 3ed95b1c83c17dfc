"""Receivers of alerts: a web server and a mail server, both real."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from splice.testing.smtp_server import SmtpServer


class WebEnd:
    """A server that keeps what it takes, and answers as it is told."""

    def __init__(self, port: int = 0) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        self.came = threading.Event()
        self.hold = threading.Event()  # while set, an answer waits
        self.go = threading.Event()
        end = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                named = {name.lower(): value for name, value in self.headers.items()}
                if end.status < 300:
                    end.got.append((named, body))
                end.came.set()
                if end.hold.is_set():
                    end.go.wait(60)
                self.send_response(end.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:  # a client that hung up
                pass

        self._server = Server(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks?key=s3cret"

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, body in self.got]

    def taken(self) -> list[str]:
        return ["\n".join(_strings(body)) for body in self.bodies]

    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]

    def refuse(self) -> None:
        self.status = 400

    def be_busy(self) -> None:
        self.status = 503

    def go_away(self) -> None:
        self.close()

    def close(self) -> None:
        self.go.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for one in value.values() for text in _strings(one)]
    if isinstance(value, list):
        return [text for one in value for text in _strings(one)]
    return [str(value)]


class MailEnd:
    """A mail server as a far end."""

    def __init__(self, server: SmtpServer) -> None:
        self.server = server

    def taken(self) -> list[str]:
        return [
            f"{one.message['subject']}\n{one.message.get_content()}" for one in self.server.mails
        ]

    def ids(self) -> list[str]:
        return [one.message["message-id"] for one in self.server.mails]

    def refuse(self) -> None:
        self.server.refuse = {"RCPT": "550 no such user"}

    def be_busy(self) -> None:
        self.server.refuse = {"MAIL": "451 later"}

    def go_away(self) -> None:
        self.server.close()
