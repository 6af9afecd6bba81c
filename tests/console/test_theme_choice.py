"""Which theme holds, and that a choice lasts."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatnet.console.theme_choice import ThemeChoice
from chatnet.host.kept_choice import KeptChoice
from tests.support.scripted_peer import furnished
from tests.support.typist import Typist, new_clock


def test_the_first_that_is_known_holds(tmp_path: Path) -> None:
    kept = KeptChoice(tmp_path / "theme")
    light = {"COLORFGBG": "0;15"}
    assert ThemeChoice({}).name == "dark"
    assert ThemeChoice(light).name == "light"
    assert ThemeChoice({"NO_COLOR": "1"}).name == "mono"
    assert ThemeChoice(light, configured="dark").name == "dark"
    kept.put("mono")
    assert ThemeChoice(light, configured="dark", kept=kept).name == "mono"
    assert ThemeChoice(light, told="high-contrast", configured="dark", kept=kept).name == "high-contrast"
    kept.put("no such theme")
    assert ThemeChoice(light, kept=kept).name == "light"


def test_a_choice_lasts_until_another_one_or_none(tmp_path: Path) -> None:
    kept = KeptChoice(tmp_path / "theme")
    first = ThemeChoice({}, configured="light", kept=kept)
    assert first.choose("mono") == ""
    assert ThemeChoice({}, configured="light", kept=kept).name == "mono"
    assert first.choose("") == ""
    assert (first.name, kept.get()) == ("light", "")


def test_what_is_told_at_each_start_stands_against_a_choice(tmp_path: Path) -> None:
    choice = ThemeChoice({}, told="mono", kept=KeptChoice(tmp_path / "theme"))
    assert choice.choose("dark") == "told"
    assert choice.name == "dark"
    assert choice.choose("mono") == ""


@pytest.mark.parametrize(
    ("environ", "told", "needs"),
    [({}, "dark", False), ({"NO_COLOR": "1"}, "", False), ({"NO_COLOR": "1"}, "light", True), ({}, "mono", False)],
)
def test_a_theme_that_was_asked_for_wins_over_no_color(environ: dict[str, str], told: str, needs: bool) -> None:
    """As no-color.org has it."""
    assert ThemeChoice(environ, told).needs_color is needs


# --- in the console ------------------------------------------------------------------------------


def said(console: Typist) -> str:
    return " ".join(console.screen().split())


def test_the_command_changes_the_screen_and_the_next_start(tmp_path: Path) -> None:
    kept, clock = KeptChoice(tmp_path / "theme"), new_clock()
    console = Typist(furnished(clock), clock=clock, theme=ThemeChoice({}, kept=kept))
    console.type("/theme<enter>")
    assert "The theme is dark. /theme [dark|light|high-contrast|mono|auto] takes another one." in said(console)
    cleared = console.memory.cleared
    console.type("/theme high-contrast<enter>")
    assert "The theme is high-contrast." in console.screen()
    assert console.memory.cleared > cleared
    assert console.memory.resolve_attr(None, 3).background == "#000"
    assert kept.get() == "high-contrast"
    console.type("/theme pink<enter>")
    assert "/theme [dark|light" in console.screen()
    assert console.view.input.text == "/theme pink"
    console.type("<ctrl u>/theme auto<enter>")
    assert "The theme is dark." in console.screen()
    assert kept.get() == ""
    assert console.memory.resolve_attr(None, 3).background == "default"
    console.close()


def test_what_keeps_a_choice_from_lasting_is_said(tmp_path: Path) -> None:
    clock = new_clock()
    (tmp_path / "file").touch()
    console = Typist(furnished(clock), clock=clock, theme=ThemeChoice({}, kept=KeptChoice(tmp_path / "file" / "theme")))
    console.type("/theme light<enter>")
    assert "The theme is light until you quit; it could not be kept (not a directory)." in said(console)
    console.close()
    told = Typist(furnished(clock), clock=clock, theme=ThemeChoice({}, told="mono"))
    told.type("/theme light<enter>")
    assert "until you quit: --theme or CHATNET_THEME names another one at each start." in said(told)
    told.close()


def test_tab_completes_the_themes(console: Typist) -> None:
    console.type("/theme h<tab>")
    assert console.view.input.text == "/theme high-contrast "
