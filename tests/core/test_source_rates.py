"""How often something may come from one source."""

from __future__ import annotations

import pytest

from chatnet.core.source_rates import SourceRates


@pytest.mark.parametrize(
    ("hosts", "shares"),
    [
        (["192.0.2.1"], 1),
        (["192.0.2.1", "192.0.2.2", "192.0.2.3"], 2),
        ([f"192.0.{n}.1" for n in range(9)], 9),
        (["2001:db8::1", "2001:db8::2"], 1),
        ([f"2001:db8:0:{n:x}::1" for n in range(9)], 2),
        ([f"2001:db8:0:{n:x}00::1" for n in range(9)], 4),
    ],
)
def test_an_address_a_network_and_a_site_have_their_shares(hosts: list[str], shares: int) -> None:
    rates = SourceRates(rate_per_s=1, burst=3)
    assert sum(rates.take(host, 0.0) for host in hosts for _ in range(10)) == 3 * shares
    assert sum(rates.take(host, 2.0) for host in hosts for _ in range(10)) == 2 * shares


def test_what_is_refused_takes_nothing_and_is_counted_at_its_level() -> None:
    rates = SourceRates(rate_per_s=1, burst=1)
    assert [rates.take(f"192.0.2.{n}", 0.0) for n in (1, 1, 2, 3)] == [True, False, True, False]
    assert rates.refused == {"address": 1, "network": 1, "site": 0}
    assert rates.delay("192.0.2.3", 0.0) == pytest.approx(0.5)
    assert rates.take("192.0.2.3", 0.5)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "unix"])
def test_this_machine_is_counted_only_where_that_is_asked(host: str) -> None:
    assert all(SourceRates(1, 1).take(host, 0.0) for _ in range(9))
    assert sum(SourceRates(1, 1, count_loopback=True).take(host, 0.0) for _ in range(2)) == 2
    counted = SourceRates(1, 1, count_loopback=True)
    assert [counted.take(host, 0.0) for _ in range(2)] == [True, False]
