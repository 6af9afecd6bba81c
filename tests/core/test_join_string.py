"""Join strings, written and read."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatnet.core.identity import PeerID, key_text
from chatnet.core.join_string import join_string, parse_join_string

IDS = st.binary(min_size=32, max_size=32).map(PeerID)
ONE = PeerID(b"\1" * 32)


@given(
    st.one_of(st.ip_addresses().map(str), st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,40}[a-z0-9])?", fullmatch=True)),
    st.integers(1, 65535),
    IDS,
)
def test_join_strings_there_and_back(host: str, port: int, peer: PeerID) -> None:
    text = join_string(host, port, peer)
    assert parse_join_string(text) == (host, port, peer)
    assert parse_join_string(f"  {text}\n") == (host, port, peer)


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert join_string(str(ipaddress.ip_address("2001:db8::1")), 9900, ONE).startswith("chatnet:[2001:db8::1]:9900/")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host:9900",
        "chatnet:host:9900",
        "chatnet:host:9900/",
        f"chatnet:host:0/{key_text(ONE)}",
        f"chatnet:host:65536/{key_text(ONE)}",
        f"chatnet:host:٩٩/{key_text(ONE)}",
        f"chatnet:2001:db8::1:9900/{key_text(ONE)}",
        f"chatnet:host:9900/{key_text(ONE)[:-1]}",
        f"chatnet:ho st:9900/{key_text(ONE)}",
        f"chatnet::9900/{key_text(ONE)}",
        f"chatnet:host:9900/{key_text(ONE)}/more",
        f"http:host:9900/{key_text(ONE)}",
    ],
)
def test_texts_that_are_no_join_string(text: str) -> None:
    with pytest.raises(ValueError, match=r"join string|port|key"):
        parse_join_string(text)
