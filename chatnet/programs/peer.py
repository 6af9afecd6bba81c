"""``twistd chatpeer``: where options, files, reactor, the peer and its console meet."""

from __future__ import annotations

import getpass
import signal
import sys
from typing import Any

from twisted.application.service import IService, Service

from chatnet.core.errors import LocalError
from chatnet.core.names import is_valid_name
from chatnet.host.core_dumps import forbid_core_dumps
from chatnet.host.exits import complain, refuse_start, stop
from chatnet.host.gc_tuning import freeze_long_lived
from chatnet.host.logging import LoggedService
from chatnet.host.metrics import MetricsService
from chatnet.host.monotonic_reactor import make_steady
from chatnet.peer.metering import PeerMeter
from chatnet.peer.options import PeerOptions, PeerSettings, wants_console
from chatnet.peer.service import PeerService

Options = PeerOptions


class PeerProgram(LoggedService):
    """A peer, and with a terminal its console; ``peer`` is its API."""

    def __init__(self, reactor: Any, settings: PeerSettings) -> None:
        super().__init__(settings.log.make())
        with_console = wants_console(settings)
        self.peer = PeerService(reactor, settings, self.log, console=with_console)
        self._reactor = reactor
        self._daemon = settings.daemon
        if settings.metrics:
            meter = PeerMeter(self.peer, self.peer.budgets)
            meter.setServiceParent(self)  # type: ignore[no-untyped-call]
            metrics = MetricsService(reactor, settings.metrics, meter.measures)
            metrics.setServiceParent(self)  # type: ignore[no-untyped-call]
        self.peer.setServiceParent(self)  # type: ignore[no-untyped-call]
        if with_console:
            _console(self.peer, reactor, settings).setServiceParent(self)
        elif settings.daemon:
            complain("chatpeer", f"{settings.name} is running without console")

    def startService(self) -> None:
        self._collect_all = freeze_long_lived()
        try:
            super().startService()  # type: ignore[no-untyped-call]
        except LocalError as error:
            refuse_start("chatpeer", error, self._daemon)
        # The terminal is gone, or we are to go; nohup has it ignored.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(stop, self._reactor))

    def stopService(self) -> Any:
        self._collect_all()
        return super().stopService()  # type: ignore[no-untyped-call]


def makeService(options: PeerOptions) -> IService:
    from twisted.internet import reactor

    forbid_core_dumps()
    make_steady(reactor)
    return PeerProgram(reactor, options.settings)


def _login_name() -> str:
    """Return the user's name on this system, if it is a valid name here."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        return ""
    return name if is_valid_name(name) else ""


def _console(peer: PeerService, reactor: Any, settings: PeerSettings) -> Service:
    # Imported here: a headless peer needs no urwid.
    from chatnet.console.app import Console
    from chatnet.console.overlays.login import LoginDefaults

    registry = settings.registry
    shown = registry.shown if registry.key is None else str(registry)
    login = None if settings.name else LoginDefaults(_login_name(), shown, "")
    return Console(peer, reactor, login=login, input=sys.__stdin__, output=sys.__stdout__, ascii_only=settings.ascii)
