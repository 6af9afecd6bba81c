"""Paths of this machine's files, as the API takes them: absolute, and bytes as the file system has them."""

from __future__ import annotations

import os

from chatnet.core.errors import LocalError
from chatnet.core.text import shown_path


def absolute(path: bytes) -> bytes:
    """Return ``path`` without ``.`` and ``..``.

    Raises LocalError("relative-path"): the peer does not know the directory that the caller is in.
    """
    if not os.path.isabs(path):
        raise LocalError("relative-path", f"'{shown_path(path)}' does not begin with /, so it names no certain place.")
    return os.path.abspath(path)
