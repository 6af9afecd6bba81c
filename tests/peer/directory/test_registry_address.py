"""The registry's address, as people write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatnet.core.identity import PeerID
from chatnet.core.join_string import join_string
from chatnet.peer.directory.registry_address import RegistryAddress, parse_registry_address

KEY = PeerID(bytes(range(32)))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (join_string("lan.example", 9900, KEY), RegistryAddress("lan.example", 9900, KEY)),
        (join_string("fd00::20", 1, KEY), RegistryAddress("fd00::20", 1, KEY)),
        ("tcp:lan.example:9901", RegistryAddress("lan.example", 9901)),
        ("tcp:host=10.0.0.1:port=9901", RegistryAddress("10.0.0.1", 9901)),
        ("tcp:port=9901:host=\\:\\:1", RegistryAddress("::1", 9901)),
        ("127.0.0.1:9900", RegistryAddress("127.0.0.1", 9900)),
        ("lan", RegistryAddress("lan", 9900)),
        ("[::1]:77", RegistryAddress("::1", 77)),
        ("[fd00:0::1]", RegistryAddress("fd00::1", 9900)),
        ("  tcp:lan:1 \n", RegistryAddress("lan", 1)),
    ],
)
def test_good_addresses(text: str, address: RegistryAddress) -> None:
    assert parse_registry_address(text) == address
    assert parse_registry_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "tcp:",
        "tcp:lan",
        "tcp:lan:x",
        "tcp:lan:0",
        "tcp:lan:65536",
        "tcp:lan:1:timeout=3",
        "tcp:lan:1:2",
        "lan:9900:1",
        "::1",
        "a b:1",
        "-x:1",
        "lan:٣",
        "[lan]:1",
        "onion:abc.onion:80",
        "chatnet:lan:9900",
        "chatnet:lan:9900/SHORT",
        "chatnet:lan:99999/" + "A" * 52,
    ],
)
def test_bad_addresses(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_registry_address(text)


def test_the_words_are_clean() -> None:
    with pytest.raises(ValueError, match=r"^'a\ufffd\[2J b' is no registry\. Give the join string") as caught:
        parse_registry_address("a\x1b[2J b")
    assert "\x1b" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        address = parse_registry_address(text)
    except ValueError:
        return
    assert 1 <= address.port <= 65_535
    assert not set(address.host) & set(" \t\n\x1b/[]")


def test_shown() -> None:
    assert RegistryAddress("::1", 5).shown == "[::1]:5"
    assert RegistryAddress("lan", 5, KEY).shown == "lan:5"
