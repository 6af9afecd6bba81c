"""The umask is read without being changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chatnet.host import umask


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o027, 0o077])
def test_it_is_the_umask_of_the_process(mask: int) -> None:
    before = os.umask(mask)
    try:
        assert umask.process_umask() == mask
    finally:
        os.umask(before)


@pytest.mark.parametrize("content", [None, b"Name:\ttwistd\n", b"Umask:\n", b"Umask:\t99\n"])
def test_where_it_cannot_be_read_nobody_else_gets_anything(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = tmp_path / "status"
    if content is not None:
        status.write_bytes(content)
    monkeypatch.setattr(umask, "STATUS", str(status))
    assert umask.process_umask() == 0o077
