"""The console as a service: it opens when the reactor runs, and gives the terminal back whole."""

from __future__ import annotations

import atexit
import codecs
import os
import sys
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TextIO

import urwid
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, globalLogPublisher
from zope.interface import implementer

from chatnet.console.actions.all import Actions
from chatnet.console.actions.program import LOGIN_ADVICE
from chatnet.console.alerts import AlertQueue, alert_sequence
from chatnet.console.coach import is_open_offer
from chatnet.console.disk import Disk, DiskThreads
from chatnet.console.model import ConsoleModel
from chatnet.console.overlays.login import LoginDefaults
from chatnet.console.panes.base import Launch, PaneContext
from chatnet.console.terminal import (
    GuardedLoop,
    TerminalWriter,
    UnwrappedScreen,
    free_the_signal_keys,
    is_utf8_encoding,
)
from chatnet.console.theme_choice import ThemeChoice
from chatnet.console.widgets.theme import ASCII, UNICODE, Signs, palette
from chatnet.core import limits
from chatnet.core.choices import Choice, Theme
from chatnet.core.events import (
    AlertContent,
    AlertRules,
    AlertsChanged,
    ChatMoved,
    CodeReady,
    Event,
    MessageAdded,
    Notice,
    NoticeLevel,
    RegistryChanged,
    RegistryPhase,
    TabsRestored,
    Transfer,
    TransferChanged,
    TransferState,
)
from chatnet.core.identity import chat_with
from chatnet.core.text import safe_line, shown_path
from chatnet.host.local_output import write_now
from chatnet.peer.api import PeerApi, Subscription

__all__ = ["Console", "LoginDefaults"]

TICK_SECONDS = 1.0
_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
_NOT_UTF8 = "The locale is not UTF-8"
_SET_UTF8 = "Start with LC_ALL=C.UTF-8."


@implementer(ILogObserver)
class _TroubleObserver:
    """Failures that only the log would see are told in the status line too."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, event: LogEvent) -> None:
        if event.get("log_level") is LogLevel.critical and event.get("log_namespace") != Console.log.namespace:
            self._console.trouble("Something went wrong inside; the rest goes on. /log says where to read more.")


class Console(Service):
    """Drives one peer, through its api only, in one terminal.

    With ``login`` nobody is named yet: the form is shown first.  ``registry`` is the place of the registry as it was
    given, with its key if that was part of it; a later form begins with it.  ``warnings`` about the start stand in the
    first tab.  ``theme`` is the environment's without another choice.  ``screen`` is for tests.
    """

    log = Logger()

    def __init__(
        self,
        api: PeerApi,
        reactor: Any,
        *,
        login: LoginDefaults | None = None,
        registry: str = "",
        input: TextIO | None = sys.__stdin__,
        output: TextIO | None = sys.__stdout__,
        ascii_only: bool = False,
        warnings: Sequence[str] = (),
        theme: ThemeChoice | None = None,
        launch: Launch | None = None,
        screen: Any = None,
        disk: Disk | None = None,
        alerts: Choice[AlertContent] | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._api, self._reactor = api, reactor
        self._launch = launch or Launch()
        self._theme = theme or ThemeChoice(environ)
        self._login = login
        self._registry = registry
        self._input, self._output = input, output
        self._ascii_only = ascii_only
        self._warnings = warnings
        self._screen = screen
        self._real = screen is None
        self._threads = DiskThreads(reactor) if disk is None else None
        self._disk = disk or self._threads
        self._alert_content = alerts or Choice(None, AlertContent.NAME)
        self._environ = environ
        self._subscription: Subscription | None = None
        self._writer: TerminalWriter | None = None
        self._loop: GuardedLoop | None = None
        self._draw_timer: Any = None
        self._tick_timer: Any = None
        self._title = ""
        self._observer = _TroubleObserver(self)
        self.actions: Actions | None = None

    # --- the service ---------------------------------------------------------------------------

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._reactor.callWhenRunning(self._open)

    def stopService(self) -> Deferred[None] | None:
        super().stopService()  # type: ignore[no-untyped-call]
        if self.actions is not None:
            self.actions.save_desk()
        self._close()
        return None

    def _open(self) -> None:
        if not self.running or self._loop is not None:
            return
        try:
            self._build()
            assert self._loop is not None
            self._loop.start()
            if self._real:
                free_the_signal_keys(self._screen, self._input)
        except Exception as error:
            self.log.failure("console: could not be opened")
            me = self._subscription.snapshot.me if self._subscription is not None else None
            self._close()
            self._last_words(error, shown_path(me.log_file) if me is not None else "")
            return
        globalLogPublisher.addObserver(self._observer)
        self._tick()

    def _build(self) -> None:
        self._subscription = self._api.subscribe(self._heard)
        snapshot = self._subscription.snapshot
        signs = ASCII if self._ascii_only or not _is_utf8(self._environ) else UNICODE
        self.model = ConsoleModel(snapshot)
        scene = PaneContext(self.model, signs, lambda: int(self._reactor.seconds() * 1000), self._launch)
        self._alerts = AlertQueue(self._alert_content)
        self._alert_rules(snapshot.alerts)
        assert self._disk is not None
        self.actions = Actions(self._api, scene, self._reactor, self, self._disk, self._alert_content)
        if self._screen is None:
            assert self._input is not None
            assert self._output is not None
            self._writer = TerminalWriter(self._reactor, self._output)
            self._screen = UnwrappedScreen(self._input, self._writer, self._environ)
            atexit.register(self._give_back)
            self._allow_color()
        self._loop = GuardedLoop(
            self.actions.view,
            palette(self._theme.theme),
            self._screen,
            self._reactor,
            on_paste=self.actions.paste,
            on_trouble=self.trouble,
            on_input_closed=self._input_closed,
            on_undecoded=self._undecoded,
            writer=self._writer,
            on_caught_up=self.request_draw,
            on_frame=self._frame_is_shown,
            on_focus=self._alerts.focus,
        )
        if snapshot.me is not None:
            self.actions.restore(snapshot.tabs)
        if snapshot.me is None and self._login is not None:
            self.actions.show_login(self._login)
        self._warn((*self._warnings, *self._locale_warnings(signs)))

    def _locale_warnings(self, signs: Signs) -> tuple[str, ...]:
        if signs is UNICODE or self._ascii_only:
            return ()
        if is_utf8_encoding():
            return (f"{_NOT_UTF8}, so the console uses ASCII signs. {_SET_UTF8}",)
        return (f"{_NOT_UTF8}: what {_encoding()} has no character for is shown as ? and cannot be typed. {_SET_UTF8}",)

    def _warn(self, warnings: Sequence[str]) -> None:
        """Keep warnings in the first tab, and show the first of them in the last line."""
        assert self.actions is not None
        at_ms = int(self._reactor.seconds() * 1000)
        for text in warnings:
            self.model.notices.append(Notice(NoticeLevel.WARNING, safe_line(text, limits.WARNING_CHARS), at_ms))
        if warnings:
            more = f" {len(warnings) - 1} more in the first tab." if len(warnings) > 1 else ""
            self.actions.view.say(f"{warnings[0]}{more}", warning=True)

    def _undecoded(self) -> None:
        """Tell the user that something was typed that is no character in the encoding of the terminal."""
        self.trouble(f"What is no character in {_encoding()}, the encoding of this terminal, was left out. {_SET_UTF8}")

    def _close(self) -> None:
        for timer in (self._draw_timer, self._tick_timer):
            if timer is not None and timer.active():
                timer.cancel()
        self._draw_timer = self._tick_timer = None
        if self._subscription is not None:
            self._subscription.cancel()
            self._subscription = None
        if self._threads is not None:
            self._threads.close()
        globalLogPublisher.removeObserver(self._observer)  # harmless when it was never added
        loop, self._loop = self._loop, None
        if loop is not None:
            try:
                loop.stop()
            except (OSError, termios.error) as error:
                self.log.info("the terminal is gone: {error}", error=error)
            except Exception:
                self.log.failure("console: could not be closed in order")
        self._give_back()

    def _give_back(self) -> None:
        """Leave the terminal as it was, whatever happened before."""
        atexit.unregister(self._give_back)
        if self._screen is not None and self._screen.started:
            with suppress(OSError, termios.error):  # it is gone, with whatever was on it
                self._screen.stop()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _last_words(self, error: Exception, log_file: str) -> None:
        log = f" The log is {log_file}." if log_file else ""
        write_now(
            self._output,
            f"chatpeer: the console could not be opened ({type(error).__name__}: {safe_line(str(error))}).{log}\n"
            "The peer goes on without it. Ctrl-C ends it; --headless starts it without a console.\n",
        )

    def _input_closed(self) -> None:
        """Close the console and stop the program, because the terminal is gone and the user cannot quit any more."""
        if self._loop is None:
            return
        self.log.info("console: the terminal was closed")
        self._close()
        self._api.quit()

    # --- events --------------------------------------------------------------------------------

    def _heard(self, event: Event) -> None:
        if self.actions is None or self._loop is None:
            return
        self.model.fold(event)
        match event:
            case MessageAdded(message):
                self.actions.arrived(message)
                if message.chat in self.model.roster.people:
                    self._alerts.came(message, self.model.roster.name(message.chat))
                    self._tell_alerts()
            case TransferChanged(transfer) if _outdates(transfer):
                self.actions.view.outdate(chat_with(transfer.peer))
            case AlertsChanged(alerts):
                self._alert_rules(alerts)
            case ChatMoved(former, chat):
                self.actions.chat_moved(former, chat)
            case CodeReady():
                self.actions.code_ready(event)
            case TabsRestored(tabs):
                self.actions.restore(tabs)
            case RegistryChanged(registry) if registry.phase is RegistryPhase.REFUSED and registry.code == "name-taken":
                me = self.model.me
                started = LoginDefaults(me.name if me is not None else "", self._registry or registry.address)
                known = self.actions.typed_login or self._login or started
                self.actions.show_login(known, f"{registry.reason} {LOGIN_ADVICE[registry.code]}")
            case _:
                pass
        self.request_draw()

    def _alert_rules(self, rules: AlertRules) -> None:
        self._alert_content.kept, self._alerts.muted = rules.content, rules.muted

    def trouble(self, text: str) -> None:
        """Show that something failed for which nobody waits."""
        if self.actions is not None:
            self.actions.view.say(text, warning=True)
            self.request_draw()

    # --- drawing -------------------------------------------------------------------------------

    @property
    def is_behind(self) -> bool:
        """Whether the terminal has not taken the newest frame yet."""
        return self._loop is not None and self._loop.is_behind

    def request_draw(self) -> None:
        """Draw within DRAW_SECONDS, or later if the last draw was a long one, once for all that changed until then."""
        if self._draw_timer is None and self._loop is not None:
            wait = max(limits.DRAW_SECONDS, self._loop.wait_seconds())
            self._draw_timer = self._reactor.callLater(wait, self._draw)

    def _draw(self) -> None:
        self._draw_timer = None
        if self.actions is None or self._loop is None or self._loop.is_behind:
            return  # what nobody can see is not looked at; it is drawn when the terminal has caught up
        if wait := self._loop.wait_seconds(limits.KEY_DRAW_REST):  # keys were drawn meanwhile
            self._draw_timer = self._reactor.callLater(wait, self._draw)
            return
        self.actions.look()
        self.actions.view.refresh()
        self._loop.draw_screen()

    def _frame_is_shown(self) -> None:
        self.model.shown.taken(self._reactor.seconds())

    def redraw(self) -> None:
        """Clear the screen and draw everything, also what the terminal has forgotten."""
        self._screen.clear()
        self.request_draw()

    @property
    def theme(self) -> Theme:
        """The theme that holds now."""
        return self._theme.theme

    def choose_theme(self, theme: Theme | None) -> bool:
        """Take a theme, or with None the usual one, now and for the next starts.

        Returns and raises what ``ThemeChoice.choose`` does; the theme is there in any case.
        """
        try:
            return self._theme.choose(theme)
        finally:
            self._allow_color()
            self._screen.register_palette(palette(self._theme.theme))
            self.redraw()

    def _allow_color(self) -> None:
        """Make urwid use colours in spite of NO_COLOR, if the theme that was asked for needs them."""
        if self._theme.needs_color and isinstance(self._screen, UnwrappedScreen):
            self._screen.set_terminal_properties(colors=16)

    def set_mouse(self, on: bool) -> None:
        """Take the mouse, or leave it to the terminal."""
        self._screen.set_mouse_tracking(on)

    def _tick(self) -> None:
        self._tick_timer = self._reactor.callLater(TICK_SECONDS, self._tick)
        if self.actions is None or self._loop is None:
            return
        self.actions.view.tick()
        self.actions.save_desk()
        self._show_title()
        self._tell_alerts()
        if self._loop.wait_seconds():
            self.request_draw()
        else:
            self._loop.draw_screen()

    def _tell_alerts(self) -> None:
        text = self._alerts.due(self._reactor.seconds())
        if text is not None and hasattr(self._screen, "alert"):
            self._screen.alert(alert_sequence(text, self._environ, _is_utf8(self._environ)))

    def _show_title(self) -> None:
        me, unread = self.model.me, self.model.unread()
        if self._loop is not None and self._loop.is_behind:
            return
        title = f"{me.name if me is not None else 'chatnet'}{f' ({unread})' if unread else ''} — chatnet"
        if title != self._title and hasattr(self._screen, "set_title"):
            self._title = title
            self._screen.set_title(title)


def _encoding() -> str:
    """Return the usual name of the terminal's encoding: ``ascii`` for ``ANSI_X3.4-1968``."""
    return codecs.lookup(urwid.util.get_encoding()).name


def _outdates(transfer: Transfer) -> bool:
    """Whether a transfer asks for an answer, or one of ours has got its own: what was said before of it is old.

    The command that cancels one, or blocks its receiver, says what it has done, and that stays.
    """
    has_ended = transfer.state.ended and transfer.state is not TransferState.CANCELLED
    return is_open_offer(transfer) or (transfer.outgoing and has_ended)


def _is_utf8(environ: Mapping[str, str]) -> bool:
    """Return whether the locale asks for UTF-8.  Python itself takes C for UTF-8, and then sets LC_CTYPE to say so."""
    ctype = environ.get("LC_CTYPE", "")
    told = environ.get("LC_ALL") or ("" if ctype in _COERCED else ctype) or environ.get("LANG", "")
    return told not in ("C", "POSIX") and is_utf8_encoding()
