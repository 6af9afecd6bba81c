"""How the screen is laid out at every size."""

from __future__ import annotations

import pytest

from tests.support.scripted_peer import furnished, key_of
from tests.support.typist import Typist, new_clock

BOB = key_of("bob")


def test_layouts_by_size(console: Typist) -> None:
    console.type("/msg bob<enter>")
    assert any(line[20:21] == "│" for line in console.lines())
    console.resize(140, 40)
    assert any(line[26:27] == "│" for line in console.lines())
    assert "3 ms" in next(line for line in console.lines() if line.startswith(" ● bob"))
    console.resize(50, 14)
    assert "ONLINE" not in console.screen()
    assert console.lines()[0].startswith("carol")
    assert "reg up" in console.lines()[0]
    assert len(console.lines()) == 14
    assert "will do" in console.screen()
    console.type("<f2>")
    assert "ONLINE" in console.screen()
    console.type("<esc>")
    assert "ONLINE" not in console.screen()
    console.resize(39, 9)
    assert "40×10 needed (now 39×9). Everything" in console.screen()
    console.resize(80, 24)
    assert "ONLINE" in console.screen()


@pytest.mark.parametrize("cols", [40, 41, 50, 59, 60, 71, 72, 73, 80, 119, 120, 140, 200])
@pytest.mark.parametrize("rows", [10, 11, 14, 24, 60])
def test_everything_is_drawn_at_every_size(console: Typist, cols: int, rows: int) -> None:
    for typed in ("/msg bob<enter>", "<f1>", "<esc><f4>", "<f2>", "<esc><meta 1><f5>"):
        console.type(typed)
        console.resize(cols, rows)
        assert len(console.memory.last_text) == rows
        assert "could not be drawn" not in console.screen()
        assert "went wrong" not in console.screen()


def test_ascii_signs_only(console: Typist) -> None:
    clock = new_clock()
    plain = Typist(furnished(clock), ascii_only=True, clock=clock)
    plain.type("/msg echo hi<enter>")
    plain.wait(2)
    plain.peer.rows[BOB].clear()
    plain.type("<f4>")
    assert plain.screen().isascii()
    plain.close()
