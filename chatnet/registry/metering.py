"""The metrics of a registry, read from its parts when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator

from chatnet.core.meters import Measure
from chatnet.host.database import Database
from chatnet.net.listening import LinkFactory
from chatnet.registry.protocol import RegistryProtocol


class RegistryMeter:
    """Looks at one registry's parts; they do not know of it."""

    def __init__(self, protocol: RegistryProtocol, factory: LinkFactory, database: Database) -> None:
        self._protocol = protocol
        self._factory = factory
        self._database = database

    def measures(self) -> Iterator[Measure]:
        protocol, factory = self._protocol, self._factory
        connected, bytes_in, bytes_out = protocol.traffic()
        listed, presumed = protocol.listed
        untold, slow = protocol.queues()
        yield Measure("registry_peers", "Peers in the list", listed)
        yield Measure("registry_peers_presumed", "Of these, not back yet since the restart", presumed)
        yield Measure("registry_connections", "Peers that are connected", connected)
        yield Measure("registry_unauthenticated", "Handshakes and HELLOs under way", factory.unproven)
        yield Measure("registry_joins", "Peers let in", protocol.joins, rises=True)
        yield Measure("registry_leaves", "Peers that left", protocol.leaves, rises=True)
        refusals = protocol.refusals + factory.refusals
        yield Measure("registry_refusals", "Refusals by reason", refusals, rises=True, label="reason")
        yield Measure("registry_strikes", "Breaches of the protocol by proven keys", factory.strikes, rises=True)
        full = {**protocol.fullness, "unauthenticated": factory.fullness}
        yield Measure("registry_full", "Used share of what a limit bounds", full, label="limit")
        refused = protocol.refused_names
        yield Measure("registry_refused_names", "New names refused, by source", refused, rises=True, label="source")
        traffic = {"in": bytes_in, "out": bytes_out}
        yield Measure("registry_bytes", "Bytes of frames", traffic, rises=True, label="direction")
        yield Measure("registry_push_seconds", "From a change until the last was told", protocol.push_seconds)
        yield Measure("registry_handshake_seconds", "From a connection to its proven key", factory.handshakes)
        depths = {"untold": untold, "slow": slow, "store": self._database.waiting}
        yield Measure("registry_queue", "Peers to tell, peers that do not read, jobs for the disk", depths, label="of")
