"""check_url: a corpus of ways to say a private address, and of URLs that are fine."""

from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splice.core.errors import RequestError
from splice.serve.urls import check_url


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/cat.png",
        "HTTPS://Example.COM:8443/cat.png?size=1#top",
        "http://93.184.216.34/cat.png",
        "http://1572395042/",  # 93.184.216.34 as one number
        "http://[2606:4700::6810:84e5]/x",
        "https://bücher.example.com/é.png",
        "https://upload.wikimedia.org/a(b).jpg",
        "https://example.com/@user",
        "data:image/png;base64,iVBORw0KGgo=",
    ],
)
def test_a_public_url_passes(url: str) -> None:
    check_url(url, "messages[0].content[0].source.url")


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://017700000001/",
        "http://127.0.0.1./",
        "http://0/",
        "http://0.0.0.0:80/",
        "http://10.0.0.8/",
        "http://192.168.1.1/",
        "http://172.16.0.1/",
        "http://100.64.0.1/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://256.256.256.256/",
        "http://1.2.3.4.5/",
        "http://010.8.8.8/",  # 8.8.8.8 or 10.8.8.8: readers differ
        "http://%31%32%37.0.0.1/",
        "http://127%2e0%2e0%2e1/",
        "http://１２７.0.0.1/",
        "http://127。0。0。1/",
        "http://①②⑦.0.0.1/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[::ffff:93.184.216.34]/",
        "http://[0:0:0:0:0:ffff:169.254.169.254]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:7f00:1::]/",
        "http://[fe80::1%25eth0]/",
        "http://[fc00::1]/",
        "http://[fd00:ec2::254]/",
        "http://[ff02::1]/",
        "http://[::1",
        "http://localhost/",
        "http://LOCALHOST:8080/",
        "http://localhost./",
        "http://ⓛocalhost/",
        "http://a.localhost/",
        "http://metadata.google.internal/",
        "http://metadata/",
        "http://kubernetes.default.svc/",
        "http://printer.local/",
        "http://user@example.com/",
        "http://user:secret@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com@127.0.0.1/",
        "http:\\\\127.0.0.1/",
        "http:/127.0.0.1/",
        "http:127.0.0.1",
        "//127.0.0.1/",
        "http://exam\tple.com/",
        "http://127.0.0\n.1/",
        " http://example.com/",
        "http://exa mple.com/",
        "http://example.com/\u200b",
        "http://example.com\u2028/",
        "http:///etc/passwd",
        "http://?x",
        "http://:80/",
        "http://example.com:port/",
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://example.com/",
        "javascript:alert(1)",
        "s3://bucket/key",
        "unix:/var/run/docker.sock",
        "",
        "cat.png",
        "http://example.com/" + "x" * 9000,
        "http://" + "9" * 5000 + "/",
    ],
)
def test_anything_else_is_refused_by_name_and_not_repeated(url: str) -> None:
    with pytest.raises(RequestError) as raised:
        check_url(url, "messages[0].content[0].source.url")

    assert raised.value.where == "messages[0].content[0].source.url"
    assert "secret" not in str(raised.value)


SPELLINGS = st.sampled_from(["{a}.{b}.{c}.{d}", "{n}", "{n:#x}", "{a:#x}.{m}", "{a}.{b}.{l}"])


@given(
    st.sampled_from(["127.0.0.0/8", "10.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16"]),
    st.integers(0, 2**32 - 1),
    SPELLINGS,
)
def test_no_spelling_of_a_private_address_passes(network: str, offset: int, form: str) -> None:
    net = ipaddress.IPv4Network(network)
    address = net[offset % net.num_addresses]
    n = int(address)
    a, b, c, d = address.packed
    host = form.format(a=a, b=b, c=c, d=d, n=n, m=n & 0xFFFFFF, l=n & 0xFFFF)

    with pytest.raises(RequestError):
        check_url(f"http://{host}/", "url")


@given(st.text(max_size=60))
def test_no_text_makes_it_fail_otherwise(text: str) -> None:
    for url in (text, f"http://{text}", f"http://[{text}]/"):
        with contextlib.suppress(RequestError):
            check_url(url, "url")
