"""Signed tokens (JWT): whose signature it is, and whether what it says counts here and now.

A token says by itself which algorithm and which key it was signed with, and is not to be believed:
the algorithms are those of the settings, the key is one that the provider publishes for just that
kind. Decoding alone checks no claim; all of them are checked here.
"""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from splice.adapters.identity.documents import Documents

LONGEST = 16 * 1024
_LEEWAY_S = 30.0  # clocks of two machines
_LONGEST_S = float(1 << 40)  # of a time in a token, in Unix seconds
_LEAST_RSA_BITS = 2048
_KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
_PUBLIC = ("kty", "n", "e", "crv", "x", "y")
_CLASSES: dict[str, type[RSAKey | ECKey | OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}


class Wrong(Exception):
    """A token that does not count, and why; never a part of it."""


class Wanted(NamedTuple):
    """What must be in a token. A `nonce` that is None is not looked at."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    nonce: str | None = None


async def claims_of(
    token: str, wanted: Wanted, documents: Documents, clock: Callable[[], float] = time.time
) -> dict[str, Any]:
    """The claims of a token that counts.

    Raises:
        Wrong: It does not.
        IdentityAway: The keys that could tell cannot be had.
    """
    header = _header_of(token)
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in wanted.algorithms:
        raise Wrong(f"a token signed by {str(algorithm)[:20]!r}")
    if kid is not None and not isinstance(kid, str):
        raise Wrong("a token whose key has no name")
    fitting = [one for one in await documents.keys(kid) if _fits(one, kid, algorithm)]
    if not fitting:
        raise Wrong("a token signed by a key that its issuer does not publish")
    if len(fitting) > 1:
        raise Wrong("a token that does not say which key of its issuer signed it")
    claims = _signed(token, fitting[0], algorithm)
    _check(claims, wanted, clock())
    return claims


def _header_of(token: str) -> dict[str, Any]:
    if len(token) > LONGEST or token.count(".") != 2 or not token.isascii():
        raise Wrong("what is no signed token")
    try:
        return msgspec.json.decode(_unpacked(token.partition(".")[0]), type=dict[str, Any])
    except (ValueError, msgspec.DecodeError):
        raise Wrong("what is no signed token") from None


def _unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _fits(key: dict[str, Any], kid: str | None, algorithm: str) -> bool:
    """Whether a published key may sign by an algorithm, and is the one of that name."""
    if kid is not None and key.get("kid") != kid:
        return False
    if key.get("kty") != _KINDS.get(algorithm[:2]):
        return False
    if key.get("use", "sig") != "sig" or key.get("alg", algorithm) != algorithm:
        return False
    return key.get("crv") == _CURVES[algorithm] if algorithm in _CURVES else True


def _signed(token: str, published: dict[str, Any], algorithm: str) -> dict[str, Any]:
    public = {name: published[name] for name in _PUBLIC if name in published}
    try:
        if "n" in public and len(_unpacked(public["n"])) * 8 < _LEAST_RSA_BITS:
            raise Wrong("a token signed by a key that is too short")
        key = _CLASSES[public["kty"]].import_key(public)
        return jwt.decode(token, key, algorithms=[algorithm]).claims
    except (JoseError, ValueError, TypeError, KeyError):
        raise Wrong("a token whose signature is not that of its issuer") from None


def _check(claims: dict[str, Any], wanted: Wanted, now: float) -> None:
    """Every claim that says whether a token counts.

    Raises:
        Wrong: One of them says that it does not.
    """
    if claims.get("iss") != wanted.issuer:
        raise Wrong("a token of another issuer")
    audience = claims.get("aud")
    meant = cast("list[Any]", audience if isinstance(audience, list) else [audience])
    if wanted.audience not in meant:
        raise Wrong("a token that is meant for somebody else")
    if wanted.nonce is not None:
        if claims.get("nonce") != wanted.nonce:
            raise Wrong("a token of another sign-in")
        if claims.get("azp", wanted.audience) != wanted.audience or (
            len(meant) > 1 and "azp" not in claims
        ):
            raise Wrong("a token that was issued to somebody else")
    if not isinstance(claims.get("sub"), str) or not claims["sub"]:
        raise Wrong("a token that says of nobody who he is")
    if _moment(claims, "exp", must=True) + _LEEWAY_S <= now:
        raise Wrong("a token that has expired")
    for name in ("nbf", "iat"):
        if _moment(claims, name) - _LEEWAY_S > now:
            raise Wrong("a token that does not count yet")


def _moment(claims: dict[str, Any], name: str, *, must: bool = False) -> float:
    value = claims.get(name)
    if value is None and not must:
        return 0.0
    number = value if isinstance(value, (int, float)) and value is not True else math.nan
    if 0 <= number < _LONGEST_S:  # no comparison holds of what is not a number
        return float(number)
    raise Wrong(f"a token whose {name} is no time")
