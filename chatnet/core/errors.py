"""Whose fault it was: the user's, the other side's, or the circumstances'.

Every error has a ``code`` for programs (the same words as on the wire, ``messages.py``) and a
``text`` for people: what happened, what still works, what to do.
"""

from __future__ import annotations

import errno

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of the disk is used up",
    errno.EFBIG: "the system does not allow files of that size here",
}


def system_reason(error: OSError) -> str:
    """Return why the system refused, in plain words that begin with a small letter."""
    return _REASONS.get(error.errno or 0) or (error.strerror or str(error) or type(error).__name__).lower()


class ChatnetError(Exception):
    """The base of all our errors.  ``text`` can be encoded, also where it names a path that is not UTF-8."""

    def __init__(self, code: str, text: str) -> None:
        text = text.encode("utf-8", "replace").decode()
        super().__init__(text)
        self.code = code
        self.text = text


class LocalError(ChatnetError):
    """The user, or the program that drives us, asked for what cannot be."""


class NoSpace(LocalError):
    """The disk has not enough space; ``needed`` bytes and ``inodes`` beside what it keeps free.

    The code is ``no-inodes`` where ``few_inodes`` says that it lacks only room for more files.
    """

    def __init__(self, text: str, needed: int = 0, inodes: int = 0, *, few_inodes: bool = False) -> None:
        super().__init__("no-inodes" if few_inodes else "no-space", text)
        self.needed = needed
        self.inodes = inodes


class CannotListen(LocalError):
    """A port cannot be listened on.

    ``code`` is ``in-use``, ``needs-root``, ``not-permitted``, ``no-such-address``, or ``listen`` for
    any other reason.  ``instead`` is an endpoint that could be given in its place, or empty;
    ``setting`` is the name of the setting that gave the endpoint.
    """

    def __init__(self, code: str, text: str, instead: str = "", setting: str = "listen") -> None:
        super().__init__(code, text)
        self.instead = instead
        self.setting = setting


class RemoteError(ChatnetError):
    """The other side broke the protocol: the connection is dropped, the program goes on."""


class BadFrame(RemoteError):
    """What came is no frame, or no message of any version: no honest program sends it, in no order."""

    def __init__(self, text: str) -> None:
        super().__init__("bad-frame", text)


class UnknownMessage(RemoteError):
    """A well-formed message, or a field at its end, that this version does not know here: another one may."""

    def __init__(self, text: str) -> None:
        super().__init__("unknown-message", text)


class Refused(ChatnetError):
    """One side says no, in the protocol's own words; ``retry_after_s`` of 0 means do not retry."""

    def __init__(self, code: str, text: str, retry_after_s: int = 0) -> None:
        super().__init__(code, text)
        self.retry_after_s = retry_after_s


class Unreachable(ChatnetError):
    """Nobody answered at any address."""


class TooSoon(Unreachable):
    """The addresses were dialled a moment ago; ``seconds`` until one of them may be dialled again."""

    def __init__(self, text: str, seconds: float) -> None:
        super().__init__("too-soon", text)
        self.seconds = seconds


class WrongKey(ChatnetError):
    """Another key answered than the one expected."""

    def __init__(self, text: str, seen: bytes) -> None:
        super().__init__("wrong-key", text)
        self.seen = seen


class StoreFailed(ChatnetError):
    """The database could not do it (full disk, I/O error): nothing was acknowledged."""
