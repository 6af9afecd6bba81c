"""Known sources: the addresses from which known people come.

Before the handshake nobody has a key, only an address.  The address at which the key of somebody known was
proven, or which a list gives them, tells whom a listener serves first when more come than it can serve.
It proves nothing: others may share the address, so what is served first has limits of its own.
No I/O, no clock.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from chatnet.core.budgets import sources_of
from chatnet.core.limits import MAX_ENDPOINTS, MAX_KNOWN_KEYS, MAX_PROVEN_SOURCES


class KnownSources:
    """The sources (an IPv4 address, an IPv6 /64) of known keys.

    Of the keys the ``MAX_KNOWN_KEYS`` that were learnt about latest are remembered.
    """

    def __init__(self) -> None:
        self._sources: OrderedDict[bytes, _Sources] = OrderedDict()  # by key, the latest last
        self._keys_at: Counter[str] = Counter()  # how many keys have a source

    def __contains__(self, host: str) -> bool:
        """Whether somebody known comes from the source of ``host``."""
        return _source(host) in self._keys_at

    def learn(self, key: bytes, proven: Iterable[str] = (), listed: Iterable[str] = ()) -> None:
        """Learn where ``key``, of somebody known, was proven just now, and which hosts a list gives it.

        Of the hosts in ``proven`` the latest are kept; those in ``listed`` replace the ones that the list gave before.
        """
        before = self._sources.pop(key, _Sources((), ()))
        latest = dict.fromkeys([*map(_source, proven), *before.proven])
        now = _Sources(tuple(latest)[:MAX_PROVEN_SOURCES], tuple(map(_source, listed))[: MAX_ENDPOINTS + 1])
        self._keys_at.update((*now.proven, *now.listed))
        self._forget(before)
        self._sources[key] = now
        if len(self._sources) > MAX_KNOWN_KEYS:
            self.forget(next(iter(self._sources)))

    def forget(self, key: bytes) -> None:
        """Forget ``key``, which is not known any more; nothing happens if it never was."""
        self._forget(self._sources.pop(key, _Sources((), ())))

    def _forget(self, sources: _Sources) -> None:
        for source in (*sources.proven, *sources.listed):
            self._keys_at[source] -= 1
            if not self._keys_at[source]:
                del self._keys_at[source]


class _Sources(NamedTuple):
    proven: tuple[str, ...]  # the latest first
    listed: tuple[str, ...]


def _source(host: str) -> str:
    """Return the narrowest source of an address."""
    return sources_of(host)[0][1]
