"""The configuration file: what is wrong is named where it stands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chatnet.core.limits import CONFIG_BYTES, CONFIG_WARNINGS
from chatnet.host.config import BadSetting, ConfigFile, Setting, from_environment

SAMPLE = """\
# a comment
[registry]
listen = "tcp:9900"

[peer]
name = "carol"
headless = "yes"
listen = ["tcp:1", "tcp:2"]

[peer.limits]
links = 12
idle_seconds = 2.5
loopback = "counted"
transfers = true
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


def test_values_say_where_they_stand(tmp_path: Path) -> None:
    path = write(tmp_path, SAMPLE)
    config = ConfigFile.read(path, "peer")
    name = config.get("name")
    assert name is not None
    assert (name.text(), name.place) == ("carol", f"config {path} line 6: name")
    assert config.get("registry") is None
    listen = config.get("listen")
    assert listen is not None
    assert listen.texts() == ("tcp:1", "tcp:2")


def test_a_wrong_kind_says_what_it_must_be(tmp_path: Path) -> None:
    path = write(tmp_path, SAMPLE)
    headless = ConfigFile.read(path, "peer").get("headless")
    assert headless is not None
    with pytest.raises(BadSetting) as caught:
        headless.flag()
    assert caught.value.text == f'config {path} line 7: headless must be true or false, not "yes"'


def test_limits_are_assignments_with_their_line(tmp_path: Path) -> None:
    path = write(tmp_path, SAMPLE)
    limits = ConfigFile.read(path, "peer").limits()
    given = [next(limits) for _ in range(3)]
    assert [g.value for g in given] == ["links=12", "idle_seconds=2.5", "loopback=counted"]
    assert given[0].place == f"config {path} line 11: links"
    with pytest.raises(BadSetting, match="line 14: transfers must be a number, not true"):
        next(limits)


def test_unknown_words_are_told_with_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path, '[peers]\nx = 1\n[peer]\nnmae = "carol"\nqqq = 1\n')
    assert list(ConfigFile.read(path, "peer").unknown(("name", "listen"))) == [
        f"config {path} line 1: peers is no section that is known, and was passed over. Did you mean peer?",
        f"config {path} line 4: nmae is no key that is known, and was passed over. Did you mean name?",
        f"config {path} line 5: qqq is no key that is known, and was passed over.",
    ]


def test_the_other_programs_section_is_not_judged(tmp_path: Path) -> None:
    path = write(tmp_path, "[registry]\nanything = 1\n")
    assert list(ConfigFile.read(path, "peer").unknown(("name",))) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[peer\n", r"config\.toml: .*line 1"),
        ("peer = 3\n", r"config\.toml line 1: peer must be a section: \[peer\]"),
        ("[peer]\nlimits = 3\n", r"line 2: limits must be a table: \[peer\.limits\], not 3"),
        ("x = " + "[" * 5_000, r"config\.toml: "),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(BadSetting, match=words):
        list(ConfigFile.read(path, "peer").limits())


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b'[peer]\nname = "\xff"\n')
    with pytest.raises(BadSetting, match=f"config {path}: "):
        ConfigFile.read(path, "peer")


def test_a_missing_file_matters_only_when_it_was_asked_for(tmp_path: Path) -> None:
    assert ConfigFile.read(tmp_path / "none", "peer").get("name") is None
    with pytest.raises(BadSetting, match="there is no such file"):
        ConfigFile.read(tmp_path / "none", "peer", required=True)
    with pytest.raises(BadSetting, match="cannot be read"):
        ConfigFile.read(tmp_path, "peer")


def test_the_environment_speaks_of_itself() -> None:
    environ = {"A": "yes", "B": "0", "C": "maybe", "D": "tcp:1 tcp:2", "E": ""}
    values = {
        name: from_environment(environ, name, kind)
        for name, kind in zip("ABCDEF", ["flag"] * 3 + ["list"] * 3, strict=False)
    }
    assert values["A"] == Setting(True, "A")
    assert values["B"] == Setting(False, "B")
    assert values["D"] == Setting(["tcp:1", "tcp:2"], "D")
    assert values["E"] is values["F"] is None
    assert values["C"] is not None
    with pytest.raises(BadSetting, match=r'^C must be true or false, not "maybe"$'):
        values["C"].flag()


def test_paths_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/carol")
    monkeypatch.chdir(tmp_path)
    assert Setting("~/x", "--data").path() == Path("/home/carol/x")
    assert Setting("x", "--data").path() == tmp_path / "x"
    with pytest.raises(BadSetting, match="--data must be a path"):
        Setting("", "--data").path()


@pytest.mark.parametrize("kind", ["pipe", "zero", "link to zero", "directory"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "config.toml"
    if kind == "pipe":
        os.mkfifo(path)  # nobody will ever write into it
    elif kind == "zero":
        path = Path("/dev/zero")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(BadSetting, match=r"^config .*(is not a regular file|is a directory)"):
        ConfigFile.read(path, "peer")


def test_a_huge_file_is_refused_and_a_link_to_a_usual_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "real.toml"
    path.write_bytes(b'[peer]\nname = "carol"\n' + b"#" * (CONFIG_BYTES - 22))
    (tmp_path / "config.toml").symlink_to(path)
    assert ConfigFile.read(tmp_path / "config.toml", "peer").document == {"peer": {"name": "carol"}}
    with open(path, "ab") as file:
        file.write(b"#")
    with pytest.raises(BadSetting, match="is larger than 128 KiB"):
        ConfigFile.read(path, "peer")


def test_of_many_unknown_keys_a_few_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, "[peer]\n" + "".join(f"key{n} = 1\n" for n in range(5_000)))
    warnings = list(ConfigFile.read(path, "peer").unknown(("name",)))
    assert len(warnings) == CONFIG_WARNINGS + 1
    assert warnings[0] == f"config {path} line 2: key0 is no key that is known, and was passed over."
    assert warnings[-1] == f"config {path}: {5_000 - CONFIG_WARNINGS} more were passed over."


@pytest.mark.parametrize("text", ["", "~nobody-of-that-name/x", "a\0b"])
def test_what_is_no_path_is_named(text: str) -> None:
    with pytest.raises(BadSetting, match=r"^--data must be an? (absolute )?path, not "):
        Setting(text, "--data").path()
