"""What is told to a person can be typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatnet.host.command_text import command_text


def test_a_name_is_enough_where_the_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "twistd").touch(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "one"))
    assert command_text(tmp_path / "one" / "twistd") == "twistd"
    assert command_text(tmp_path / "two" / "twistd") == "two/twistd"
    assert command_text(Path("two/twistd")) == "two/twistd"
    monkeypatch.setenv("PATH", "")
    assert command_text(tmp_path / "one" / "twistd") == "one/twistd"
