"""Which addresses of a peer stand in the list."""

from __future__ import annotations

import pytest

from chatnet.core.directory.listed_endpoints import listed_endpoints
from chatnet.core.records import Endpoint, endpoint


def shown(endpoints: list[Endpoint]) -> list[str]:
    return [str(e) for e in endpoints]


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "224.0.0.1", "255.255.255.255", "169.254.10.1", "::", "ff02::1", "fe80::1"]
)
def test_an_address_that_is_nobody_is_not_listed(host: str) -> None:
    assert listed_endpoints([endpoint(host, 4000)], endpoint("192.0.2.1", 1).ip) == [endpoint("192.0.2.1", 4000)]


def test_the_observed_address_comes_first_with_the_port_of_the_record() -> None:
    listed = listed_endpoints([endpoint("192.168.1.5", 4000), endpoint("fd00::5", 4001)], endpoint("8.8.8.8", 9).ip)
    assert shown(listed) == ["8.8.8.8:4000", "192.168.1.5:4000", "[fd00::5]:4001"]


def test_what_was_observed_and_claimed_stands_once() -> None:
    mapped = Endpoint(b"\0" * 10 + b"\xff\xff" + bytes([192, 168, 1, 5]), 4000)
    listed = listed_endpoints([mapped, endpoint("192.168.1.5", 4000)], endpoint("192.168.1.5", 50123).ip)
    assert shown(listed) == ["192.168.1.5:4000"]


def test_loopback_is_believed_only_of_who_came_over_it() -> None:
    claims = [endpoint("127.0.0.1", 4000), endpoint("10.0.0.2", 4000)]
    assert shown(listed_endpoints(claims, endpoint("10.0.0.2", 1).ip)) == ["10.0.0.2:4000"]
    assert shown(listed_endpoints(claims, endpoint("127.0.0.1", 1).ip)) == ["127.0.0.1:4000", "10.0.0.2:4000"]


def test_six_claims_and_the_observed_one_all_fit() -> None:
    claims = [endpoint(f"10.0.0.{n}", 4000) for n in range(1, 7)]
    assert len(listed_endpoints(claims, endpoint("8.8.8.8", 1).ip)) == 7
