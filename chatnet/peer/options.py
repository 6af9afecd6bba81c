"""The options of ``twistd chatpeer``, and whether a console will run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TextIO

from chatnet.core.events import AlertContent
from chatnet.core.limits import LinkLimits, PeerLimits
from chatnet.core.names import why_not_a_name
from chatnet.core.ports import REGISTRY_PORT
from chatnet.core.text import safe_line
from chatnet.host.config import BadSetting, Setting, from_environment
from chatnet.host.options import LogChoice, ProgramOptions, ProgramSettings, forks
from chatnet.host.umask import process_umask
from chatnet.peer.directory.registry_address import DEFAULT_HOST, RegistryAddress, parse_registry_address

THEMES = ("dark", "light", "high-contrast", "mono")  # of the console


@dataclass(frozen=True)
class PeerSettings(ProgramSettings):
    """What a peer is told; an empty ``listen`` is the port it had before, at first any free one."""

    name: str  # empty: the login form asks
    registry: RegistryAddress
    headless: bool
    ascii: bool  # signs for terminals that lack the others
    limits: PeerLimits
    notify: AlertContent = field(default=AlertContent.NAME, kw_only=True)  # unless the person chooses otherwise
    is_demo: bool = field(default=False, kw_only=True)  # its profile is deleted when it ends
    umask: int | None = field(default=None, kw_only=True)  # of received files; None: that of the process
    theme: str = field(default="", kw_only=True)  # told to this start, and wins over what was chosen in the console
    usual_theme: str = field(default="", kw_only=True)  # of the files


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
        ["theme", None, None, f"How the console looks: {', '.join(THEMES)} (CHATNET_THEME)."],
        ["downloads", None, None, "Where received files go, each sender's in a folder (CHATNET_DOWNLOADS)."],
    ]

    def make_settings(self, twistd: Mapping[str, Any]) -> PeerSettings:
        name = self.find("name", variable="CHATNET_NAME")
        registry = self.find("registry", variable="CHATNET_REGISTRY")
        headless = self.find("headless", "flag", "CHATNET_HEADLESS")
        notify = self.find("notify", variable="CHATNET_NOTIFY")
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
            notify=notify.checked(_alert_content) if notify else AlertContent.NAME,
            limits=self.limits_of(PeerLimits()),
            metrics=self.metrics_endpoint(),
            is_demo=demo.flag() if demo else False,
            umask=_umask(twistd),
            theme=_checked_theme(self._told_theme()),
            usual_theme=_checked_theme(self.find_in_files("theme")),
        )

    def _told_theme(self) -> Setting | None:
        told = self["theme"]
        return Setting(told, "--theme") if told else from_environment(self._environ, "CHATNET_THEME")

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


def _alert_content(text: str) -> AlertContent:
    try:
        return AlertContent(text.lower())
    except ValueError:
        raise ValueError(f"'{safe_line(text, 40)}' is none of {', '.join(AlertContent)}") from None


def _umask(twistd: Mapping[str, Any]) -> int:
    """The umask that the user has set, or has named to twistd, which in the background would make it 077."""
    named = twistd.get("umask")
    return process_umask() if named is None else int(named)


def _checked_theme(given: Setting | None) -> str:
    if given is not None and given.text() not in THEMES:
        raise given.wrong(f"{', '.join(THEMES[:-1])} or {THEMES[-1]}")
    return given.text() if given is not None else ""


def _checked_name(text: str) -> str:
    reason = why_not_a_name(text)
    if reason:
        raise BadSetting(reason)
    return text
