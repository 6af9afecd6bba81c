"""The key's file: made once, private under any umask, and refused when anything is wrong with it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chatnet.core.errors import LocalError
from chatnet.core.identity import peer_id_of
from chatnet.net.certificate import certificate_of
from chatnet.net.identity import KEY_FILE, load_or_make_identity


@pytest.fixture
def _restored_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def refused(directory: Path) -> str:
    with pytest.raises(LocalError) as caught:
        load_or_make_identity(directory)
    assert caught.value.code == "key"
    assert str(directory / KEY_FILE) in caught.value.text
    return caught.value.text


def pem(key: object, encryption: serialization.KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption or serialization.NoEncryption()
    )


def test_a_key_is_made_once_and_read_again(tmp_path: Path) -> None:
    made = load_or_make_identity(tmp_path)
    assert made.made
    again = load_or_make_identity(tmp_path)
    assert not again.made
    assert again.peer_id == made.peer_id == peer_id_of(made.public_key)
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


@pytest.mark.usefixtures("_restored_umask")
@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o777], ids=oct)
def test_only_the_owner_can_read_it_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    os.umask(umask)
    made = load_or_make_identity(tmp_path)
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert load_or_make_identity(tmp_path).peer_id == made.peer_id


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o777])
def test_a_key_that_others_may_touch_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    load_or_make_identity(tmp_path)
    (tmp_path / KEY_FILE).chmod(mode)
    assert f"chmod 600 {tmp_path / KEY_FILE}" in refused(tmp_path)


def test_a_key_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_or_make_identity(tmp_path)
    somebody_else = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: somebody_else)
    assert "belongs to somebody else" in refused(tmp_path)


@pytest.mark.parametrize("target", ["elsewhere.key", "nowhere.key"])
def test_a_symbolic_link_is_refused_wherever_it_leads(tmp_path: Path, target: str) -> None:
    load_or_make_identity(tmp_path)
    (tmp_path / KEY_FILE).rename(tmp_path / "elsewhere.key")
    (tmp_path / KEY_FILE).symlink_to(tmp_path / target)
    assert "symbolic link" in refused(tmp_path)
    assert not (tmp_path / "nowhere.key").exists()


def test_a_directory_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).mkdir(0o700)
    assert "is not a file" in refused(tmp_path)


def test_a_pipe_in_its_place_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / KEY_FILE, 0o600)
    assert "is not a file" in refused(tmp_path)


def foreign() -> dict[str, bytes]:
    good = Ed25519PrivateKey.generate()
    return {
        "empty": b"",
        "text": b"my key\n",
        "zeros": b"\0" * 4096,
        "another kind of key": pem(ec.generate_private_key(ec.SECP256R1())),
        "with a password": pem(good, serialization.BestAvailableEncryption(b"secret")),
        "cut short": pem(good)[:60],
        "the public half": good.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    }


@pytest.mark.parametrize("what", list(foreign()))
def test_foreign_content_is_refused_and_left_alone(tmp_path: Path, what: str) -> None:
    content = foreign()[what]
    path = tmp_path / KEY_FILE
    path.write_bytes(content)
    path.chmod(0o600)
    assert "is not an Ed25519 key" in refused(tmp_path)
    assert path.read_bytes() == content


def test_what_an_interrupted_start_left_behind_is_no_obstacle(tmp_path: Path) -> None:
    half = (tmp_path / KEY_FILE).with_suffix(".new")
    half.write_bytes(b"half a key")
    half.chmod(0o644)
    assert load_or_make_identity(tmp_path).made
    assert not half.exists()


def test_an_unfinished_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / KEY_FILE).with_suffix(".new").symlink_to(victim)
    load_or_make_identity(tmp_path)
    assert victim.read_bytes() == b"precious"


def test_the_certificate_is_a_constant_envelope_that_does_not_expire(tmp_path: Path) -> None:
    identity = load_or_make_identity(tmp_path)
    certificate = certificate_of(identity.private_key)
    assert certificate.public_bytes(serialization.Encoding.DER) == certificate_of(identity.private_key).public_bytes(
        serialization.Encoding.DER
    )
    assert certificate.subject == certificate.issuer == x509.Name.from_rfc4514_string("CN=chatnet")
    assert certificate.not_valid_after_utc.year == 9999
    assert certificate.public_key() == identity.private_key.public_key()


def test_signatures_are_by_this_key(tmp_path: Path) -> None:
    identity = load_or_make_identity(tmp_path)
    identity.private_key.public_key().verify(identity.sign(b"data"), b"data")


def test_a_key_that_is_gone_is_not_replaced_while_its_history_is_there(tmp_path: Path) -> None:
    load_or_make_identity(tmp_path, tmp_path / "chatnet.db")
    (tmp_path / "chatnet.db").write_bytes(b"")
    (tmp_path / KEY_FILE).unlink()
    with pytest.raises(LocalError) as caught:
        load_or_make_identity(tmp_path, tmp_path / "chatnet.db")
    assert caught.value.code == "key"
    assert caught.value.text == (
        f"the key {tmp_path / KEY_FILE} is missing, but {tmp_path / 'chatnet.db'} is there, which belongs to it. "
        f"Nothing was started. Put the key back from a copy, or move {tmp_path} away to start with a new key."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["chatnet.db"]


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "write":
        monkeypatch.setattr(os, "fdopen", full)
    else:
        monkeypatch.setattr(os, call, full)
    with pytest.raises(LocalError, match=r"cannot make the key .*identity\.key: the disk is full\."):
        load_or_make_identity(tmp_path)
    assert list(tmp_path.iterdir()) == []
