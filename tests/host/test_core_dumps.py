"""A program that holds a key leaves no core dump."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOOK = """
import ctypes, os, resource
from chatnet.host.core_dumps import forbid_core_dumps
forbid_core_dumps()
forbid_core_dumps()
dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
child = os.fork()
if child:
    os.waitpid(child, 0)
else:
    dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
print(dumpable, *resource.getrlimit(resource.RLIMIT_CORE), flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is a call of Linux")
def test_the_process_and_what_it_forks_are_not_dumpable() -> None:
    told = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    assert told.stdout.split("\n")[:2] == ["0 0 0", "0 0 0"]


@pytest.mark.parametrize("program", ["peer", "registry"])
def test_both_programs_begin_with_it(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from chatnet.programs import peer, registry

    module = {"peer": peer, "registry": registry}[program]

    class Begun(Exception):
        pass

    def begin() -> None:
        raise Begun

    monkeypatch.setattr(module, "forbid_core_dumps", begin)
    with pytest.raises(Begun):
        module.makeService(None)  # type: ignore[arg-type]
