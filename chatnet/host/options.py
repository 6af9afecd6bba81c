"""What both commands take: listening, places, limits, the configuration file, twistd's own options.

After parsing, ``settings`` is a frozen object; nothing below the tap modules sees this mapping.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.logger import Logger
from twisted.plugin import getPlugins
from twisted.python import usage

from chatnet import __version__
from chatnet.core.errors import LocalError
from chatnet.core.limits import LinkLimits, UnknownLimit
from chatnet.core.text import safe_line
from chatnet.host.config import LIMITS, BadSetting, ConfigFile, Setting, from_environment
from chatnet.host.logging import ProgramLog
from chatnet.host.paths import SYSTEM_CONFIG, Roots

L = TypeVar("L", bound=LinkLimits)

LISTEN_EXAMPLE = "tcp:9900:interface=127.0.0.1"
TWISTD_PIDFILE = "twistd.pid"  # twistd's own default: in whatever directory it was started
BUILT_IN_ENDPOINTS = frozenset({"tcp", "unix", "ssl"})  # not plugins, but known to Twisted

log = Logger("chatnet.options")


@dataclass(frozen=True)
class LogChoice:
    """What the user told twistd about logging; ``file`` is empty, a path, or ``-`` for standard output."""

    file: str = ""
    elsewhere: bool = False  # --logger or --syslog: not our business

    @classmethod
    def of(cls, twistd: Mapping[str, Any]) -> LogChoice:
        file = twistd.get("logfile") or ""
        if file not in ("", "-"):
            file = str(Path(file).absolute())
        return cls(file, bool(twistd.get("logger") or twistd.get("syslog")))

    def make(self) -> ProgramLog | None:
        """Make our log; None when the user told twistd to log elsewhere."""
        return None if self.elsewhere else ProgramLog(self.file)


@dataclass(frozen=True)
class ProgramSettings:
    """The settings that both programs share."""

    listen: tuple[str, ...]  # endpoint strings; empty: the program's usual port
    roots: Roots
    log: LogChoice
    daemon: bool  # twistd forks: no terminal
    warnings: tuple[str, ...]  # about the configuration, for people
    metrics: str = field(default="", kw_only=True)  # endpoint string; empty: none


class ProgramOptions(usage.Options):
    """The common base; a subclass names its command, section and limits, and makes its settings."""

    command: ClassVar[str]
    section: ClassVar[str]
    file_keys: ClassVar[tuple[str, ...]]  # what the section of the file may hold
    limits_class: ClassVar[type[LinkLimits]]
    settings: ProgramSettings

    optFlags: ClassVar[list[list[str | None]]] = [["limits", None, "Show every limit with its reason, and exit."]]
    optParameters: ClassVar[list[list[str | None]]] = [
        ["data", None, None, "Parent of the directories with keys and histories (CHATNET_DATA)."],
        ["state", None, None, "Parent of the directories with logs and locks (CHATNET_STATE)."],
        ["config", None, None, "The configuration file (CHATNET_CONFIG)."],
        ["metrics", None, None, "Where Prometheus may read what is counted, e.g. tcp:9901: on this machine only."],
    ]

    def __init__(self, environ: Mapping[str, str] = os.environ, system_config: Path = SYSTEM_CONFIG) -> None:
        self._environ = environ
        self._system_config = system_config
        self._listen: list[str] = []
        self._limits: list[str] = []
        self._files: tuple[ConfigFile, ...] = ()
        super().__init__()  # type: ignore[no-untyped-call]

    def opt_listen(self, endpoint: str) -> None:
        """Where to listen, e.g. tcp:9900:interface=127.0.0.1; may be given several times."""
        self._listen.append(endpoint)

    def opt_limit(self, assignment: str) -> None:
        """Change one limit: NAME=VALUE, with a NAME that --limits shows; may be given several times."""
        self._limits.append(assignment)

    def opt_version(self) -> None:
        """Show the version of chatnet, and exit."""
        print(f"chatnet {__version__}")
        sys.exit(0)

    def parseOptions(self, options: list[str] | None = None) -> None:
        """Parse the options; under twistd a mistake is one plain line, not the whole help with the line below it."""
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
        except usage.UsageError as error:
            if self.parent is None:
                raise
            hint = f". See: twistd {self.command} --help" if "not recognized" in str(error) else ""
            raise SystemExit(f"{self.command}: {error}{hint}") from None

    def postOptions(self) -> None:
        twistd: dict[str, Any] = self.parent if self.parent is not None else {}
        # Two programs started in one directory must not meet over a file, nor be refused over a
        # recycled pid: the profile's lock does that work.
        if twistd.get("pidfile") == TWISTD_PIDFILE:
            twistd["pidfile"] = ""
        try:
            self._files = self._read_files()
            self.settings = self.make_settings(twistd)
            if self["limits"]:
                print("\n".join(self.limits_of(self.limits_class()).rows()))
                sys.exit(0)
            self.check(twistd)
        except LocalError as error:
            raise usage.UsageError(error.text) from None
        for warning in self.settings.warnings:
            with suppress(OSError):  # a full disk takes no words, and is no reason not to start
                print(f"{self.command}: {warning}", file=sys.stderr, flush=True)
            log.warn("{warning}", warning=warning)

    def make_settings(self, twistd: Mapping[str, Any]) -> ProgramSettings:
        """Return the settings of this program."""
        raise NotImplementedError

    def check(self, twistd: Mapping[str, Any]) -> None:
        """Check settings that depend on each other.  Raises Wrong when they do not fit."""

    # --- what subclasses make their settings from -------------------------------------------

    def find(self, key: str, kind: str = "text", variable: str = "") -> Setting | None:
        """Return the value of ``key`` from the first place that has one: option, variable, user's file, system's."""
        return self.find_at_start(key, kind, variable) or self.find_in_files(key)

    def find_at_start(self, key: str, kind: str = "text", variable: str = "") -> Setting | None:
        """Return the value of ``key`` that this start was given: by the option, or else by the variable."""
        if kind == "flag" and self[key]:
            return Setting(True, f"--{key}")
        if kind == "text" and self[key] is not None:
            return Setting(self[key], f"--{key}")
        return from_environment(self._environ, variable, kind) if variable else None

    def find_in_files(self, key: str) -> Setting | None:
        """Return the value of ``key`` in the user's file, else in the system's."""
        return next((found for file in self._files if (found := file.get(key)) is not None), None)

    def roots(self, downloads: Setting | None = None) -> Roots:
        usual = Roots.usual()
        data = self.find("data", variable="CHATNET_DATA")
        state = self.find("state", variable="CHATNET_STATE")
        return Roots(
            config=self._files[0].path,
            data=data.path() if data else usual.data,
            state=state.path() if state else usual.state,
            downloads=downloads.path() if downloads else usual.downloads,
        )

    def listen_endpoints(self, variable: str) -> tuple[str, ...]:
        given = Setting(self._listen, "--listen") if self._listen else self.find("listen", "list", variable)
        if given is None:
            return ()
        return tuple(Setting(text, given.place).checked(checked_endpoint) for text in given.texts())

    def metrics_endpoint(self) -> str:
        given = self.find("metrics")
        return given.checked(checked_endpoint) if given else ""

    def reread(self) -> ProgramSettings:
        """Read the files again, and return the settings that follow.  Raises LocalError, and keeps the former."""
        before = self._files
        try:
            self._files = self._read_files()
            self.settings = self.make_settings(self.parent if self.parent is not None else {})
        except LocalError:
            self._files = before
            raise
        return self.settings

    def limits_of(self, limits: L) -> L:
        """Return ``limits`` with what the files and the command line change, in this order.  Raises BadSetting."""
        changes = [given for file in reversed(self._files) for given in file.limits()]
        changes += [Setting(assignment, "--limit") for assignment in self._limits]
        for given in changes:
            try:
                limits = limits.changed(given.value)
            except UnknownLimit as error:
                raise BadSetting(f"{given.place}: {error} All are shown by --limits") from None
            except ValueError as error:
                raise BadSetting(f"{given.place}: {error}") from None
        return limits

    def warnings(self) -> tuple[str, ...]:
        return tuple(warning for file in self._files for warning in file.unknown((*self.file_keys, LIMITS)))

    def _read_files(self) -> tuple[ConfigFile, ...]:
        given = Setting(self["config"], "--config") if self["config"] else None
        given = given or from_environment(self._environ, "CHATNET_CONFIG")
        user = given.path() if given else Roots.usual().config
        return (
            ConfigFile.read(user, self.section, required=given is not None),
            ConfigFile.read(self._system_config, self.section),
        )


def forks(twistd: Mapping[str, Any]) -> bool:
    """Whether twistd will go to the background."""
    return not (twistd.get("nodaemon") or twistd.get("debug"))


def checked_endpoint(text: str) -> str:
    """Return a server endpoint string that can be listened on, as far as reading it shows.

    Raises ValueError otherwise.

    Only the usual kinds are taken apart here: other kinds may start programs while being read.
    """
    kind = text.partition(":")[0]
    if text.isdecimal() and len(text) <= 5:
        raise ValueError(f"'{text}' is no endpoint. Did you mean tcp:{text}?")
    if kind in ("tcp", "tcp6", "unix"):
        try:
            serverFromString(cast(Any, None), text)  # reads only: no reactor is chosen by it
        except Exception:  # Twisted's parsers raise whatever their argument functions raise
            raise _no_endpoint(text) from None
        port = re.match(r"tcp6?:(?:port=)?(-?\d+)", text)
        if kind != "unix" and (port is None or not 0 <= int(port[1]) <= 65_535):
            raise _no_endpoint(text)
    elif kind not in BUILT_IN_ENDPOINTS | {plugin.prefix for plugin in getPlugins(IStreamServerEndpointStringParser)}:
        raise _no_endpoint(text)
    return text


def _no_endpoint(text: str) -> ValueError:
    return ValueError(f"'{safe_line(text, 80)}' is no endpoint to listen on. Example: {LISTEN_EXAMPLE}")
