"""The registry as a service: its store, its ports, its log of traffic."""

from __future__ import annotations

import dataclasses
import random
import resource
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twisted.application.internet import TimerService
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from chatnet.core import messages
from chatnet.core.addresses import host_port
from chatnet.core.directory.changelog import EPOCH_BYTES
from chatnet.core.directory.directory import Directory, SavedDirectory
from chatnet.core.errors import StoreFailed
from chatnet.core.identity import PeerID, short_text
from chatnet.core.known_sources import KnownSources
from chatnet.core.limits import NEEDS_RESTART, RegistryLimits
from chatnet.host.database import Database
from chatnet.net.dialling import Dialler
from chatnet.net.identity import Identity
from chatnet.net.link import Link, LinkSettings
from chatnet.net.listening import LinkFactory, Listener
from chatnet.net.pulse import Pulse
from chatnet.net.tls import TLS
from chatnet.registry.metering import RegistryMeter
from chatnet.registry.protocol import RegistryProtocol
from chatnet.registry.store import MIGRATIONS, RegistryStore

INSTANCE_BYTES = 16
RESTORED_AT_ONCE = 1_000  # of those who were here before a restart, in one turn: about 10 ms


class RegistryService(MultiService):
    """One registry.  An empty ``listen`` means ``port`` on all addresses, IPv4 and IPv6.

    ``startService`` binds the ports and raises CannotListenError with nothing left open;
    ``serving`` then fires when the store is read and peers are answered, or fails with
    StoreFailed.  Peers that come before that wait.  ``clock`` is the reactor, or a Clock for all
    that is not a socket; ``features`` are told in every WELCOME; ``wall`` gives seconds since
    the epoch, ``token`` random bytes.
    """

    log = Logger("chatnet.registry")

    def __init__(
        self,
        reactor: Any,
        identity: Identity,
        database: Path,
        limits: RegistryLimits,
        listen: tuple[str, ...] = (),
        port: int = 0,
        *,
        features: Iterable[str] = (),
        wall: Callable[[], float] = time.time,
        token: Callable[[int], bytes] = secrets.token_bytes,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.serving: Deferred[None] = Deferred()
        self._reactor = reactor
        self._identity = identity
        self._listen = listen
        self._port = port
        self._asked = limits  # what was asked for, whatever the system allows
        self._limits = limits = dataclasses.replace(_fitting(limits))  # our own, which change_limits changes
        self._database = Database(database, MIGRATIONS, reactor)
        self._store = RegistryStore(self._database)
        self._directory = Directory(token(EPOCH_BYTES), limits)
        self._known_sources = KnownSources()
        settings = LinkSettings(limits, limits.queue_bytes, Pulse(reactor), jitter)
        tls = TLS(identity)
        self._protocol = RegistryProtocol(
            reactor,
            lambda: int(wall() * 1000),
            self._directory,
            self._store,
            limits,
            token(INSTANCE_BYTES),
            Dialler(reactor, tls, settings),
            self._known_sources,
            features=features,
        )
        self._factory = LinkFactory(
            settings,
            self._protocol,
            limits.unauthenticated,
            limits.send_buffer_bytes,
            reserved=limits.reserved_unauthenticated,
            known=self._known_sources,
        )
        self._listener = Listener(reactor, tls, self._factory)
        self.meter = RegistryMeter(self._protocol, self._factory, self._database)
        self._logged = self._protocol.traffic()
        timer = TimerService(limits.traffic_log_seconds, self._log_traffic)
        timer.clock = reactor
        timer.setServiceParent(self)

    @property
    def peer_id(self) -> PeerID:
        return self._identity.peer_id

    @property
    def port(self) -> int:
        """The number of the first port, once it is bound."""
        return self._listener.port

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """``(interface, port)`` of every port; the interface may be the unspecified address."""
        return self._listener.addresses

    @property
    def links(self) -> tuple[Link, ...]:
        """Every connection that has not ended, let in or not."""
        return tuple(self._factory.links)

    @property
    def present(self) -> int:
        """How many peers are listed."""
        return len(self._directory)

    def startService(self) -> None:
        if self._listen:
            self._listener.listen(self._listen)
        else:
            self._listener.listen_everywhere(self._port)
        super().startService()  # type: ignore[no-untyped-call]
        shown = ", ".join(host_port(*address) for address in self.addresses)
        self.log.info("listening on {shown} with key {key}", shown=shown, key=short_text(self.peer_id))
        self._warn_of_few_files()
        Deferred.fromCoroutine(self._read_store()).chainDeferred(self.serving)

    def stopService(self) -> Deferred[None]:
        """Say goodbye to everybody, close the ports, write what is left to write."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    def change_limits(self, limits: RegistryLimits) -> None:
        """Apply what is different in ``limits``, as far as that needs no restart, and say so in the log."""
        self._asked, wanted = limits, _fitting(limits)
        changed = [
            f"{name} {before} -> {after}{' (after a restart)' if name in NEEDS_RESTART else ''}"
            for name, before, after in self._limits.differences(wanted)
        ]
        for name, _, after in tuple(self._limits.differences(wanted)):
            if name not in NEEDS_RESTART:
                # It is frozen for everybody else: all parts look at this one object.
                object.__setattr__(self._limits, name, after)
        self.log.info("limits changed: {changes}", changes=", ".join(changed) or "none")
        self._warn_of_few_files()

    async def flush(self) -> None:
        """Write the present peers to disk, also what is not due yet.  Raises StoreFailed."""
        await self._protocol.flush()

    def _warn_of_few_files(self) -> None:
        asked, fitting = self._asked, _fitting(self._asked)
        if fitting is not asked:
            self.log.warn(
                "too few open files are allowed: {files} are needed for {asked} peers, "
                "there is room for {connections} peers and {unauthenticated} handshakes at a time",
                files=asked.files,
                asked=asked.connections,
                connections=fitting.connections,
                unauthenticated=fitting.unauthenticated,
            )

    async def _read_store(self) -> None:
        await self._database.open()
        bindings, kept = await self._store.load(), await self._store.load_list()
        *parts, last = kept.parts(RESTORED_AT_ONCE)
        for part in parts:
            self._directory.restore(part)
            self._learn_sources(part)
            await deferLater(self._reactor, 0)
        self._learn_sources(last)
        self._protocol.begin(bindings, last)
        self.log.info("serving: {names} names are bound", names=len(bindings))

    def _learn_sources(self, kept: SavedDirectory) -> None:
        """Learn where those who were here before a restart come from: the first address of an entry is that."""
        for row in kept.rows:
            if row.entry is not None:
                self._known_sources.learn(row.peer, [at.host for at in row.entry.endpoints[:1]])

    async def _stop(self) -> None:
        self._protocol.stop()
        await self._listener.close(lambda link: link.close(messages.STOPPING, "The registry is stopping."))
        self._log_traffic(always=True)
        try:
            await self.flush()
        except StoreFailed as error:
            self.log.warn("the present peers could not be stored: {text}", text=error.text)
        await self._database.close()

    def _log_traffic(self, always: bool = False) -> None:
        """Log one line that shows what went through here: that messages and files did not."""
        traffic = self._protocol.traffic()
        if always or traffic != self._logged:
            self._logged = traffic
            peers, bytes_in, bytes_out = traffic
            self.log.info(
                "traffic: {peers} peers, {bytes_in} bytes in, {bytes_out} bytes out",
                peers=peers,
                bytes_in=bytes_in,
                bytes_out=bytes_out,
            )


def _fitting(limits: RegistryLimits) -> RegistryLimits:
    """Return ``limits`` as far as the system allows so many open files; it is asked for as many as they need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < limits.files:
        soft = limits.files if hard == resource.RLIM_INFINITY else min(limits.files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return limits if soft == resource.RLIM_INFINITY else limits.within(soft)
