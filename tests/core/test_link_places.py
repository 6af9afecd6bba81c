"""Places of links: strangers share a part, somebody known gets in, and the quietest of the greediest goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatnet.core.budgets import Budget, Level, Shares
from chatnet.core.identity import PeerID
from chatnet.core.link_places import LinkPlaces, Placed

SHARES = Shares(all=6, strangers=4, key=2, address=2)
IN = Placed()


def key(number: int) -> PeerID:
    return PeerID(bytes([number]) * 32)


class Hall:
    """Places in which the keys of ``known`` are known."""

    def __init__(self, shares: Shares = SHARES) -> None:
        self.known: set[PeerID] = set()
        self.budget = Budget(shares)
        self.places = LinkPlaces(self.budget, self.known.__contains__)

    def come(self, number: int, host: str = "", now: float = 0.0) -> Placed:
        """A link of a key of its own; by default from an address and network of its own."""
        return self.places.admit(number, key(number), host or f"10.{number}.0.1", now)

    def befriend(self, *numbers: int) -> None:
        self.known.update(map(key, numbers))


def test_strangers_have_a_part_of_the_places_and_an_address_its_share() -> None:
    hall = Hall()
    assert [hall.come(n, "192.0.2.1") for n in range(2)] == [IN, IN]
    assert hall.come(2, "192.0.2.1") == Placed(refused=Level.ADDRESS)
    assert [hall.come(n, "192.0.2.2") for n in (3, 4)] == [IN, IN]
    assert len(hall.places) == 4
    assert hall.budget.refused["address"] == 1


def test_a_network_has_twice_the_share_of_an_address() -> None:
    hall = Hall(SHARES._replace(all=100, strangers=100))
    assert [hall.come(n, f"192.0.2.{n}").refused for n in range(5)] == [None] * 4 + [Level.NETWORK]


def test_when_all_are_taken_the_quietest_link_of_the_greediest_address_goes() -> None:
    hall = Hall()
    for number, host in enumerate(["192.0.2.1", "198.51.100.1", "192.0.2.1", "203.0.113.1"]):
        assert hall.come(number, host, now=number) == IN
    hall.places.heard(0, 9.0)
    assert hall.come(4, now=10.0) == Placed(evicted=2)
    assert len(hall.places) == 4


def test_a_newcomer_whose_address_holds_as_much_displaces_nobody() -> None:
    hall = Hall()
    for number, host in enumerate(["192.0.2.1", "192.0.2.1", "198.51.100.1", "198.51.100.1"]):
        hall.come(number, host)
    assert hall.come(4, "192.0.2.1") == Placed(refused=Level.STRANGERS)
    assert len(hall.places) == 4


def test_nobody_goes_for_a_newcomer_whose_network_is_full() -> None:
    hall = Hall(SHARES._replace(strangers=4, address=1))
    for number, host in enumerate(["192.0.2.1", "192.0.2.2", "198.51.100.1", "203.0.113.1"]):
        assert hall.come(number, host) == IN
    assert hall.come(4, "192.0.2.3").evicted is None
    assert len(hall.places) == 4


def test_somebody_known_gets_in_as_long_as_a_stranger_holds_a_place() -> None:
    hall = Hall()
    hall.befriend(*range(10, 20))
    for number in range(4):
        hall.come(number, now=number)
    hall.places.heard(0, 5.0)
    assert [hall.come(number) for number in (10, 11)] == [IN, IN]
    assert [hall.come(number).evicted for number in (12, 13, 14, 15)] == [1, 2, 3, 0]
    assert hall.come(16) == Placed(refused=Level.ALL)
    assert len(hall.places) == SHARES.all


def test_strangers_never_take_a_place_of_somebody_known() -> None:
    hall = Hall()
    hall.befriend(*range(10, 16))
    for number in range(10, 16):
        assert hall.come(number) == IN
    assert hall.come(1) == Placed(refused=Level.ALL)


def test_who_became_known_since_is_no_stranger_any_more() -> None:
    hall = Hall()
    for number in range(4):
        hall.come(number, now=number)
    hall.befriend(0)
    assert hall.come(4, now=9.0) == IN  # one place of strangers is free
    assert hall.come(5, now=9.0) == Placed(evicted=1)  # and the first one stays


def test_a_key_has_two_places_whoever_it_is() -> None:
    hall = Hall()
    hall.befriend(1)
    assert [hall.places.admit(n, key(1), "192.0.2.1", 0.0) for n in "ab"] == [IN, IN]
    assert hall.places.admit("c", key(1), "192.0.2.1", 0.0) == Placed(refused=Level.KEY)
    hall.places.release("a")
    assert hall.places.admit("c", key(1), "192.0.2.1", 0.0) == IN


def test_a_link_that_we_dialled_is_counted_and_never_refused() -> None:
    hall = Hall()
    for number in range(8):
        hall.places.hold(number, key(number), f"10.{number}.0.1", 0.0)
    assert hall.come(9) == Placed(evicted=0)
    hall.places.release("never there")


@given(
    st.lists(
        st.tuples(st.sampled_from(["come", "end", "befriend"]), st.integers(0, 11), st.integers(0, 3)), max_size=80
    )
)
def test_the_sums_hold_whatever_comes_and_goes(steps: list[tuple[str, int, int]]) -> None:
    hall, inside = Hall(), set[int]()
    for now, (what, number, network) in enumerate(steps):
        if what == "come" and number not in inside:
            placed = hall.come(number, f"10.{network}.0.{number % 2}", now)
            if placed.refused is None:
                inside = inside - {placed.evicted} | {number}  # type: ignore[assignment]
        elif what == "end":
            hall.places.release(number)
            inside.discard(number)
        elif what == "befriend":
            hall.befriend(number)
        assert len(hall.places) == len(inside) == hall.budget.held() <= SHARES.all
        assert hall.budget.held(Level.STRANGERS) <= SHARES.strangers
        assert hall.budget.fullest(Level.ADDRESS) <= SHARES.address
    for number in tuple(inside):
        hall.places.release(number)
    assert hall.budget.held() == 0
