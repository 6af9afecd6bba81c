"""The options of ``twistd chatpeer``, and whether a console will run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, TextIO, TypeVar

from chatnet.core.choices import Theme
from chatnet.core.events import AlertContent
from chatnet.core.limits import LinkLimits, PeerLimits
from chatnet.core.names import why_not_a_name
from chatnet.core.ports import REGISTRY_PORT
from chatnet.host.config import BadSetting, Setting, from_environment
from chatnet.host.options import LogChoice, ProgramOptions, ProgramSettings, forks
from chatnet.host.umask import process_umask
from chatnet.peer.directory.registry_address import DEFAULT_HOST, RegistryAddress, parse_registry_address

E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True)
class PeerSettings(ProgramSettings):
    """What a peer is told; an empty ``listen`` is the port it had before, at first any free one.

    Of ``notify`` and ``theme``, which can be chosen in the console, too, the start and the files say things apart: the
    choice stands between them (``chatnet.core.choices``).
    """

    name: str  # empty: the login form asks
    registry: RegistryAddress
    headless: bool
    ascii: bool  # signs for terminals that lack the others
    limits: PeerLimits
    is_demo: bool = field(default=False, kw_only=True)  # its profile is deleted when it ends
    umask: int | None = field(default=None, kw_only=True)  # of received files; None: that of the process
    notify: AlertContent | None = field(default=None, kw_only=True)  # of the command line or the environment
    usual_notify: AlertContent | None = field(default=None, kw_only=True)  # of the files
    theme: Theme | None = field(default=None, kw_only=True)
    usual_theme: Theme | None = field(default=None, kw_only=True)


class PeerOptions(ProgramOptions):
    """Command line, environment and files, made into PeerSettings."""

    command: ClassVar[str] = "chatpeer"
    section: ClassVar[str] = "peer"
    file_keys: ClassVar[tuple[str, ...]] = (
        "name",
        "registry",
        "listen",
        "data",
        "state",
        "downloads",
        "headless",
        "ascii",
        "notify",
        "theme",
        "metrics",
    )
    limits_class: ClassVar[type[LinkLimits]] = PeerLimits
    settings: PeerSettings

    synopsis = "[options]"
    longdesc = "Chat with the others and send them files, directly, from this terminal."

    optFlags: ClassVar[list[list[str | None]]] = [
        ["headless", None, "No console, even in a terminal (CHATNET_HEADLESS)."],
        ["ascii", None, "Only ASCII signs in the console (CHATNET_ASCII)."],
    ]
    optParameters: ClassVar[list[list[str | None]]] = [
        ["name", None, None, "Who you are; without it the console asks (CHATNET_NAME)."],
        [
            "registry",
            None,
            None,
            f"The registry: its join string, or HOST:PORT; else {DEFAULT_HOST}:{REGISTRY_PORT} (CHATNET_REGISTRY).",
        ],
        [
            "notify",
            None,
            None,
            f"What is told while you look elsewhere: {', '.join(AlertContent)}; else name (CHATNET_NOTIFY).",
        ],
        ["theme", None, None, f"How the console looks: {', '.join(Theme)} (CHATNET_THEME)."],
        ["downloads", None, None, "Where received files go, each sender's in a folder (CHATNET_DOWNLOADS)."],
    ]

    def make_settings(self, twistd: Mapping[str, Any]) -> PeerSettings:
        name = self.find("name", variable="CHATNET_NAME")
        registry = self.find("registry", variable="CHATNET_REGISTRY")
        headless = self.find("headless", "flag", "CHATNET_HEADLESS")
        demo = from_environment(self._environ, "CHATNET_DEMO", "flag")
        ascii_signs = self.find("ascii", "flag", "CHATNET_ASCII")
        return PeerSettings(
            listen=self.listen_endpoints("CHATNET_LISTEN"),
            roots=self.roots(downloads=self.find("downloads", variable="CHATNET_DOWNLOADS")),
            log=LogChoice.of(twistd),
            daemon=forks(twistd),
            warnings=self.warnings(),
            name=_checked_name(name.text()) if name else "",
            registry=(
                registry.checked(parse_registry_address) if registry else RegistryAddress(DEFAULT_HOST, REGISTRY_PORT)
            ),
            headless=headless.flag() if headless else False,
            ascii=ascii_signs.flag() if ascii_signs else False,
            limits=self.limits_of(PeerLimits()),
            metrics=self.metrics_endpoint(),
            is_demo=demo.flag() if demo else False,
            umask=_umask(twistd),
            notify=_one_of(AlertContent, self.find_at_start("notify", variable="CHATNET_NOTIFY")),
            usual_notify=_one_of(AlertContent, self.find_in_files("notify")),
            theme=_one_of(Theme, self.find_at_start("theme", variable="CHATNET_THEME")),
            usual_theme=_one_of(Theme, self.find_in_files("theme")),
        )

    def check(self, twistd: Mapping[str, Any]) -> None:
        if not self.settings.name and not wants_console(self.settings):
            raise BadSetting("without a console it must be told who it is, e.g. --name carol")


def wants_console(settings: PeerSettings, stdin: TextIO | None = None, stdout: TextIO | None = None) -> bool:
    """Whether a console will run: with ``-n``, in a terminal, and nothing else told to use the terminal."""
    stdin = stdin or sys.__stdin__
    stdout = stdout or sys.__stdout__
    if settings.headless or settings.daemon or settings.log.file == "-":
        return False
    return stdin is not None and stdout is not None and stdin.isatty() and stdout.isatty()


def _umask(twistd: Mapping[str, Any]) -> int:
    """Return the umask that the user has set, or has named to twistd, which in the background would make it 077."""
    named = twistd.get("umask")
    return process_umask() if named is None else int(named)


def _one_of(words: type[E], given: Setting | None) -> E | None:
    """Return the word that was given, in letters of any case.  Raises BadSetting for another one."""
    if given is None:
        return None
    try:
        return words(given.text().lower())
    except ValueError:
        *others, last = words
        raise given.wrong(f"{', '.join(others)} or {last}") from None


def _checked_name(text: str) -> str:
    reason = why_not_a_name(text)
    if reason:
        raise BadSetting(reason)
    return text
