"""Every kind of message over the transport of production: TLS on real sockets (``chatnet.net.transport``).

The other tests of the village carry their bytes in memory, where Twisted's TLS stands in for ours.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.protocols.tls import TLSMemoryBIOProtocol

from chatnet.core.events import MessageState, RegistryPhase, TransferState
from chatnet.core.identity import conversation_of
from chatnet.core.limits import PeerLimits
from chatnet.core.messages import DialMe, Lookup, Message, Pong, Resume, Say
from chatnet.core.records import endpoint
from chatnet.core.roles import DECODERS, EVERY_LINK, Decoder
from chatnet.net.interfaces import own_addresses
from chatnet.net.link import Link
from chatnet.net.transport import SocketTLS
from chatnet.peer import node
from chatnet.peer.files.source import Source
from tests.support.village import PEER_PORT, Village, Villager
from tests.village.test_files import content, is_in, made, offered, running

ANYWHERE = ""  # in place of a decoder's name: on a link of whatever role

# What must be decoded: the kinds of each decoder, and those of every link wherever they come.
ALL_KINDS = {(one.name, kind) for one in DECODERS.values() for kind in one.kinds if kind not in EVERY_LINK} | {
    (ANYWHERE, kind) for kind in EVERY_LINK
}


class Traffic:
    """What was decoded, and on which transports."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kinds: Counter[tuple[str, type[Message]]] = Counter()
        self.on_sockets = 0  # connections that SocketTLS has carried
        self.in_memory = 0  # connections that Twisted's TLS has carried
        decode, begin, make = Decoder.decode, SocketTLS.begin, TLSMemoryBIOProtocol.makeConnection

        def decoded(decoder: Decoder, body: bytes) -> Message:
            message = decode(decoder, body)
            self.kinds[ANYWHERE if type(message) in EVERY_LINK else decoder.name, type(message)] += 1
            return message

        def begun(transport: SocketTLS, dialled: bool) -> None:
            self.on_sockets += 1
            begin(transport, dialled)

        def made_in_memory(protocol: TLSMemoryBIOProtocol, transport: object) -> None:
            self.in_memory += 1
            make(protocol, transport)

        monkeypatch.setattr(Decoder, "decode", decoded)
        monkeypatch.setattr(SocketTLS, "begin", begun)
        monkeypatch.setattr(TLSMemoryBIOProtocol, "makeConnection", made_in_memory)

    def count(self, kind: type[Message]) -> int:
        """How many of one kind were decoded by anybody."""
        return sum(number for (_, one), number in self.kinds.items() if one is kind)


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Traffic:
    return Traffic(monkeypatch)


@pytest_twisted.async_yield_fixture
async def village(tmp_path: Path) -> AsyncIterator[Village]:
    """As everywhere in the village, with sockets for its lines."""
    from twisted.internet import reactor

    village = Village(reactor, tmp_path, sockets=True)
    village.open_registry()
    yield village
    await village.close()


def chat_link(one: Villager, other: Villager) -> Link:
    return one.node.links.links[other.peer]


# --- one story for some kinds each -----------------------------------------------------------------


async def talk_to_the_registry(village: Village, ann: Villager, bob: Villager, patch: pytest.MonkeyPatch) -> None:
    """ANNOUNCE when an address comes; LOOKUP by hand, since no peer of today asks."""
    added, published, present = endpoint("127.0.0.77", PEER_PORT), node.published_endpoints, own_addresses()
    with patch.context() as inner:
        inner.setattr(node, "published_endpoints", lambda bound: [*published(bound), added])
        inner.setattr(ann.node.address_watch, "_read", lambda: present | {("127.0.0.77", 8)})
        await village.until(lambda: added in bob.node.roster.entries[ann.peer].endpoints, within=20)
    link = ann.node.registration.link
    assert link is not None
    link.send(Lookup(bob.peer))


async def talk(village: Village, ann: Villager, bob: Villager, traffic: Traffic) -> None:
    """SAY and ACK both ways, NACK for another conversation, PING and PONG, the steps of a CHECK."""
    for one, other in ((ann, bob), (bob, ann)):
        await village.done(one.door.say(other.chat, f"I am {one.name}"))
        await village.until(lambda one=one, other=other: one.states(other.peer)[-1:] == [MessageState.DELIVERED])
    assert ann.texts(bob.peer) == bob.texts(ann.peer) == ["I am ann", "I am bob"]
    chat_link(ann, bob).send(Say(conversation_of(ann.peer, ann.peer), os.urandom(16), 0, "to another"))
    pongs = traffic.count(Pong)
    chat_link(ann, bob).ping()
    await village.until(lambda: traffic.count(Pong) > pongs)
    code = await village.done(ann.door.check_live(bob.peer))
    await village.until(lambda: bob.codes)
    assert bob.codes[0].code == code


async def send_files(village: Village, ann: Villager, bob: Villager) -> None:
    """OFFER, OFFER-REST, ACCEPT, FILE, END and VERIFIED, in both directions; VERIFIED again for who asks later."""
    for one, other in ((ann, bob), (bob, ann)):
        path = made(village, f"of-{one.name}.bin", 3_000_000)
        (village.directory / f"to-{other.name}" / "empty").mkdir(parents=True)
        fid = await offered(village, one, other, path, os.fsencode(village.directory / f"to-{other.name}"))
        await village.done(other.door.accept(fid))
        await village.until(lambda fid=fid: is_in(TransferState.DONE, fid, ann, bob), within=60)
        assert (other.roots.downloads / one.name / f"to-{other.name}" / "empty").is_dir()
        saved = other.roots.downloads / one.name / f"of-{one.name}.bin"
        assert saved.read_bytes() == content(path)
        chat_link(one, other).send(Resume(fid))


async def end_offers(village: Village, ann: Villager, bob: Villager) -> None:
    """DECLINE before it begins, PAUSE, RESUME and CANCEL under way."""
    refused = await offered(village, ann, bob, made(village, "refused.txt", 10))
    await village.done(bob.door.refuse(refused))
    await village.until(lambda: is_in(TransferState.DECLINED, refused, ann, bob))
    fid = await running(village, ann, bob)
    await village.done(bob.door.pause(fid))
    await village.until(lambda: is_in(TransferState.PAUSED, fid, ann, bob))
    await village.done(bob.door.resume(fid))
    await village.until(lambda: is_in(TransferState.RUNNING, fid, ann, bob))
    await village.done(ann.door.cancel(fid))
    await village.until(lambda: is_in(TransferState.CANCELLED, fid, ann, bob))


async def leave_files_out(village: Village, ann: Villager, bob: Villager, patch: pytest.MonkeyPatch) -> None:
    """SKIP for a file that is gone when it is wanted, REJECT for one that is not what its digest says."""
    paths = made(village, "stays.txt", 10), made(village, "goes.txt", 10)
    fid = await offered(village, ann, bob, *paths)
    os.unlink(paths[1])
    await village.done(bob.door.accept(fid))
    await village.until(lambda: all(one.transfers[fid].state.ended for one in (ann, bob)), within=60)
    assert (bob.roots.downloads / "ann" / "stays.txt").stat().st_size == 10
    with patch.context() as inner:
        inner.setattr(Source, "finish", lambda source: bytes(32))
        fid = await offered(village, ann, bob, made(village, "wrong.txt", 10))
        await village.done(bob.door.accept(fid))
        await village.until(lambda: is_in(TransferState.FAILED, fid, ann, bob), within=60)
    assert not (bob.roots.downloads / "ann" / "wrong.txt").exists()


async def be_dialled(village: Village, ann: Villager, bob: Villager, traffic: Traffic) -> None:
    """DIALME from a sender that cannot dial."""
    door = village.net.ports.pop((bob.machine.host, PEER_PORT))
    fid = await offered(village, ann, bob, made(village, "fetched.bin", 100_000))
    await village.done(bob.door.accept(fid))
    await village.until(lambda: is_in(TransferState.DONE, fid, ann, bob), within=60)
    assert traffic.count(DialMe) == 1
    village.net.ports[bob.machine.host, PEER_PORT] = door


async def be_refused(village: Village) -> None:
    """ERROR for who wants a name that is another's."""
    other = village.villager("bob", place="other").start()
    await village.until(lambda: other.phase is RegistryPhase.REFUSED)
    await other.stop()


@pytest_twisted.ensureDeferred
async def test_every_kind_of_message_crosses_a_socket(
    village: Village, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = await village.people("ann", "bob")  # HELLO, WELCOME and LIST
    await talk_to_the_registry(village, ann, bob, monkeypatch)
    await talk(village, ann, bob, traffic)
    await send_files(village, ann, bob)
    await end_offers(village, ann, bob)
    await leave_files_out(village, ann, bob, monkeypatch)
    await be_dialled(village, ann, bob, traffic)
    await be_refused(village)
    links = [*ann.node.links.links.values(), *bob.node.links.links.values()]
    assert [type(link.transport) for link in links] == [SocketTLS] * 2
    await bob.stop()  # BYE
    await village.until(lambda: ann.online == set())
    await village.settle()
    missing = sorted(f"{kind.__name__} by {name or 'any decoder'}" for name, kind in ALL_KINDS - traffic.kinds.keys())
    assert not missing, f"these kinds crossed no socket: {', '.join(missing)}"
    assert (traffic.on_sockets > 0, traffic.in_memory) == (True, 0)


# --- what the village does to its lines holds for sockets too ---------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_cut_closes_both_sockets_and_the_file_goes_on_over_others(village: Village, traffic: Traffic) -> None:
    ann, bob = await village.people("ann", "bob")
    fid = await running(village, ann, bob)
    before, cut = traffic.on_sockets, village.net.lines(ann.machine.host, bob.machine.host)
    village.net.cut(ann.machine.host, bob.machine.host)
    await village.until(lambda: is_in(TransferState.BROKEN, fid, ann, bob))
    await village.until(lambda: all(end.over and end.other.over for end in cut))
    await village.until(lambda: is_in(TransferState.DONE, fid, ann, bob), within=120)
    assert (bob.roots.downloads / "ann" / "large.bin").read_bytes() == (village.directory / "large.bin").read_bytes()
    assert traffic.on_sockets > before
    assert traffic.in_memory == 0


@pytest.mark.parametrize("way", ["frozen", "unplugged"])
@pytest_twisted.ensureDeferred
async def test_a_machine_that_is_out_of_reach_hears_nothing_and_then_all(village: Village, way: str) -> None:
    ann, bob = await village.people("ann", "bob")
    await village.done(ann.door.say(bob.chat, "before"))
    await village.until(lambda: ann.states(bob.peer) == [MessageState.DELIVERED])
    link, host = chat_link(ann, bob), bob.machine.host
    if way == "frozen":
        village.freeze(bob)
    else:
        village.net.unplug(host)
    await village.done(ann.door.say(bob.chat, "meanwhile"))
    await village.pass_time(PeerLimits().silence_seconds + 10)
    assert bob.texts(ann.peer) == ["before"]
    assert not link.is_open  # the silence was heard, by the village's clock
    if way == "frozen":
        village.thaw(host)
    else:
        village.net.replug(host)
    await village.until(lambda: ann.states(bob.peer) == [MessageState.DELIVERED] * 2, within=120)
    assert bob.texts(ann.peer) == ["before", "meanwhile"]
