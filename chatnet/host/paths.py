"""The folders of a profile: configuration, data, state and downloads, each of which the user can move."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from chatnet.core.errors import LocalError, system_reason
from chatnet.host.private_files import make_private_directory

PROGRAM = "chatnet"
SYSTEM_CONFIG = Path("/etc/chatnet/config.toml")


@dataclass(frozen=True)
class Roots:
    """The parents of every profile's directories, and the user's configuration file."""

    config: Path
    data: Path
    state: Path
    downloads: Path

    @classmethod
    def usual(cls) -> Roots:
        """Return the folders by the conventions of this system (XDG on Linux)."""
        return cls(
            config=platformdirs.user_config_path(PROGRAM) / "config.toml",
            data=platformdirs.user_data_path(PROGRAM),
            state=platformdirs.user_state_path(PROGRAM),
            downloads=platformdirs.user_downloads_path() / PROGRAM,
        )

    def of(self, name: str) -> ProfilePaths:
        """Return the directories of the profile ``name``, which must be a valid name (or ``registry``)."""
        return ProfilePaths(name, self.data / name, self.state / name, self.downloads)


@dataclass(frozen=True)
class ProfilePaths:
    """The directories and files of one profile; nothing exists before ``prepare``."""

    name: str
    data: Path
    state: Path
    downloads: Path

    @property
    def database(self) -> Path:
        return self.data / "chatnet.db"

    @property
    def lock(self) -> Path:
        return self.state / "lock"

    @property
    def log(self) -> Path:
        return self.state / "log"

    @property
    def join(self) -> Path:
        """The file into which a registry writes its join string."""
        return self.state / "join"

    def prepare(self, downloads: bool = True, umask: int | None = None) -> frozenset[Path]:
        """Make the directories, 0700 under any umask; ``downloads``, if wanted, as the user's other files are.

        ``umask`` is the user's; None: that of the process.

        Returns those of data and state that were not there.  Fails with LocalError when one of them cannot
        be made, or others could read it; without downloads, files are refused that go there.
        """
        made = frozenset(directory for directory in (self.data, self.state) if not directory.exists())
        for directory in (self.data, self.state):
            _make_private(directory)
            _check_private(directory)
        if downloads:
            with suppress(OSError):  # whoever chooses another folder for what comes does not need it
                _make_shared(self.downloads, umask)
        return made

    def remove(self, made: frozenset[Path]) -> None:
        """Undo a ``prepare`` that returned ``made``: these directories are gone."""
        for directory in made:
            shutil.rmtree(directory, ignore_errors=True)


def _make_shared(directory: Path, umask: int | None) -> None:
    if directory.exists():
        return
    directory.mkdir(parents=True, exist_ok=True)
    if umask is not None:  # which twistd has changed in the background
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, (stat.S_IMODE(os.fstat(descriptor).st_mode) & ~0o777) | 0o700 | (0o777 & ~umask))
        finally:
            os.close(descriptor)


def _make_private(directory: Path) -> None:
    missing = [directory]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for path in reversed(missing):
        try:
            make_private_directory(path)
        except FileExistsError:
            continue  # another program of ours was quicker, or it is a file: checked next
        except OSError as error:
            raise _cannot_make(path, error) from error


def _check_private(directory: Path) -> None:
    try:
        found = directory.stat()
    except OSError as error:
        raise _cannot_make(directory, error) from error
    if not stat.S_ISDIR(found.st_mode):
        raise LocalError("bad-directory", f"{directory} is not a directory. Move it away, or choose another place.")
    if found.st_uid != os.geteuid():
        raise LocalError("bad-directory", f"{directory} belongs to somebody else. Choose another place.")
    if found.st_mode & 0o077:
        raise LocalError("bad-directory", f"{directory} can be read by others. Run: chmod 700 {directory}")


def _cannot_make(path: Path, error: OSError) -> LocalError:
    return LocalError(
        "bad-directory", f"cannot use the directory {path} ({system_reason(error)}). Choose another place."
    )
