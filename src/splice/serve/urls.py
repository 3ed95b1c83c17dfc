"""URLs that a caller wants a provider to fetch: public ones only, for any spelling of an address.

The gateway itself never fetches one. But a provider may run in our own network (vLLM, llama.cpp),
and would then fetch from inside it on a stranger's word. Names are not resolved here: what one
resolves to at the provider is not known, and may change in between.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from urllib.parse import unquote_to_bytes

from splice.core.errors import RequestError

MAX_URL = 8192
"""Characters of a URL that is to be fetched; common servers take no longer one."""

_SHAPE = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)
_PORT = re.compile(r":\d{0,5}$")
_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"0x[0-9a-f]*|\d+")
_INNER = (
    "localhost", "internal", "local", "localdomain", "lan", "intranet", "corp", "home", "private",
    "home.arpa", "in-addr.arpa", "ip6.arpa", "test", "invalid", "onion", "svc",
)  # fmt: skip
_MIRRORS = (
    "nip.io", "sslip.io", "xip.io", "localtest.me", "lvh.me", "vcap.me", "lacolhost.com",
    "rbndr.us", "1u.ms", "traefik.me", "local.gd", "backname.io", "ip.addr.tools",
)  # fmt: skip
"""Public names that lead wherever their first part says, `10.0.0.1.nip.io` into this network."""

# Addresses that carry another one in them; nobody keeps pictures there.
_CARRIERS = tuple(
    ipaddress.IPv6Network(net)
    for net in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48",
                "2001::/32", "2002::/16")
)  # fmt: skip


def check_url(url: str, where: str) -> None:
    """Passes a URL that a provider may be asked to fetch, and a `data:` URL, which nobody fetches.

    Refused are all but http and https; users and passwords; private, loopback, link-local,
    multicast and reserved addresses, in decimal, octal, hexadecimal, shortened, mapped or
    percent-encoded form; `localhost`, `*.internal` and the like; names without a dot; names that
    mirror an address (`10.0.0.1.nip.io`); and what two readers of URLs would read differently
    (spaces, control characters, backslashes).

    Raises:
        RequestError: It is refused; the error does not repeat the URL, which may hold a secret.
    """
    if url[:5].lower() == "data:":
        return
    if len(url) > MAX_URL:
        raise _refused(where, f"a URL of {len(url)} characters", f"at most {MAX_URL}")
    if any(c <= " " or c in "\\\x7f" or unicodedata.category(c)[0] in "CZ" for c in url):
        raise _refused(where, "a URL with a space, a control character or a backslash")
    shape = _SHAPE.match(url)
    if shape is None:
        raise _refused(where, "a URL that is not http or https")
    if "@" in shape[1]:
        raise _refused(where, "a URL with a user or a password")
    host = _host(_PORT.sub("", shape[1]))
    if host.startswith("[") and host.endswith("]"):
        public = _public_v6(host[1:-1])
    elif _NUMBER.fullmatch(host.rpartition(".")[2]):
        public = _public_v4(host)
    else:
        public = _public_name(host)
    if not public:
        raise _refused(where, "a URL whose host is not a public address or name")


def _host(written: str) -> str:
    """The host as a reader of URLs understands it: decoded, folded, without the final dot."""
    decoded = unquote_to_bytes(written).decode("utf-8", "replace")
    # Full-width digits, circled letters and ideographic stops all become plain ones.
    folded = unicodedata.normalize("NFKC", decoded.replace("。", ".")).lower()
    return folded.removesuffix(".")


def _public_v6(text: str) -> bool:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return False
    if address.scope_id or any(address in net for net in _CARRIERS):
        return False
    return address.is_global and not address.is_multicast


def _public_v4(text: str) -> bool:
    """Of one to four numbers, the last of which fills what is left: `127.1` is 127.0.0.1.

    Source: WHATWG URL, "IPv4 parser"; `inet_aton` reads the same.
    """
    parts = text.split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) and len(part) < 40 for part in parts):
        return False
    try:
        numbers = [_number(part) for part in parts]
    except ValueError:
        return False
    *first, last = numbers
    if any(n > 255 for n in first) or last >= 256 ** (4 - len(first)):
        return False
    value = last + sum(n << (8 * (3 - i)) for i, n in enumerate(first))
    address = ipaddress.IPv4Address(value)
    # Some readers take a leading 0 for decimal: both readings must be public.
    plain = all(part == "0" or not part.startswith("0") for part in parts)
    return plain and address.is_global and not address.is_multicast


def _number(part: str) -> int:
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    if len(part) > 1 and part.startswith("0"):
        return int(part, 8)
    return int(part)


def _public_name(host: str) -> bool:
    try:
        ascii_host = host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError:
        return False
    if "." not in ascii_host or not _NAME.fullmatch(ascii_host) or len(ascii_host) > 253:
        return False
    return not any(f".{ascii_host}".endswith("." + one) for one in (*_INNER, *_MIRRORS))


def _refused(where: str, got: str, promised: str = "") -> RequestError:
    return RequestError(
        where,
        got=got,
        promised=promised or "an http(s) URL of a public host, or a data: URL",
        mend="send the content itself in base64, if it is not public",
    )
