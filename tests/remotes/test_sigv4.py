"""The signing of requests to AWS: published vectors, and botocore's own signer as the oracle."""

from __future__ import annotations

import calendar
import random
from datetime import UTC, datetime
from urllib.parse import quote

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from splice.adapters.remotes.sigv4 import Credentials, Scope, Unsigned, signed, signing_key

# The keys, the moment and the signatures of AWS's published test suite for Signature Version 4.
KEYS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
MOMENT = calendar.timegm((2015, 8, 30, 12, 36, 0))
SCOPE = Scope("us-east-1", "service")
HOST = {"Host": "example.amazonaws.com"}
TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPf"
    "IeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7W"
    "Z0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8F"
    "DrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

VECTORS = {
    "get-vanilla": (
        "GET", "/", {}, b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "get-vanilla-query-order-key-case": (
        "GET", "/?Param2=value2&Param1=value1", {}, b"",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    "get-vanilla-utf8-query": (
        "GET", "/?%E1%88%B4=bar", {}, b"",
        "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    ),
    "get-header-value-trim": (
        "GET", "/", {"My-Header1": " value1", "My-Header2": ' "a   b   c"'}, b"",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    "normalize-path/get-relative-relative": (
        "GET", "/example1/example2/../..", {}, b"",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "normalize-path/get-slash-dot-slash": (
        "GET", "/./", {}, b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "get-unreserved": (
        "GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", {}, b"",
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    # The suite writes these two as they are before they are encoded; ours is encoded once when it
    # stands in a request line, and once more when it is signed, as AWS's own services do.
    "get-utf8": (
        "GET", "/ሴ", {}, b"", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
    ),
    "get-space-unnormalized": (
        "GET", "/example space/", {}, b"",
        "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
    ),
    "post-vanilla": (
        "POST", "/", {}, b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    ),
    "post-header-key-sort": (
        "POST", "/", {"My-Header1": "value1"}, b"",
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    ),
    "post-header-value-case": (
        "POST", "/", {"My-Header1": "VALUE1"}, b"",
        "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
    ),
    "post-x-www-form-urlencoded": (
        "POST", "/", FORM, b"Param1=value1",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
}  # fmt: skip


def _signature(headers: dict[str, str]) -> str:
    return headers["authorization"].partition("Signature=")[2]


@pytest.mark.parametrize("name", VECTORS)
def test_a_request_of_the_published_suite_gets_its_published_signature(name: str) -> None:
    method, path, headers, body, signature = VECTORS[name]

    made = signed(Unsigned(method, path, {**HOST, **headers}, body), KEYS, SCOPE, MOMENT)

    assert _signature(made) == signature
    names = ";".join(sorted({"host", "x-amz-date", *(one.lower() for one in headers)}))
    assert made["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    assert made["x-amz-date"] == "20150830T123600Z"


def test_the_token_of_temporary_keys_is_sent_and_signed() -> None:
    keys = Credentials(KEYS.access_key, KEYS.secret_key, TOKEN)

    made = signed(Unsigned("POST", "/", HOST), keys, SCOPE, MOMENT)

    assert made["x-amz-security-token"] == TOKEN
    assert "SignedHeaders=host;x-amz-date;x-amz-security-token," in made["authorization"]
    wanted = "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"
    assert _signature(made) == wanted


def test_the_walk_through_of_the_guide_gets_its_published_key_and_signature() -> None:
    scope = Scope("us-east-1", "iam")
    headers = {
        "Host": "iam.amazonaws.com",
        "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
    }
    request = Unsigned("GET", "/?Action=ListUsers&Version=2010-05-08", headers)

    made = signed(request, KEYS, scope, MOMENT)

    key = signing_key(KEYS.secret_key, "20150830", scope).hex()
    assert key == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
    wanted = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    assert _signature(made) == wanted


ALPHABET = "abcXYZ019-._~ !$&'()*+,;=:@%/\\\"<>|äß€語🙂\t"
SEGMENTS = ["", ".", "..", "endpoints", "a b", "ü", "%2F", "a%20b", "语", "~x", "a=b", "a:b"]


def _random_request(chance: random.Random) -> tuple[str, str, dict[str, str], bytes]:
    text = "".join(chance.choices(ALPHABET, k=chance.randint(0, 12)))
    segments = [*chance.choices(SEGMENTS, k=chance.randint(0, 5)), text]
    safe = chance.choice(["~", "~:@!$'()*+,;="])
    path = "/" + "/".join(quote(one, safe=safe) for one in segments)
    if chance.random() < 0.6:
        pairs = [
            "=".join(quote(one, safe="-_.~") for one in chance.choices(SEGMENTS, k=2))
            for _ in range(chance.randint(1, 5))
        ]
        path += "?" + "&".join([*pairs, *chance.choices(["flag", "flag=", "a=1"], k=1)])
    headers = {
        f"X-{chance.choice('abcde')}-{i}": "".join(chance.choices(' ab"c,;=', k=9)) + "z"
        for i in range(chance.randint(0, 4))
    }
    return (
        chance.choice(["GET", "POST", "PUT"]),
        path,
        headers,
        chance.randbytes(chance.randint(0, 300)),
    )


@pytest.mark.parametrize("seed", range(6))
def test_random_requests_are_signed_as_botocore_signs_them(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    for _ in range(100):
        method, path, headers, body = _random_request(chance)
        at = chance.randint(0, 2**32)
        token = chance.choice(["", "tok/en+=="])
        host = chance.choice(["runtime.sagemaker.eu-central-1.amazonaws.com", "127.0.0.1:8080"])
        scope = Scope(chance.choice(["eu-central-1", "cn-north-1"]), "sagemaker")
        headers = {"Host": host, "Content-Type": "text/csv", **headers}
        theirs = AWSRequest(method, f"https://{host}{path}", headers=dict(headers), data=body)
        moment = datetime.fromtimestamp(at, tz=UTC)
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda m=moment: m)
        oracle = botocore.auth.SigV4Auth(
            BotoCredentials("AKID", "secret", token or None), scope.service, scope.region
        )
        oracle.add_auth(theirs)

        ours = signed(
            Unsigned(method, path, headers, body), Credentials("AKID", "secret", token), scope, at
        )

        assert ours["authorization"] == theirs.headers["Authorization"], (method, path, headers)
        assert ours["x-amz-date"] == theirs.headers["X-Amz-Date"]
        assert ours.get("x-amz-security-token") == (token or None)


def test_what_proxies_change_is_not_signed() -> None:
    headers = {**HOST, "User-Agent": "x", "Expect": "100-continue", "X-Amzn-Trace-Id": "1"}

    made = signed(Unsigned("POST", "/", headers), KEYS, SCOPE, MOMENT)

    assert "SignedHeaders=host;x-amz-date," in made["authorization"]


def test_a_secret_is_not_in_what_is_printed() -> None:
    shown = repr(Credentials("AKID", "top secret", "the token"))

    assert "AKID" in shown
    assert "secret" not in shown
    assert "token" not in shown
