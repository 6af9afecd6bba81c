"""Directories: where they lie, and who may read them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatnet.core.errors import LocalError
from chatnet.host.paths import ProfilePaths, Roots


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o277], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def places_in(root: Path, name: str = "carol") -> ProfilePaths:
    return Roots(root / "config.toml", root / "share" / "data", root / "var" / "state", root / "downloads").of(name)


def test_the_directories_are_private_under_any_umask(tmp_path: Path, umask: int) -> None:
    if umask == 0o277:
        (tmp_path / "downloads").mkdir(mode=0o755)  # only ours must survive such a mask
    places = places_in(tmp_path)
    assert places.prepare()
    for directory in (places.data, places.state, places.data.parent, places.state.parent, tmp_path / "share"):
        assert mode_of(directory) == 0o700


def test_downloads_are_made_as_the_user_makes_files(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        places = places_in(tmp_path)
        places.prepare()
        assert mode_of(places.downloads) == 0o755
    finally:
        os.umask(before)


def test_downloads_are_made_as_the_user_makes_files_also_where_twistd_has_changed_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        for number, (umask, mode) in enumerate([(0o022, 0o755), (0o002, 0o775), (0o777, 0o700)]):
            places = Roots(*(tmp_path / part for part in ("c", "data", "state", f"down{number}"))).of("carol")
            for _ in range(2):
                places.prepare(umask=umask)
            assert stat.S_IMODE(places.downloads.stat().st_mode) == mode
            places.downloads.chmod(0o711)
            places.prepare(umask=umask)  # what is there stays as it is
            assert stat.S_IMODE(places.downloads.stat().st_mode) == 0o711
    finally:
        os.umask(before)


def test_a_registry_has_no_downloads(tmp_path: Path) -> None:
    places = places_in(tmp_path, "registry")
    places.prepare(downloads=False)
    assert places.data.is_dir()
    assert not places.downloads.exists()


def test_a_profile_is_new_only_once_and_can_be_removed(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    made = places.prepare()
    assert made == {places.data, places.state}
    assert not places.prepare()
    (places.data / "identity.key").write_text("secret")
    places.remove(made)
    assert not places.data.exists()
    assert not places.state.exists()
    assert places.data.parent.exists()  # other profiles live there
    assert places.prepare()


def test_only_what_was_made_is_removed(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    places.state.mkdir(parents=True, mode=0o700)
    (places.state / "log").write_text("of a profile whose data are elsewhere now")
    made = places.prepare()
    assert made == {places.data}
    places.remove(made)
    assert not places.data.exists()
    assert (places.state / "log").exists()


def test_data_and_state_may_be_the_same(tmp_path: Path) -> None:
    places = Roots(tmp_path / "c", tmp_path / "all", tmp_path / "all", tmp_path / "all" / "downloads").of("bob")
    assert places.prepare()
    assert places.data == places.state == tmp_path / "all" / "bob"
    files = [places.database, places.lock, places.log, places.join]
    assert len(set(files)) == len(files)


def test_a_directory_that_others_can_read_is_refused(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    places.prepare()
    places.data.chmod(0o750)
    with pytest.raises(LocalError, match=r"can be read by others\. Run: chmod 700 "):
        places.prepare()


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = places_in(tmp_path)
    places.prepare()
    somebody_else = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: somebody_else)
    with pytest.raises(LocalError, match="belongs to somebody else"):
        places.prepare()


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    places.data.parent.mkdir(parents=True)
    places.data.write_text("")
    with pytest.raises(LocalError, match="carol is not a directory"):
        places.prepare()


def test_a_place_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "share").write_text("")
    with pytest.raises(LocalError, match=r"cannot use the directory .*not a directory"):
        places_in(tmp_path).prepare()


def test_the_usual_places_follow_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "d"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_DOWNLOAD_DIR", str(tmp_path / "Downloads"))
    roots = Roots.usual()
    assert roots.config == tmp_path / "c" / "chatnet" / "config.toml"
    assert roots.of("bob").data == tmp_path / "d" / "chatnet" / "bob"
    assert roots.of("bob").state == tmp_path / "s" / "chatnet" / "bob"
    assert roots.downloads == tmp_path / "Downloads" / "chatnet"
