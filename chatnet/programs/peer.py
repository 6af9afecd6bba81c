"""``twistd chatpeer``: where options, files, reactor, the peer and its console meet."""

from __future__ import annotations

import getpass
import os
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.application.service import IService, Service
from twisted.python.failure import Failure

from chatnet.core.choices import Choice
from chatnet.core.events import AlertContent
from chatnet.core.names import is_valid_name
from chatnet.core.text import safe_line
from chatnet.host.command_text import command_text
from chatnet.host.core_dumps import forbid_core_dumps
from chatnet.host.exits import stop
from chatnet.host.gc_tuning import freeze_long_lived
from chatnet.host.hangups import handle_hangups
from chatnet.host.kept_choice import KeptChoice
from chatnet.host.logging import LoggedService
from chatnet.host.metrics import MetricsService
from chatnet.host.monotonic_reactor import make_steady
from chatnet.peer.metering import PeerMeter
from chatnet.peer.options import PeerOptions, PeerSettings, wants_console
from chatnet.peer.service import PeerService
from chatnet.programs.start import Start

Options = PeerOptions
COMMAND = "chatpeer"
THEME_FILE = "console.theme"  # beside the directories of the names, none of which has a dot
_ADVICE = {"twin": "A second peer needs another --name."}


class PeerProgram(LoggedService):
    """A peer, and with a terminal its console; ``peer`` is its API."""

    def __init__(self, reactor: Any, settings: PeerSettings) -> None:
        super().__init__(settings.log.make())
        with_console = wants_console(settings)
        self.peer = PeerService(reactor, settings, self.log, console=with_console, on_start=self._started)
        self._reactor = reactor
        self._settings = settings
        self._start = Start(COMMAND, settings.daemon, _ADVICE)
        if settings.metrics:
            meter = PeerMeter(self.peer, self.peer.budgets)
            meter.setServiceParent(self)  # type: ignore[no-untyped-call]
            metrics = MetricsService(reactor, settings.metrics, meter.measures)
            metrics.setServiceParent(self)  # type: ignore[no-untyped-call]
        self.peer.setServiceParent(self)  # type: ignore[no-untyped-call]
        if with_console:
            _console(self.peer, reactor, settings).setServiceParent(self)

    def startService(self) -> None:
        self._collect_all = freeze_long_lived()
        self._start.run(super().startService)
        # The terminal is gone, or we are to go; nohup has it ignored.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            early = handle_hangups(self._reactor, lambda: stop(self._reactor))
            if early.lost_terminal:
                self._reactor.callWhenRunning(stop, self._reactor)

    def _started(self, failure: Failure | None) -> None:
        if failure is not None:
            self._start.failed(self._reactor, failure)
        else:
            self._start.done(f"{self._settings.name} is running without console")

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
    from chatnet.console.panes.base import Launch
    from chatnet.console.theme_choice import ThemeChoice

    registry = settings.registry
    shown = registry.shown if registry.key is None else str(registry)
    login = None if settings.name else LoginDefaults(_login_name(), shown)
    theme_file = KeptChoice(settings.roots.state / THEME_FILE)
    return Console(
        peer,
        reactor,
        login=login,
        registry=shown,
        input=sys.__stdin__,
        output=sys.__stdout__,
        ascii_only=settings.ascii,
        alerts=Choice(settings.notify, settings.usual_notify or AlertContent.NAME),
        warnings=settings.warnings,
        theme=ThemeChoice(os.environ, settings.theme, settings.usual_theme, theme_file),
        launch=Launch(safe_line(command_text(Path(sys.argv[0]))), settings.is_demo),
    )
