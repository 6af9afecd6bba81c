"""The options of ``twistd chatregistry``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from chatnet.core.limits import LinkLimits, RegistryLimits
from chatnet.host.options import LogChoice, ProgramOptions, ProgramSettings, forks
from chatnet.host.paths import ProfilePaths

NAME = "registry"  # of its profile; no peer may have it


@dataclass(frozen=True)
class RegistrySettings(ProgramSettings):
    """The settings of a registry; an empty ``listen`` is REGISTRY_PORT of all addresses, IPv4 and IPv6."""

    limits: RegistryLimits

    @property
    def places(self) -> ProfilePaths:
        return self.roots.of(NAME)


class RegistryOptions(ProgramOptions):
    """Command line, environment and files, made into RegistrySettings."""

    command: ClassVar[str] = "chatregistry"
    section: ClassVar[str] = "registry"
    file_keys: ClassVar[tuple[str, ...]] = ("listen", "data", "state", "metrics")
    limits_class: ClassVar[type[LinkLimits]] = RegistryLimits
    settings: RegistrySettings

    synopsis = "[options]"
    longdesc = "Keeps the live list of chatnet peers and pushes every change to all of them. It carries no message."

    def make_settings(self, twistd: Mapping[str, Any]) -> RegistrySettings:
        return RegistrySettings(
            listen=self.listen_endpoints("CHATNET_REGISTRY_LISTEN"),
            roots=self.roots(),
            log=LogChoice.of(twistd),
            daemon=forks(twistd),
            warnings=self.warnings(),
            limits=self.limits_of(RegistryLimits()),
            metrics=self.metrics_endpoint(),
        )
