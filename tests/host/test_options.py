"""What both commands take, tried through the registry's options and through twistd's own parser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.python import usage
from twisted.scripts.twistd import ServerOptions

from chatnet import __version__
from chatnet.host.options import LogChoice, checked_endpoint
from chatnet.registry.options import RegistryOptions, RegistrySettings


def parse(
    tmp_path: Path, *arguments: str, environ: dict[str, str] | None = None, twistd: dict[str, Any] | None = None
) -> RegistrySettings:
    options = RegistryOptions(
        {"CHATNET_STATE": str(tmp_path / "state"), **(environ or {})}, system_config=tmp_path / "system.toml"
    )
    if twistd is not None:
        options.parent = twistd  # type: ignore[assignment]
    options.parseOptions(list(arguments))
    return options.settings


def test_the_order_of_places(tmp_path: Path) -> None:
    """Command line, then variable, then the user's file, then the system's."""
    (tmp_path / "system.toml").write_text('[registry]\nlisten = "tcp:1"\n')
    (tmp_path / "user.toml").write_text('[registry]\nlisten = ["tcp:2", "tcp:22"]\n')
    user = {"CHATNET_CONFIG": str(tmp_path / "user.toml")}
    both = {**user, "CHATNET_REGISTRY_LISTEN": "tcp:3 tcp:33"}
    nothing = {"CHATNET_CONFIG": ""}
    assert parse(tmp_path, "--listen", "tcp:4", "--listen", "tcp:44", environ=both).listen == ("tcp:4", "tcp:44")
    assert parse(tmp_path, environ=both).listen == ("tcp:3", "tcp:33")
    assert parse(tmp_path, environ=user).listen == ("tcp:2", "tcp:22")
    assert parse(tmp_path, environ=nothing).listen == ("tcp:1",)
    (tmp_path / "system.toml").unlink()
    assert parse(tmp_path, environ=nothing).listen == ()


def test_places_are_parents_of_the_name(tmp_path: Path) -> None:
    settings = parse(tmp_path, "--data", str(tmp_path / "d"))
    assert settings.places.data == tmp_path / "d" / "registry"
    assert settings.places.state == tmp_path / "state" / "registry"


def test_limits_from_files_and_command_line(tmp_path: Path) -> None:
    (tmp_path / "system.toml").write_text("[registry.limits]\nconnections = 5\nclaims = 6\nlookups_burst = 9\n")
    (tmp_path / "user.toml").write_text('[registry.limits]\nclaims = 7\nloopback = "counted"\n')
    limits = parse(
        tmp_path, "--config", str(tmp_path / "user.toml"), "--limit", "lookups_burst=10", "--limit", "ping_seconds=0.5"
    ).limits
    assert (limits.connections, limits.claims, limits.lookups_burst) == (5, 7, 10)
    assert (limits.loopback, limits.ping_seconds) == ("counted", 0.5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--listen", "9901"], r"^--listen: '9901' is no endpoint\. Did you mean tcp:9901\?$"),
        (["--listen", "tcp:abc"], r"^--listen: 'tcp:abc' is no endpoint to listen on\. Example: tcp:9900:interface="),
        (["--listen", "tcp:99999"], "'tcp:99999' is no endpoint"),
        (["--listen", "gopher:70"], "'gopher:70' is no endpoint"),
        (["--listen", ""], "'' is no endpoint"),
        (["--listen", "tcp:1:nothing=2"], "is no endpoint"),
        (["--limit", "nothing=3"], r"^--limit: there is no limit 'nothing'\. All are shown by --limits$"),
        (
            ["--limit", "claim=3"],
            r"^--limit: there is no limit 'claim'\. Did you mean claims\? All are shown by --limits$",
        ),
        (["--limit", "claims"], r"^--limit: 'claims' has not the form NAME=VALUE$"),
        (["--limit", "claims=many"], r"^--limit: claims is a number, not 'many'$"),
        (["--limit", "claims=-1"], "must be above 0"),
        (["--config", "/nowhere/config.toml"], r"^config /nowhere/config\.toml: there is no such file$"),
        (["--data", ""], r"^--data must be a path, not \"\"$"),
        (["--nmae", "x"], "not recognized"),
        (["surplus"], "Wrong number of arguments"),
    ],
)
def test_mistakes_in_plain_words(tmp_path: Path, arguments: list[str], words: str) -> None:
    with pytest.raises(usage.UsageError, match=words):
        parse(tmp_path, *arguments)


def test_a_mistake_in_the_file_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "user.toml"
    path.write_text('[registry]\n\nlisten = "tcp:x"\n')
    with pytest.raises(usage.UsageError, match=f"^config {path} line 3: listen: 'tcp:x' is no endpoint"):
        parse(tmp_path, "--config", str(path))


def test_under_twistd_a_mistake_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(tmp_path, "--listen", "tcp:x", twistd={})
    assert caught.value.code == (
        "chatregistry: --listen: 'tcp:x' is no endpoint to listen on. Example: tcp:9900:interface=127.0.0.1"
    )
    with pytest.raises(
        SystemExit, match=r"chatregistry: option --nmae not recognized\. See: twistd chatregistry --help"
    ):
        parse(tmp_path, "--nmae", twistd={})


def test_unknown_keys_warn_and_do_no_harm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "system.toml").write_text('[registry]\nlistne = "tcp:1"\n')
    settings = parse(tmp_path)
    (warning,) = settings.warnings
    assert warning.endswith(
        "system.toml line 2: listne is no key that is known, and was passed over. Did you mean listen?"
    )
    assert capsys.readouterr().err == f"chatregistry: {warning}\n"


def test_limits_are_shown_with_their_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(tmp_path, "--limits", "--limit", "claims=77")
    assert caught.value.code == 0
    rows = capsys.readouterr().out.splitlines()
    assert any(row.split()[:2] == ["claims", "77"] for row in rows)
    assert any(row.startswith("handshake_seconds") for row in rows)


def test_the_version_is_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(tmp_path, "--version")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"chatnet {__version__}\n"


@pytest.mark.parametrize(("given", "kept"), [("twistd.pid", ""), ("/run/my.pid", "/run/my.pid"), ("", "")])
def test_twistds_own_pidfile_is_switched_off(tmp_path: Path, given: str, kept: str) -> None:
    twistd = {"pidfile": given, "nodaemon": 1}
    assert not parse(tmp_path, twistd=twistd).daemon
    assert twistd["pidfile"] == kept


def test_twistds_default_pidfile_is_what_we_think(tmp_path: Path) -> None:
    twistd = ServerOptions()
    assert parse(tmp_path, twistd=twistd).daemon
    assert twistd["pidfile"] == ""
    assert LogChoice.of(twistd) == LogChoice()


def test_the_users_choice_of_logging_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse(tmp_path, twistd={"logfile": "here.log"}).log == LogChoice(str(tmp_path / "here.log"))
    assert parse(tmp_path, twistd={"logfile": "-"}).log == LogChoice("-")
    assert parse(tmp_path, twistd={"logger": "some.thing"}).log.elsewhere
    assert parse(tmp_path, twistd={"syslog": 1}).log.elsewhere


@pytest.mark.parametrize(
    "text", ["tcp:0", "tcp:9900:interface=\\:\\:1", "tcp:port=9900", "unix:/tmp/x", "systemd:domain=INET6:index=0"]
)
def test_good_endpoints(text: str) -> None:
    assert checked_endpoint(text) == text


def test_help_names_every_option() -> None:
    shown = str(RegistryOptions({}))
    for option in ("--listen=", "--data=", "--state=", "--config=", "--limit=", "--limits", "--version"):
        assert option in shown
