"""``twistd chatregistry``: where options, files, reactor and the registry's parts meet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from twisted.application.service import IService, MultiService
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatnet import __version__
from chatnet.core.addresses import host_port, is_loopback
from chatnet.core.errors import ChatnetError, system_reason
from chatnet.core.identity import grouped_text
from chatnet.core.join_string import join_string
from chatnet.core.ports import REGISTRY_PORT
from chatnet.host.core_dumps import forbid_core_dumps
from chatnet.host.exits import complain, say, stop
from chatnet.host.gc_tuning import freeze_long_lived
from chatnet.host.hangups import handle_hangups, is_at_terminal
from chatnet.host.logging import LoggedService
from chatnet.host.metrics import MetricsService
from chatnet.host.monotonic_reactor import make_steady
from chatnet.host.private_files import make_private_file
from chatnet.host.profile_lock import ProfileLock
from chatnet.net.bind_errors import cannot_listen
from chatnet.net.identity import load_or_make_identity
from chatnet.net.interfaces import published_endpoints
from chatnet.programs.start import Start
from chatnet.registry.options import NAME, RegistryOptions, RegistrySettings
from chatnet.registry.service import RegistryService

Options = RegistryOptions
COMMAND = "chatregistry"
_ADVICE = {"twin": "A second registry needs other --data and --state."}
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
        self._in_terminal = False
        self._places = settings.places
        self._collect_all: Callable[[], None] = lambda: None
        self._lock = ProfileLock(self._places.lock, self._places.data, NAME)
        self._start = Start(COMMAND, settings.daemon, _ADVICE)

    def startService(self) -> None:
        self._start.run(self._open_and_serve)
        early = handle_hangups(self._reactor, self._hung_up)
        self._in_terminal = early.in_terminal
        if early.came:
            self._reactor.callWhenRunning(self._hung_up)

    def _open_and_serve(self) -> None:
        try:
            self._open()
            super().startService()  # type: ignore[no-untyped-call]
        except CannotListenError as error:
            listen = self._settings.listen[0] if self._settings.listen else f"tcp:{REGISTRY_PORT}"
            raise cannot_listen(error, listen, REGISTRY_PORT) from None

    async def stopService(self) -> None:
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
        identity = load_or_make_identity(places.data, places.database)
        if not identity.made and not places.database.exists():
            self._warn("the key was here, but not the database with the names: every name is free again")
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
        """Handle SIGHUP: the files were changed, or the terminal is gone."""
        if not self.running:
            return
        if self._in_terminal and not is_at_terminal():
            stop(self._reactor)
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
        self._start.done()
        try:
            leave_join(self._places.join, joins[0])
        except OSError as error:  # it is for demos and scripts, and stands below
            self._warn(f"cannot write {self._places.join}: {system_reason(error)}")
        where = ", ".join(host_port(*address) for address in registry.addresses)
        say(f"chatregistry {__version__}   listening on {where}")
        say(f"  key   {grouped_text(registry.peer_id)}")
        for join in joins:
            say(f"  join  {join}")
        say(f"  On this machine:    twistd -n chatpeer --name YOU{_option(registry.port)}")
        if not is_loopback(registry.addresses[0][0]):
            say(f"  On other machines:  twistd -n chatpeer --name YOU --registry {joins[0]}")
        say(f"  log   {self._logged.log.place if self._logged.log else 'as twistd was told'}")

    def _warn(self, text: str) -> None:
        self.log.warn("{text}", text=text)
        complain(f"{COMMAND}: {text}.")

    def _not_serving(self, failure: Failure) -> None:
        if not self.running:  # told to stop while it was still reading
            return
        self.log.error("the registry could not start: {text}", text=failure.getErrorMessage())
        self._start.failed(self._reactor, failure)


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
    """Return the join strings of every address that others may reach, IPv4 first."""
    endpoints = sorted(published_endpoints(registry.addresses), key=lambda endpoint: len(endpoint.ip))
    return [join_string(endpoint.host, endpoint.port, registry.peer_id) for endpoint in endpoints]


def _option(port: int) -> str:
    return "" if port == REGISTRY_PORT else f" --registry 127.0.0.1:{port}"


def leave_join(path: Path, join: str) -> None:
    """Write the join string for ``make demo`` and scripts: whole or not at all, where nobody else can put another."""
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    make_private_file(unfinished)
    unfinished.write_text(join + "\n")
    unfinished.replace(path)
