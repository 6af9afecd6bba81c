"""The log: clean, private, bounded."""

from __future__ import annotations

import stat
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.application.service import Application, IServiceCollection
from twisted.logger import ILogObserver
from twisted.python.failure import Failure

from chatnet.core.limits import LOG_FILES
from chatnet.host import logging as logs
from chatnet.host.logging import LoggedService, ProgramLog, lines_of


def event(text: str, at: float = 1_000.0, form: str = "said {text}") -> dict[str, object]:
    return {"log_format": form, "text": text, "log_time": at, "log_namespace": "chatnet.peer.links"}


def test_lines_wait_in_memory_until_the_profile_is_known(tmp_path: Path) -> None:
    log = ProgramLog()
    log(event("early"))
    assert log.place == ""
    log.open(tmp_path / "log")
    log(event("late"))
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["info peer.links: said early", "info peer.links: said late"]
    assert log.place == str(tmp_path / "log")
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


def test_a_line_begins_with_iso_time() -> None:
    (line,) = lines_of(event("x", at=1_700_000_000.0))
    assert line.startswith(("2023-11-14T", "2023-11-15T"))


def test_a_profile_given_up_gets_no_more_lines(tmp_path: Path) -> None:
    log = ProgramLog()
    log.open(tmp_path / "one")
    log(event("first"))
    log.close()
    log(event("second"))
    assert "second" not in (tmp_path / "one").read_text()
    log.open(tmp_path / "two")
    assert "first" not in (tmp_path / "two").read_text()
    assert "second" in (tmp_path / "two").read_text()


def test_what_waits_is_bounded(tmp_path: Path) -> None:
    log = ProgramLog()
    for n in range(logs.WAITING_LINES + 50):
        log(event(str(n), at=float(n)))
    log.open(tmp_path / "log")
    assert len((tmp_path / "log").read_text().splitlines()) == logs.WAITING_LINES


@given(st.text(max_size=200))
def test_no_text_becomes_a_second_line_or_a_control_character(text: str) -> None:
    lines = list(lines_of(event(text)))
    assert len(lines) == 1
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in lines[0])
    lines[0].encode()


def test_a_traceback_is_indented_and_clean() -> None:
    def fail() -> Failure:
        try:
            raise ValueError("bad\n2026-01-01T00:00:00+0000 info registry: forged\x1b[2J")
        except ValueError:
            return Failure()

    head, *rest = lines_of({**event("x", form="broken"), "log_failure": fail()})
    assert head.endswith("broken")
    assert any("forged" in line for line in rest)
    assert all(line.startswith("    ") and "\x1b" not in line for line in rest)


def test_one_kind_is_told_ten_times_a_second_and_then_counted(tmp_path: Path) -> None:
    log = ProgramLog()
    log.open(tmp_path / "log")
    for n in range(500):
        log(event(str(n), at=5.0 + n / 1_000))
    log(event("another kind", at=5.9, form="other {text}"))
    log(event("later", at=6.0))
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 10 + 1 + 1 + 1
    assert lines[10].endswith("other another kind")
    assert lines[11].endswith("490 more like: said {text}")
    assert lines[12].endswith("said later")


def test_the_file_rotates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LOG_BYTES", 1_000)
    log = ProgramLog()
    log.open(tmp_path / "log")
    for n in range(400):
        log(event("x" * 100, at=float(n)))
    files = sorted(tmp_path.iterdir())
    assert len(files) == LOG_FILES
    assert all(file.stat().st_size < 1_300 for file in files)
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    log = ProgramLog()
    log.open(tmp_path / "missing" / "log")
    log(event("lost"))
    (tmp_path / "missing").mkdir()
    log(event("kept"))
    assert (tmp_path / "missing" / "log").read_text().endswith("said kept\n")


def test_the_users_own_file_wins_and_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "theirs").touch(mode=0o644)
    log = ProgramLog(str(tmp_path / "theirs"))
    log(event("at once"))
    log.open(tmp_path / "ours")
    log(event("still"))
    assert not (tmp_path / "ours").exists()
    assert len((tmp_path / "theirs").read_text().splitlines()) == 2
    assert stat.S_IMODE((tmp_path / "theirs").stat().st_mode) == 0o644


def test_a_device_is_never_rotated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LOG_BYTES", 10)
    log = ProgramLog("/dev/null")
    log(event("one"))
    log(event("two"))
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_dash_means_standard_output() -> None:
    program = "from chatnet.host.logging import ProgramLog; ProgramLog('-')({'log_format': 'hello', 'log_time': 1.0})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.endswith("info -: hello\n")


def test_twistd_finds_the_log_through_its_application() -> None:
    log = ProgramLog()
    application = Application("chatregistry")
    service = LoggedService(log)
    service.setServiceParent(application)
    assert ILogObserver(application) is log
    assert list(IServiceCollection(application)) == [service]


def test_without_a_log_of_ours_twistd_chooses() -> None:
    application = Application("chatregistry")
    LoggedService(None).setServiceParent(application)
    assert ILogObserver(application, None) is None
