"""How a person types a program's name."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def command_text(program: Path) -> str:
    """Return the command for ``program`` from the current directory: its name if the shell finds it, else its path."""
    found = shutil.which(program.name)
    if found and program.exists() and os.path.samefile(found, program):
        return program.name
    return os.path.relpath(program)
