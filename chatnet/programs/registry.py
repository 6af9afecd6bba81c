"""``twistd chatregistry``: where options, files, reactor and the registry's parts meet."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from twisted.application.service import IService, MultiService
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatnet import __version__
from chatnet.core.addresses import host_port, is_loopback
from chatnet.core.errors import ChatnetError
from chatnet.core.identity import grouped_text
from chatnet.core.join_string import join_string
from chatnet.core.ports import REGISTRY_PORT
from chatnet.host.core_dumps import forbid_core_dumps
from chatnet.host.exits import is_at_terminal, refuse_start, say, stop_with
from chatnet.host.gc_tuning import freeze_long_lived
from chatnet.host.logging import LoggedService
from chatnet.host.metrics import MetricsService
from chatnet.host.monotonic_reactor import make_steady
from chatnet.host.private_files import make_private_file
from chatnet.host.profile_lock import ProfileLock
from chatnet.net.bind_errors import cannot_listen
from chatnet.net.identity import load_or_make_identity
from chatnet.net.interfaces import published_endpoints
from chatnet.registry.options import NAME, RegistryOptions, RegistrySettings
from chatnet.registry.service import RegistryService

Options = RegistryOptions
COMMAND = "chatregistry"
FEATURES: frozenset[str] = frozenset()  # what a registry can do beyond version 1 of the protocol


class RegistryProgram(MultiService):
    """Opens what the registry needs when twistd says start, and greets the operator."""

    log = Logger("chatnet.registry")

    def __init__(
        self,
        reactor: Any,
        settings: RegistrySettings,
        logged: LoggedService,
        reread: Callable[[], RegistrySettings],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._reactor = reactor
        self._settings = settings
        self._logged = logged
        self._reread = reread
        self._registry: RegistryService | None = None
        self._in_terminal = sys.__stdin__ is not None and sys.__stdin__.isatty()
        self._places = settings.places
        self._collect_all: Callable[[], None] = lambda: None
        self._lock = ProfileLock(self._places.lock, NAME, "A second registry needs other --data and --state.")

    def startService(self) -> None:
        try:
            self._open()
            super().startService()  # type: ignore[no-untyped-call]
            signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._hung_up))
        except CannotListenError as error:
            listen = self._settings.listen[0] if self._settings.listen else f"tcp:{REGISTRY_PORT}"
            refuse_start(COMMAND, cannot_listen(error, listen, REGISTRY_PORT), self._settings.daemon)
        except ChatnetError as error:
            refuse_start(COMMAND, error, self._settings.daemon)

    async def stopService(self) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        await super().stopService()  # type: ignore[no-untyped-call]
        self._places.join.unlink(missing_ok=True)
        self._lock.release()
        self._collect_all()

    def _open(self) -> None:
        settings, places = self._settings, self._places
        places.prepare(downloads=False)
        self._lock.acquire()
        if self._logged.log is not None:
            self._logged.log.open(places.log)
        for warning in settings.warnings:
            self.log.warn("{warning}", warning=warning)
        self._collect_all = freeze_long_lived()
        identity = load_or_make_identity(places.data)
        registry = RegistryService(
            self._reactor,
            identity,
            places.database,
            settings.limits,
            settings.listen,
            REGISTRY_PORT,
            features=FEATURES,
        )
        registry.serving.addCallbacks(self._serving, self._not_serving, (registry,))
        if settings.metrics:
            metrics = MetricsService(self._reactor, settings.metrics, registry.meter.measures)
            metrics.setServiceParent(self)  # type: ignore[no-untyped-call]
        registry.setServiceParent(self)  # type: ignore[no-untyped-call]
        self._registry = registry

    def _hung_up(self) -> None:
        """SIGHUP: the files were changed, or the terminal is gone."""
        if self._in_terminal and not is_at_terminal():
            self._reactor.stop()
            return
        try:
            settings = self._reread()
        except ChatnetError as error:
            self.log.error("the configuration stays as it was: {text}", text=error.text)
            return
        for warning in settings.warnings:
            self.log.warn("{warning}", warning=warning)
        if self._registry is not None:
            self._registry.change_limits(settings.limits)

    def _serving(self, _: None, registry: RegistryService) -> None:
        joins = _joins(registry)
        leave_join(self._places.join, joins[0])
        where = ", ".join(host_port(*address) for address in registry.addresses)
        say(f"chatregistry {__version__}   listening on {where}")
        say(f"  key   {grouped_text(registry.peer_id)}")
        for join in joins:
            say(f"  join  {join}")
        say(f"  On this machine:    twistd -n chatpeer --name YOU{_option(registry.port)}")
        if not is_loopback(registry.addresses[0][0]):
            say(f"  On other machines:  twistd -n chatpeer --name YOU --registry {joins[0]}")
        say(f"  log   {self._logged.log.place if self._logged.log else 'as twistd was told'}")

    def _not_serving(self, failure: Failure) -> None:
        if not self.running:  # told to stop while it was still reading
            return
        self.log.failure("the registry could not start", failure)
        error = failure.value
        text = error.text if isinstance(error, ChatnetError) else failure.getErrorMessage()
        stop_with(self._reactor, 1, f"{COMMAND}: {text}")


def makeService(options: RegistryOptions) -> IService:
    from twisted.internet import reactor

    forbid_core_dumps()
    make_steady(reactor)
    settings = options.settings
    service = LoggedService(settings.log.make())
    program = RegistryProgram(reactor, settings, service, lambda: cast(RegistrySettings, options.reread()))
    program.setServiceParent(service)  # type: ignore[no-untyped-call]
    return service


def _joins(registry: RegistryService) -> list[str]:
    """The join strings of every address that others may reach, IPv4 first."""
    endpoints = sorted(published_endpoints(registry.addresses), key=lambda endpoint: len(endpoint.ip))
    return [join_string(endpoint.host, endpoint.port, registry.peer_id) for endpoint in endpoints]


def _option(port: int) -> str:
    return "" if port == REGISTRY_PORT else f" --registry 127.0.0.1:{port}"


def leave_join(path: Path, join: str) -> None:
    """For ``make demo`` and scripts: whole or not at all, and nobody else can put another registry there."""
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    make_private_file(unfinished)
    unfinished.write_text(join + "\n")
    unfinished.replace(path)
