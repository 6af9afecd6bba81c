"""The long-lived key of a registry or a peer: a file of PKCS#8 PEM, mode 0600."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chatnet.core.errors import LocalError, system_reason
from chatnet.core.identity import PeerID, peer_id_of

KEY_FILE = "identity.key"


@dataclass(frozen=True)
class Identity:
    """A private key and what follows from it; ``made`` tells that the key is new."""

    private_key: Ed25519PrivateKey
    made: bool = False

    @property
    def public_key(self) -> bytes:
        return self.private_key.public_key().public_bytes_raw()

    @property
    def peer_id(self) -> PeerID:
        return peer_id_of(self.public_key)

    def sign(self, data: bytes) -> bytes:
        return self.private_key.sign(data)


def load_or_make_identity(directory: Path, database: Path | None = None) -> Identity:
    """Return the key in ``directory``, made there if there is none.

    Raises LocalError("key") if the file is open to others, not ours, or not an Ed25519 key, or if there is none
    and ``database`` exists: what stands there belongs to a key that is lost.
    """
    path = directory / KEY_FILE
    try:
        # Without O_NONBLOCK a pipe in the file's place would wait for its writer for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        if database is not None and os.path.lexists(database):
            raise LocalError(
                "key",
                f"the key {path} is missing, but {database} is there, which belongs to it. Nothing was started. "
                f"Put the key back from a copy, or move {directory} away to start with a new key.",
            ) from None
        return _make(path)
    except OSError as error:  # among them ELOOP: a symbolic link
        reason = "it is a symbolic link" if path.is_symlink() else system_reason(error)
        raise LocalError("key", f"cannot open the key {path}: {reason}. Nothing was started.") from None
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise LocalError("key", f"{path} is not a file. Nothing was started. Move it away, or put the key back.")
        if facts.st_uid != os.geteuid():
            raise LocalError("key", f"{path} belongs to somebody else. Nothing was started. Give it back to its owner.")
        if facts.st_mode & 0o077:
            raise LocalError("key", f"others can read the key {path}. Nothing was started. Mend it: chmod 600 {path}")
        pem = os.read(descriptor, 65_536)
    finally:
        os.close(descriptor)
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        pass
    else:
        if isinstance(key, Ed25519PrivateKey):
            return Identity(key)
    raise LocalError("key", f"{path} is not an Ed25519 key. Put the right one back from a copy.")


def _make(path: Path) -> Identity:
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    unfinished = path.with_suffix(".new")
    try:
        _write_whole(unfinished, pem)
        os.rename(unfinished, path)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink()
        reason = system_reason(error)
        raise LocalError("key", f"cannot make the key {path}: {reason}. Nothing was started.") from error
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # some file systems cannot sync a directory; the key itself was synced
            os.fsync(directory)
    finally:
        os.close(directory)
    return Identity(key, made=True)


def _write_whole(unfinished: Path, pem: bytes) -> None:
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
