"""A mail server on a loopback port that keeps what it takes; it speaks SMTP with STARTTLS.

with SmtpServer(folder) as server:
...
assert server.mails[0].recipients == ("ops@example.com",)
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import email
import email.policy
import ipaddress
import socket
import socketserver
import ssl
import threading
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

_WAIT_S = 30.0


class Mail(msgspec.Struct, frozen=True):
    """What came: the envelope, and the message in it."""

    sender: str
    recipients: tuple[str, ...]
    raw: bytes
    over_tls: bool
    user: str

    @property
    def message(self) -> EmailMessage:
        """It, read."""
        return email.message_from_bytes(self.raw, policy=email.policy.default)


class SmtpServer:
    """Takes mail, or answers a command as `refuse` says: `{"RCPT": "550 no such user"}`.

    Args:
        folder: Where its certificate is written (`smtp.pem`), which vouches for 127.0.0.1.
        tls: Whether it offers STARTTLS.
    """

    def __init__(self, folder: Path, *, tls: bool = True) -> None:
        self.mails: list[Mail] = []
        self.refuse: dict[str, str] = {}
        self.unknown: set[str] = set()  # addresses that it has no mailbox for
        self.users: dict[str, str] = {}  # to their passwords
        self.ca_file = folder / "smtp.pem"
        self.tls = _self_signed(self.ca_file) if tls else None
        server = self

        class Handler(socketserver.StreamRequestHandler):
            timeout = _WAIT_S

            def handle(self) -> None:
                session = _Session(server, self.connection)
                with contextlib.suppress(OSError):  # the client hung up
                    session.run()
                session.close()

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def close(self) -> None:
        """Listen no more."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class _Session:
    """One connection."""

    def __init__(self, server: SmtpServer, connection: socket.socket) -> None:
        self._server = server
        self._socket = connection
        self._file = connection.makefile("rb")
        self._sender, self._recipients = "", list[str]()
        self._user = ""
        self._over_tls = False

    def run(self) -> None:
        """Answer until it ends."""
        self._say("220 127.0.0.1 ESMTP")
        while line := self._file.readline():
            command, _, rest = line.decode("utf-8", "replace").strip().partition(" ")
            verb = command.upper()
            if verb in self._server.refuse:
                self._say(self._server.refuse[verb])
            elif verb == "QUIT":
                self._say("221 bye")
                return
            else:
                self._answer(verb, rest)

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self._file.close()
            self._socket.close()

    def _answer(self, verb: str, rest: str) -> None:
        if verb == "EHLO":
            offers = ["127.0.0.1", "SIZE 1000000", "SMTPUTF8", "8BITMIME", "AUTH PLAIN"]
            if self._server.tls is not None and not self._over_tls:
                offers.append("STARTTLS")
            for one in offers[:-1]:
                self._say(f"250-{one}")
            self._say(f"250 {offers[-1]}")
        elif verb == "STARTTLS" and self._server.tls is not None:
            self._say("220 go on")
            self._file.close()
            self._socket = self._server.tls.wrap_socket(self._socket, server_side=True)
            self._file = self._socket.makefile("rb")
            self._over_tls = True
        elif verb == "AUTH":
            _, user, password = base64.b64decode(rest.partition(" ")[2]).decode().split("\0")
            self._user = user if self._server.users.get(user) == password else ""
            self._say("235 welcome" if self._user else "535 who are you?")
        elif verb == "MAIL":
            self._sender, self._recipients = _address(rest), []
            self._say("250 ok")
        elif verb == "RCPT" and _address(rest) in self._server.unknown:
            self._say("550 no such user")
        elif verb == "RCPT":
            self._recipients.append(_address(rest))
            self._say("250 ok")
        elif verb == "DATA":
            self._take()
        else:
            self._say("250 ok" if verb in ("HELO", "RSET", "NOOP") else "502 not here")

    def _take(self) -> None:
        self._say("354 go on")
        lines: list[bytes] = []
        while (line := self._file.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b"..") else line)
        mail = Mail(
            self._sender, tuple(self._recipients), b"".join(lines), self._over_tls, self._user
        )
        self._server.mails.append(mail)
        self._say("250 taken")

    def _say(self, line: str) -> None:
        self._socket.sendall(line.encode() + b"\r\n")


def _address(rest: str) -> str:
    return rest.partition("<")[2].partition(">")[0]


def _self_signed(pem: Path) -> ssl.SSLContext:
    """A certificate for 127.0.0.1 that vouches for itself, valid for an hour."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now, loopback = datetime.datetime.now(datetime.UTC), ipaddress.ip_address("127.0.0.1")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(loopback)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
