"""The umask of this process, read and never changed: another thread may be making a file at that moment."""

from __future__ import annotations

STATUS = "/proc/self/status"
PRIVATE = 0o077  # nobody else may do anything


def process_umask() -> int:
    """Return the umask as Linux tells it; ``PRIVATE`` where it cannot be read."""
    try:
        with open(STATUS, "rb") as status:
            for line in status:
                if line.startswith(b"Umask:"):
                    return int(line.split()[1], 8)
    except (OSError, ValueError, IndexError):
        pass
    return PRIVATE
