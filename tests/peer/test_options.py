"""The peer's settings, and when a console runs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest
from twisted.python import usage

from chatnet.core.choices import Theme
from chatnet.core.events import AlertContent
from chatnet.core.limits import PeerLimits
from chatnet.host.options import LogChoice
from chatnet.peer.directory.registry_address import RegistryAddress
from chatnet.peer.options import PeerOptions, PeerSettings, wants_console


def parse(
    tmp_path: Path, *arguments: str, environ: dict[str, str] | None = None, twistd: dict[str, Any] | None = None
) -> PeerSettings:
    options = PeerOptions(
        {"CHATNET_CONFIG": str(tmp_path / "user.toml"), **(environ or {})}, system_config=tmp_path / "system.toml"
    )
    if not (tmp_path / "user.toml").exists():
        (tmp_path / "user.toml").touch()
    if twistd is not None:
        options.parent = twistd  # type: ignore[assignment]
    options.parseOptions(list(arguments))
    return options.settings


@pytest.fixture
def terminal() -> Iterator[TextIO]:
    ours, find_open = os.openpty()
    with os.fdopen(find_open, "r+b", buffering=0) as _, open(find_open, "w", closefd=False) as stream:
        yield stream
    os.close(ours)


def test_what_nobody_told(tmp_path: Path) -> None:
    settings = parse(tmp_path, "--name", "carol")
    assert settings.registry == RegistryAddress("127.0.0.1", 9900)
    assert settings.listen == ()
    assert not settings.headless
    assert not settings.ascii
    assert settings.limits == PeerLimits()
    assert (settings.notify, settings.usual_notify) == (None, None)


def test_everything_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "user.toml").write_text(
        f"""
[peer]
name = "bob"
registry = "tcp:lan.example:9901"
listen = "tcp:0"
data = "{tmp_path}/d"
state = "{tmp_path}/s"
downloads = "{tmp_path}/got"
headless = true
ascii = true
notify = "text"
theme = "light"

[peer.limits]
links = 3
"""
    )
    settings = parse(tmp_path)
    assert settings.warnings == ()
    assert settings.name == "bob"
    assert settings.registry == RegistryAddress("lan.example", 9901)
    assert settings.listen == ("tcp:0",)
    assert settings.roots.of("bob").data == tmp_path / "d" / "bob"
    assert settings.roots.of("bob").state == tmp_path / "s" / "bob"
    assert settings.roots.downloads == tmp_path / "got"
    assert settings.headless
    assert settings.ascii
    assert (settings.notify, settings.usual_notify) == (None, AlertContent.TEXT)
    assert (settings.theme, settings.usual_theme) == (None, Theme.LIGHT)
    assert settings.limits.budgets.links.all == 3


def test_variables_win_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "user.toml").write_text('[peer]\nname = "bob"\nheadless = true\n')
    environ = {
        "CHATNET_NAME": "carol",
        "CHATNET_HEADLESS": "no",
        "CHATNET_ASCII": "1",
        "CHATNET_REGISTRY": "lan",
        "CHATNET_DOWNLOADS": str(tmp_path / "x"),
        "CHATNET_LISTEN": "tcp:7",
        "CHATNET_NOTIFY": "Off",
    }
    settings = parse(tmp_path, environ=environ)
    assert (settings.name, settings.headless, settings.ascii) == ("carol", False, True)
    assert (settings.registry.host, settings.listen) == ("lan", ("tcp:7",))
    assert settings.roots.downloads == tmp_path / "x"
    assert settings.notify is AlertContent.OFF
    assert parse(tmp_path, "--notify", "bell", environ=environ).notify is AlertContent.BELL
    assert parse(tmp_path, "--name", "dave", environ=environ).name == "dave"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--name", "x y"],
            r"^'x y' cannot be a name: 1 to 32 of a-z, 0-9, - and _, beginning and ending with a letter or digit\.$",
        ),
        (["--name", ""], "^'' cannot be a name"),
        (["--name", "../carol"], "cannot be a name"),
        (["--name", "a\x1b[2J"], "^'a\ufffd\\[2J' cannot be a name"),
        (["--name", "registry"], r"^'registry' is reserved\. Choose another name\.$"),
        (["--name", "carol", "--registry", "x y"], "^--registry: 'x y' is no registry"),
        (["--name", "carol", "--registry", "chatnet:a:1/AAA"], "^--registry: "),
        (["--name", "carol", "--notify", "loud"], '^--notify must be off, bell, count, name or text, not "loud"$'),
        (
            ["--name", "carol", "--theme", "pink"],
            '^--theme must be dark, light, high-contrast or mono, not "pink"$',
        ),
        (["--headless"], "^without a console it must be told who it is, e.g. --name carol$"),
    ],
)
def test_mistakes_in_plain_words(tmp_path: Path, arguments: list[str], words: str) -> None:
    with pytest.raises(usage.UsageError, match=words):
        parse(tmp_path, *arguments)


def test_a_console_needs_a_terminal_and_leave(tmp_path: Path, terminal: TextIO) -> None:
    settings = parse(tmp_path, "--name", "carol", twistd={"nodaemon": 1})
    assert wants_console(settings, terminal, terminal)
    with open(os.devnull) as null:
        assert not wants_console(settings, null, terminal)
        assert not wants_console(settings, terminal, null)
    for change in ({"headless": True}, {"daemon": True}, {"log": LogChoice("-")}):
        changed: dict[str, Any] = change
        assert not wants_console(dataclasses.replace(settings, **changed), terminal, terminal)
    assert wants_console(dataclasses.replace(settings, log=LogChoice("/tmp/log")), terminal, terminal)


def test_a_console_can_ask_for_the_name(tmp_path: Path, terminal: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.__stdin__", terminal)
    monkeypatch.setattr("sys.__stdout__", terminal)
    assert parse(tmp_path, twistd={"nodaemon": 1}).name == ""


def test_the_demo_is_told_by_its_environment(tmp_path: Path) -> None:
    assert parse(tmp_path, "--name", "carol", environ={"CHATNET_DEMO": "1"}).is_demo
    assert not parse(tmp_path, "--name", "carol").is_demo


def test_received_files_follow_the_umask_of_the_shell_or_the_one_that_twistd_was_told(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        assert parse(tmp_path, "--name", "bob", twistd={"umask": None}).umask == 0o027
        assert parse(tmp_path, "--name", "bob").umask == 0o027
        assert parse(tmp_path, "--name", "bob", twistd={"umask": 0o007}).umask == 0o007
    finally:
        os.umask(before)


def test_what_can_be_chosen_in_the_console_is_told_or_configured(tmp_path: Path) -> None:
    """Between the two stands the choice."""
    (tmp_path / "system.toml").write_text('[peer]\ntheme = "mono"\nnotify = "text"\n')
    environ = {"CHATNET_THEME": "dark", "CHATNET_NOTIFY": "off"}
    found = parse(tmp_path, "--name", "carol")
    assert (found.theme, found.usual_theme) == (None, Theme.MONO)
    assert (found.notify, found.usual_notify) == (None, AlertContent.TEXT)
    found = parse(tmp_path, "--name", "carol", environ=environ)
    assert (found.theme, found.usual_theme) == (Theme.DARK, Theme.MONO)
    assert (found.notify, found.usual_notify) == (AlertContent.OFF, AlertContent.TEXT)
    found = parse(tmp_path, "--name", "carol", "--theme", "light", "--notify", "bell", environ=environ)
    assert (found.theme, found.notify) == (Theme.LIGHT, AlertContent.BELL)
    (tmp_path / "user.toml").write_text('[peer]\ntheme = "blue"\n')
    with pytest.raises(usage.UsageError, match=r'user.toml line 2: theme must be dark, .*, not "blue"$'):
        parse(tmp_path, "--name", "carol")
