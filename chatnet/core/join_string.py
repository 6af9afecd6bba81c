"""The join string ``chatnet:HOST:PORT/KEY``: all that a peer needs to find a registry and know its key."""

from __future__ import annotations

import re

from chatnet.core.addresses import host_port
from chatnet.core.identity import PeerID, key_text, parse_key_text

_JOIN = re.compile(r"chatnet:(?P<host>\[[0-9a-fA-F:.%a-z]+\]|[^:/\[\]\s]+):(?P<port>[0-9]{1,5})/(?P<key>[A-Za-z2-7-]+)")


def join_string(host: str, port: int, peer_id: bytes) -> str:
    """Return ``chatnet:HOST:PORT/KEY``; an IPv6 address stands in brackets."""
    return f"chatnet:{host_port(host, port)}/{key_text(peer_id)}"


def parse_join_string(text: str) -> tuple[str, int, PeerID]:
    """Return ``(host, port, PeerID)`` of a join string.  Raises ValueError, which says what is wrong with it."""
    match = _JOIN.fullmatch(text.strip())
    if match is None:
        raise ValueError("a join string looks like chatnet:HOST:PORT/KEY")
    port = int(match["port"])
    if not 1 <= port <= 65535:
        raise ValueError(f"port {port} is not between 1 and 65535")
    return match["host"].strip("[]"), port, parse_key_text(match["key"])
