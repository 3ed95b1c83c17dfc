"""Who may ask: every way to show a key that is none, and what the good ones open."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splice.core.access import ANYONE, Key, Principal, key_digest, key_token
from splice.core.errors import NotAllowed, UnknownKey
from splice.engine.keyring import Keyring, Mode, may_call, may_name

PEPPER = b"pepper"
HERE = "10.1.2.3"


class Clock:
    now = 1_000_000

    def __call__(self) -> int:
        return self.now


def made(key_id: str = "k1", **fields: object) -> tuple[Key, str]:
    """A key and its token."""
    token = key_token(key_id, secrets.token_urlsafe(32))
    return Key(id=key_id, name=key_id, digest=key_digest(token, PEPPER), **fields), token


def ring_of(*keys: Key, mode: Mode = "auto", clock: Clock | None = None) -> Keyring:
    ring = Keyring(mode=mode, pepper=PEPPER, clock=clock or Clock())
    ring.replace(keys)
    return ring


def refusal(ring: Keyring, token: str, address: str = HERE) -> str:
    with pytest.raises(UnknownKey) as caught:
        ring.principal(token, address)
    return str(caught.value)


def test_a_key_says_who_asks() -> None:
    plain, plain_token = made("plain")
    own, own_token = made("own", team="growth", tenant="acme")
    shared, shared_token = made("shared", team="growth")
    ring = ring_of(plain, own, shared)

    who = [ring.principal(one, HERE) for one in (plain_token, own_token, shared_token)]

    assert who == [
        Principal("key:plain", "key:plain", "", plain, "plain"),
        Principal("key:own", "acme", "growth", own, "own"),
        Principal("key:shared", "growth", "growth", shared, "shared"),
    ]
    assert ring.principal(own_token, HERE) is who[1]


def test_every_wrong_token_gets_the_same_words() -> None:
    key, token = made()
    ring = ring_of(key)
    head, secret = token[: -len("x") * 43], token[-43:]
    flipped = "A" if secret[0] != "A" else "B"
    wrong = [
        head + flipped + secret[1:],
        head + secret[:-1],
        token + "A",
        token + "\n",
        " " + token,
        token.upper(),
        token.replace("k1", "k2"),
        token.replace("k1", ""),
        token.replace("sk-", "pk-"),
        key.digest,
        key_token("k1", key.digest[:43]),
        token[:-1] + "é",
        token[:-1] + "\ud800",
        "\0" * 60,
        "sk-splice-",
        "x" * 5_000_000,
    ]

    said = {refusal(ring, one) for one in wrong}

    assert len(said) == 1
    assert "k1" not in said.pop()
    assert ring.principal(token, HERE).key is key


@given(st.text(st.characters(), max_size=100))
def test_no_text_is_a_token_by_chance_and_none_breaks_anything(text: str) -> None:
    key, _ = made()
    ring = ring_of(key)

    assert refusal(ring, text)


@given(st.binary(max_size=600))
def test_no_bytes_of_a_header_are_a_token_by_chance(raw: bytes) -> None:
    key, _ = made()
    ring = ring_of(key)

    assert refusal(ring, raw.decode("latin-1"))


def test_a_missing_key_is_told_where_to_put_one() -> None:
    key, _ = made()

    said = refusal(ring_of(key), "")

    assert "no API key" in said
    assert "Authorization: Bearer" in said


def test_the_pepper_belongs_to_the_secret() -> None:
    key, token = made()
    ring = Keyring(mode="required", pepper=b"another")
    ring.replace([key])

    refusal(ring, token)


def test_an_empty_pepper_will_do() -> None:
    token = key_token("k1", secrets.token_urlsafe(32))
    ring = Keyring(mode="required")
    ring.replace([Key("k1", "k1", key_digest(token, b""))])

    assert ring.principal(token, HERE).caller == "key:k1"


def test_a_key_ends_at_its_moment_also_while_it_is_remembered() -> None:
    clock = Clock()
    key, token = made(expires_us=2_000_000)
    ring = ring_of(key, clock=clock)

    clock.now = 1_999_999
    assert ring.principal(token, HERE).key is key
    clock.now = 2_000_000
    assert "expired" in refusal(ring, token)


def test_a_revoked_key_says_so_only_to_who_has_its_secret() -> None:
    key, token = made(revoked_us=5)
    ring = ring_of(key)

    assert "revoked" in refusal(ring, token)
    assert "revoked" not in refusal(ring, token[:-2] + "zz")


def test_a_key_that_is_revoked_or_changed_is_forgotten_at_once() -> None:
    key, token = made()
    ring = ring_of(key)
    assert ring.principal(token, HERE).key is key

    ring.replace([Key(key.id, key.name, key.digest, revoked_us=7)])
    assert "revoked" in refusal(ring, token)
    changed = Key(key.id, key.name, key.digest, team="other")
    ring.replace([changed])
    assert ring.principal(token, HERE).team == "other"
    ring.replace([Key(key.id, key.name, key_digest("another", PEPPER))])
    refusal(ring, token)


def test_the_same_keys_again_forget_nothing() -> None:
    key, token = made(team="a")
    ring = ring_of(key)
    before = ring.principal(token, HERE)

    ring.replace([Key(key.id, key.name, key.digest, team="a")])

    assert ring.principal(token, HERE) is before


@pytest.mark.parametrize(
    ("networks", "address", "allowed"),
    [
        (("10.0.0.0/8",), "10.255.0.1", True),
        (("10.0.0.0/8",), "11.0.0.1", False),
        (("10.0.0.0/8", "192.168.1.7"), "192.168.1.7", True),
        (("10.0.0.0/8",), "::ffff:10.0.0.1", True),
        (("2001:db8::/32",), "2001:db8::1", True),
        (("2001:db8::/32",), "10.0.0.1", False),
        (("0.0.0.0/0",), "::1", False),
        (("10.0.0.0/8",), "", False),
        (("10.0.0.0/8",), "unix", False),
        (("10.0.0.0/8",), "10.0.0.1, 8.8.8.8", False),
        (("nonsense",), "10.0.0.1", False),
    ],
)
def test_a_key_opens_only_from_its_networks(
    networks: tuple[str, ...], address: str, allowed: bool
) -> None:
    key, token = made(addresses=networks)
    ring = ring_of(key)

    for _ in range(2):  # also while it is remembered
        if allowed:
            assert ring.principal(token, address).key is key
        else:
            assert "a call from" in refusal(ring, token, address)


def test_one_allowed_address_does_not_open_for_another() -> None:
    key, token = made(addresses=("10.0.0.0/8",))
    ring = ring_of(key)

    for last in range(200):
        assert ring.principal(token, f"10.0.0.{last}").key is key
        refusal(ring, token, f"11.0.0.{last}")


def test_auto_asks_as_soon_as_a_key_was_ever_made() -> None:
    key, token = made()
    ring = ring_of()

    assert ring.principal("", HERE) is ANYONE
    assert ring.principal("sk-whatever-a-client-sends", HERE) is ANYONE
    ring.replace([key])
    refusal(ring, "")
    ring.replace([Key(key.id, key.name, key.digest, revoked_us=1)])
    refusal(ring, "")
    refusal(ring, token)


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_nobody_gets_in_before_the_ledger_was_read(mode: Mode) -> None:
    ring = Keyring(mode=mode, pepper=PEPPER)

    assert ring.required
    refusal(ring, "")


def test_required_asks_though_there_is_no_key() -> None:
    refusal(ring_of(mode="required"), "")


def test_open_takes_anybody_but_knows_a_good_key() -> None:
    clock = Clock()
    good, good_token = made("good", addresses=("10.0.0.0/8",), expires_us=2_000_000)
    revoked, revoked_token = made("revoked", revoked_us=1)
    ring = ring_of(good, revoked, mode="open", clock=clock)

    assert ring.principal(good_token, HERE).key is good
    for token in ("", "nonsense", revoked_token):
        assert ring.principal(token, HERE) is ANYONE
    assert ring.principal(good_token, "11.0.0.1") is ANYONE
    clock.now = 3_000_000
    assert ring.principal(good_token, HERE) is ANYONE


def test_what_is_remembered_is_bounded_and_holds_no_secret() -> None:
    made_keys = [made(f"k{number}") for number in range(5000)]
    ring = ring_of(*(key for key, _ in made_keys))

    for _, token in made_keys:
        ring.principal(token, HERE)

    assert 0 < len(ring._known) <= 4096
    assert not any(token.encode() in ring._known for _, token in made_keys)
    assert made_keys[-1][1] not in repr(vars(ring))


def test_no_error_shows_a_token() -> None:
    key, token = made(expires_us=1)
    ring = ring_of(key)
    secret = token[-43:]

    assert secret not in refusal(ring, token)
    assert secret not in refusal(ring, token[:-1] + "_")


def test_a_key_reaches_the_integrations_and_models_that_it_names() -> None:
    key, _ = made(integrations=("triage", "credit-*"), models=("openai/gpt-?",))
    who = Principal("key:k1", "t", "", key)

    may_call(who, "triage")
    may_call(who, "credit-eu")
    may_name(who, "openai/gpt-5")
    may_call(ANYONE, "anything")
    may_name(ANYONE, "anything/at-all")
    for wrong in ("triage2", "Triage", "credit", ""):
        with pytest.raises(NotAllowed, match="credit-"):
            may_call(who, wrong)
    for wrong in ("openai/gpt-55", "azure/gpt-5", "x/openai/gpt-5"):
        with pytest.raises(NotAllowed, match="may not name"):
            may_name(who, wrong)


def test_a_key_reads_its_own_calls_and_those_of_its_tenant_within_what_it_may_call() -> None:
    mine, token = made("k1", tenant="shop", integrations=("talk",))
    mate, _ = made("k2", tenant="shop")
    stranger, _ = made("k3", tenant="bank")
    ring = ring_of(mine, mate, stranger)
    me = ring.principal(token, HERE)

    assert ring.may_read(me, "talk", "key:k1")
    assert ring.may_read(me, "talk", "key:k2")
    assert not ring.may_read(me, "talk", "key:k3")
    assert not ring.may_read(me, "talk", "")
    assert not ring.may_read(me, "talk", "key:gone")
    assert not ring.may_read(me, "other", "key:k1")
    assert ring.may_read(ANYONE, "other", "key:k3")
