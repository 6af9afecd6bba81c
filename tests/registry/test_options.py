"""The registry's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatnet.core.limits import RegistryLimits
from chatnet.registry.options import RegistryOptions


def test_what_nobody_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "d"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    options = RegistryOptions({}, tmp_path / "system.toml")
    options.parseOptions([])
    settings = options.settings
    assert settings.listen == ()
    assert settings.limits == RegistryLimits()
    assert settings.places.data == tmp_path / "d" / "chatnet" / "registry"
    assert settings.places.join == tmp_path / "s" / "chatnet" / "registry" / "join"
    assert settings.warnings == ()
