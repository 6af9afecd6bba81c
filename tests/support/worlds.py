"""Two worlds for the contract of the peer's API: carol, and what happens around her because a test says so.

In one she is the real service among real others, in memory; in the other the scripted peer of the console's tests.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol, TypeVar, cast
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from chatnet.core import messages
from chatnet.core.errors import CannotListen, ChatnetError, LocalError, Refused, StoreFailed, WrongKey
from chatnet.core.events import CodeReady, RegistryPhase, TransferState
from chatnet.core.identity import ChatID, PeerID, chat_with
from chatnet.core.messages import ListEntry, ListPage
from chatnet.core.records import endpoint
from chatnet.host.paths import ProfilePaths
from chatnet.net.identity import load_or_make_identity
from chatnet.peer.api import PeerApi
from chatnet.peer.files import download
from chatnet.peer.files.filesystem import Filesystem
from tests.support.contract import Recorder
from tests.support.links import new_identity
from tests.support.scripted_peer import ScriptedPeer, key_of, somebody
from tests.support.shortage import no_descriptors
from tests.support.village import PEER_PORT, REGISTRY_HOST, REGISTRY_PORT, Village, Villager

T = TypeVar("T")

REGISTRY = f"tcp:{REGISTRY_HOST}:{REGISTRY_PORT}"
MIB = 1_048_576


class World(Protocol):
    """What a case of the contract may use; ``log_in`` is the first of it."""

    directory: Path  # for files of the test
    recorder: Recorder

    @property
    def api(self) -> PeerApi:
        """Carol's."""

    async def done(self, work: Deferred[T]) -> T:
        """The result of a call, when time has passed for it."""

    async def until(self, condition: Callable[[], Any], within: float = 30.0) -> None:
        """Let time pass, at most ``within`` seconds, until ``condition``."""

    async def settle(self, seconds: int = 1) -> None:
        """Let time pass, and what is due until then happen."""

    async def close(self) -> None:
        """Nothing is left."""

    # --- what others do ---

    async def meet(self, name: str = "bob") -> ChatID:
        """Somebody comes whom carol has not known; the chat with them."""

    async def talked(self, name: str = "bob") -> ChatID:
        """The same, and carol has written to them."""

    async def leaves(self, chat: ChatID) -> None:
        """They quit, and carol knows."""

    async def says(self, chat: ChatID, text: str) -> None:
        """They write, and it has arrived."""

    async def offers(self, chat: ChatID, name: str, size: int) -> bytes:
        """They offer a file, and it has arrived; its fid."""

    async def offers_in_vain(self, chat: ChatID, name: str) -> None:
        """They offer a file, and are refused at once."""

    async def answers(self, chat: ChatID, fid: bytes, accept: bool) -> None:
        """They accept or refuse what carol has offered."""

    async def pauses(self, chat: ChatID, fid: bytes) -> None:
        """They pause a transfer, and carol knows."""

    async def asks_for_code(self, chat: ChatID) -> str:
        """They begin a short code, and both have it."""

    async def blocks(self, chat: ChatID) -> None:
        """They take nothing of carol from now on."""

    async def another_key(self, chat: ChatID) -> PeerID:
        """Another key uses their name; carol has written to them before."""

    async def stranger(self, text: str) -> ChatID:
        """Somebody writes who stands in no list, and it has arrived."""

    async def names_taken(self, name: str) -> None:
        """The registry gives this name to nobody else any more."""

    async def registry_goes(self) -> None:
        """It is lost, and carol knows."""

    async def registry_comes(self) -> None:
        """It could be reached again; nobody has tried."""

    async def disk(self, full: bool) -> None:
        """What carol stores is not taken from now on, or is again; in the second case she knows."""

    def ends(self) -> int:
        """How often the program was told to end."""

    def hindered(self, code: str) -> AbstractContextManager[Any]:
        """Within it, machine or network are so that the next call fails with ``code``."""


class VillageWorld:
    """See the module.  ``village`` belongs to who gives it."""

    def __init__(self, village: Village) -> None:
        self.directory = village.directory
        self._village = village
        self._others: dict[bytes, Villager] = {}
        self._lock: sqlite3.Connection | None = None
        self._carol = village.villager("carol").start(log_in=False)
        self.recorder = Recorder(self._carol.door)

    @property
    def api(self) -> PeerApi:
        return self.recorder.api

    async def done(self, work: Deferred[T]) -> T:
        outcome: list[Any] = []
        work.addBoth(outcome.append)
        await self._village.until(lambda: outcome, within=120.0, step=0.1)
        settled: Deferred[T] = Deferred()
        settled.callback(outcome[0])
        return await settled

    async def until(self, condition: Callable[[], Any], within: float = 30.0) -> None:
        await self._village.until(condition, within=within)

    async def settle(self, seconds: int = 1) -> None:
        await self._village.pass_time(seconds)

    async def close(self) -> None:
        if self._lock is not None:
            self._lock.close()
        self.recorder.subscription.cancel()

    async def meet(self, name: str = "bob") -> ChatID:
        other = self._village.villager(name).start()
        await self.until(lambda: other.has_begun and other.node.is_open and other.peer in self.recorder.picture.people)
        await self.until(lambda: "carol" in other.online)
        self._others[other.peer] = other
        return other.chat

    async def talked(self, name: str = "bob") -> ChatID:
        chat = await self.meet(name)
        await self.done(self._carol.door.say(chat, "we have talked"))
        await self.until(lambda: self._others[chat].texts(self._carol.peer) == ["we have talked"])
        await self._village.pass_time(6)  # the registry has proven their address, and says nothing more of itself
        return chat

    async def leaves(self, chat: ChatID) -> None:
        await self._others[chat].stop()
        people = self.recorder.picture.people
        await self.until(lambda: chat not in people or not people[chat].online)

    async def says(self, chat: ChatID, text: str) -> None:
        await self.done(self._others[chat].door.say(self._carol.chat, text))
        rows = self.recorder.picture.rows
        await self.until(lambda: any(row.body == text and row.chat == chat for row in rows.values()))

    async def offers(self, chat: ChatID, name: str, size: int) -> bytes:
        fid = await self._offered(chat, name, size)
        await self.until(lambda: fid in self.recorder.picture.transfers)
        return fid

    async def offers_in_vain(self, chat: ChatID, name: str) -> None:
        fid = await self._offered(chat, name, 100)
        await self.until(lambda: self._others[chat].transfers[fid].state is TransferState.DECLINED)

    async def _offered(self, chat: ChatID, name: str, size: int) -> bytes:
        path = self.directory / "theirs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * size)
        offer = await self.done(self._others[chat].door.offer(self._carol.chat, (os.fsencode(path),)))
        return offer.fid

    async def answers(self, chat: ChatID, fid: bytes, accept: bool) -> None:
        other = self._others[chat]
        await self.until(lambda: fid in other.transfers)
        await self.done(other.door.accept(fid) if accept else other.door.refuse(fid))

    async def pauses(self, chat: ChatID, fid: bytes) -> None:
        await self.done(self._others[chat].door.pause(fid))
        await self.until(lambda: self.recorder.picture.transfers[fid].state is TransferState.PAUSED)

    async def asks_for_code(self, chat: ChatID) -> str:
        code = await self.done(self._others[chat].door.check_live(self._carol.peer))
        await self.until(lambda: self.recorder.picture.codes)
        return code

    async def blocks(self, chat: ChatID) -> None:
        await self.done(self._others[chat].door.block(self._carol.peer, True))

    async def another_key(self, chat: ChatID) -> PeerID:
        key = new_identity().peer_id
        self._push(ListEntry(key, self._others[chat].name, [endpoint("127.0.0.99", PEER_PORT)], 2**40))
        await self.until(lambda: self.recorder.picture.people[chat].new_key == key)
        return key

    async def stranger(self, text: str) -> ChatID:
        eve = await self._village.stranger("eve", self._carol)
        await self.done(eve.door.say(self._carol.chat, text))
        await self.until(lambda: any(request.peer == eve.peer for request in self.recorder.picture.requests))
        self._others[eve.peer] = eve
        return eve.chat

    async def names_taken(self, name: str) -> None:
        other = self._village.villager(name, place="elsewhere").start()
        await self.until(lambda: other.phase is RegistryPhase.UP)

    async def registry_goes(self) -> None:
        await self._village.shut_registry()
        await self.until(lambda: self.recorder.picture.registry.phase is RegistryPhase.LOST)

    async def registry_comes(self) -> None:
        self._village.open_registry()
        await self._village.settle()

    async def disk(self, full: bool) -> None:
        if full:
            database = self._carol.node.store._database
            await self.done(database.read(lambda connection: connection.execute("PRAGMA busy_timeout = 10").fetchall()))
            self._lock = sqlite3.connect(self._carol.roots.of("carol").database)
            self._lock.execute("BEGIN IMMEDIATE")  # nobody else can write
        elif self._lock is not None:
            self._lock.rollback()
            self._lock.close()
            self._lock = None
            await self.until(lambda: not self.recorder.picture.store_trouble)

    def ends(self) -> int:
        return self._carol.machine.stops

    def hindered(self, code: str) -> AbstractContextManager[Any]:
        places = self._carol.roots.of("zoe")
        hindrances: dict[str, Callable[[], AbstractContextManager[Any]]] = {
            "twin": lambda: _taken(places),
            "bad-directory": lambda: _in_the_way(places.data),
            "no-lock": lambda: _in_the_way(places.lock, is_folder=True),
            "key": lambda: _in_the_way(places.data / "identity.key"),
            "StoreFailed": lambda: _no_database(places),
            "CannotListen": lambda: patch.dict(
                self._village.net.ports, {(self._carol.machine.host, PEER_PORT): cast(Any, object())}
            ),
            "no-such-folder": nullcontext,  # the test names one that is not there
            "no-space": lambda: self._space(free_mib=1, inodes=0),
            "no-inodes": lambda: self._space(free_mib=10_000, inodes=5),
            "unwritable": lambda: patch.object(download, "opened_folder", _permission_denied),
            "unwritable text": lambda: _in_the_way(self._carol.node.places.data / "long-messages"),
            "busy": no_descriptors,
            "WrongKey": lambda: self._dials(WrongKey("another key answered", bytes(32))),
            "Refused": lambda: self._dials(Refused(messages.BUSY, "no room", 1)),
        }
        return hindrances[code]()

    def _dials(self, error: ChatnetError) -> AbstractContextManager[Any]:
        """Every dial ends so."""

        async def dial(*args: Any, **how: Any) -> Any:
            raise error

        return patch.object(self._carol.node.dialler, "dial_any", dial)

    def _space(self, free_mib: int, inodes: int) -> AbstractContextManager[Any]:
        """The download folder's file system has only this, above what stays free."""

        def space(fd: int) -> Any:
            return SimpleNamespace(
                f_bavail=free_mib + 256, f_frsize=MIB, f_files=1_000_000 if inodes else 0, f_favail=inodes
            )

        downloads = self._carol.node.transfers._executor.downloads
        return patch.object(downloads, "_filesystem", Filesystem(os.urandom, space, 256 * MIB))

    def _push(self, entry: ListEntry) -> None:
        """The registry tells carol this, and nobody else."""
        assert self._village.registry is not None
        (link,) = (link for link in self._village.registry.links if link.peer == self._carol.peer)
        link.send(ListPage(False, False, [entry], [], b""))


@contextmanager
def _taken(places: ProfilePaths) -> Iterator[None]:
    """Another process has this profile."""
    places.prepare()
    with open(places.lock, "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    for folder in (places.data, places.state):
        shutil.rmtree(folder)


@contextmanager
def _no_database(places: ProfilePaths) -> Iterator[None]:
    """The profile is there, and its database cannot be opened."""
    places.prepare()
    load_or_make_identity(places.data)
    places.database.mkdir()
    yield
    for folder in (places.data, places.state):
        shutil.rmtree(folder)


@contextmanager
def _in_the_way(path: Path, is_folder: bool = False) -> Iterator[None]:
    """Something else stands at ``path``, in a folder that is as it should be."""
    made = not path.parent.exists()
    path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    path.mkdir() if is_folder else path.touch(0o600)
    try:
        yield
    finally:
        shutil.rmtree(path.parent, ignore_errors=True) if made else path.unlink()


def _permission_denied(*args: Any) -> Any:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


class ScriptedWorld:
    """See the module."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = MemoryReactorClock()
        self.clock.rightNow = 1_795_000_000.0
        self.peer = ScriptedPeer(self.clock, "", os.fspath(directory))
        self.recorder = Recorder(self.peer)

    @property
    def api(self) -> PeerApi:
        return self.recorder.api

    async def done(self, work: Deferred[T]) -> T:
        await self.until(lambda: work.called, 120.0)
        return await work

    async def until(self, condition: Callable[[], Any], within: float = 30.0) -> None:
        passed = 0.0
        while not condition():
            assert passed <= within, f"it did not happen within {within:g} s"
            self.clock.advance(0.05)
            passed += 0.05

    async def settle(self, seconds: int = 1) -> None:
        for _ in range(20 * seconds):
            self.clock.advance(0.05)

    async def close(self) -> None:
        self.recorder.subscription.cancel()

    async def meet(self, name: str = "bob") -> ChatID:
        self.peer.put_people(somebody(name, self.peer.now_ms()))
        await self.until(lambda: key_of(name) in self.recorder.picture.people)
        return chat_with(key_of(name))

    async def talked(self, name: str = "bob") -> ChatID:
        chat = await self.meet(name)
        await self.done(self.peer.say(chat, "we have talked"))
        await self.settle()
        return chat

    async def leaves(self, chat: ChatID) -> None:
        self.peer.leave(chat)
        await self.settle()

    async def says(self, chat: ChatID, text: str) -> None:
        self.peer.hear(chat, text)
        await self.settle()

    async def offers(self, chat: ChatID, name: str, size: int) -> bytes:
        transfer = self.peer.offered(chat, name, size)
        await self.until(lambda: transfer.fid in self.recorder.picture.transfers)
        return transfer.fid

    async def offers_in_vain(self, chat: ChatID, name: str) -> None:
        self.peer.offered(chat, name, 100)

    async def answers(self, chat: ChatID, fid: bytes, accept: bool) -> None:
        self.peer.answered_there(fid, accept)

    async def pauses(self, chat: ChatID, fid: bytes) -> None:
        self.peer.hold(fid, by_me=False)
        await self.until(lambda: self.recorder.picture.transfers[fid].state is TransferState.PAUSED)

    async def asks_for_code(self, chat: ChatID) -> str:
        self.peer.emit(CodeReady(chat, self.peer.code, asked=False))
        await self.settle()
        return self.peer.code

    async def blocks(self, chat: ChatID) -> None:
        self.peer.mute(chat)

    async def another_key(self, chat: ChatID) -> PeerID:
        key = key_of(f"another {self.peer.people[chat].name}")
        self.peer.change_person(chat, new_key=key, other_key=key)
        await self.settle()
        return key

    async def stranger(self, text: str) -> ChatID:
        peer = self.peer.ask("eve", text)
        await self.settle()
        return chat_with(peer)

    async def names_taken(self, name: str) -> None:
        self.peer.taken_names.add(name)

    async def registry_goes(self) -> None:
        self.peer.put_registry(RegistryPhase.LOST, "connection refused", "refused-connection", 8)
        await self.settle()

    async def registry_comes(self) -> None:
        """``reconnect`` finds it."""

    async def disk(self, full: bool) -> None:
        self.peer.store_fails("The disk is full." if full else "")
        await self.settle()

    def ends(self) -> int:
        return self.peer.quits

    def hindered(self, code: str) -> AbstractContextManager[Any]:
        words = "as a test wants it"
        errors: dict[str, ChatnetError] = {
            "WrongKey": WrongKey(words, bytes(32)),
            "Refused": Refused(messages.BUSY, words),
            "StoreFailed": StoreFailed("store", words),
            "CannotListen": CannotListen("in-use", words),
        }
        return self._fails(errors.get(code, LocalError(code.partition(" ")[0], words)))

    def _fails(self, error: ChatnetError) -> AbstractContextManager[Any]:
        return patch.object(self.peer, "fail_next", error)
