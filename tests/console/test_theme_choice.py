"""Which theme holds, and that a choice lasts."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatnet.console.theme_choice import ThemeChoice
from chatnet.core.choices import Theme
from chatnet.host.kept_choice import KeptChoice
from tests.support.scripted_peer import furnished
from tests.support.typist import Typist, new_clock


def test_the_first_that_is_known_holds(tmp_path: Path) -> None:
    kept = KeptChoice(tmp_path / "theme")
    light = {"COLORFGBG": "0;15"}
    assert ThemeChoice({}).theme is Theme.DARK
    assert ThemeChoice(light).theme is Theme.LIGHT
    assert ThemeChoice({"NO_COLOR": "1"}).theme is Theme.MONO
    assert ThemeChoice(light, configured=Theme.DARK).theme is Theme.DARK
    kept.put("mono")
    assert ThemeChoice(light, configured=Theme.DARK, store=kept).theme is Theme.MONO
    told = ThemeChoice(light, told=Theme.HIGH_CONTRAST, configured=Theme.DARK, store=kept)
    assert told.theme is Theme.HIGH_CONTRAST
    kept.put("no such theme")
    assert ThemeChoice(light, store=kept).theme is Theme.LIGHT


def test_a_choice_lasts_until_another_one_or_none(tmp_path: Path) -> None:
    kept = KeptChoice(tmp_path / "theme")
    first = ThemeChoice({}, configured=Theme.LIGHT, store=kept)
    assert first.choose(Theme.MONO)
    assert ThemeChoice({}, configured=Theme.LIGHT, store=kept).theme is Theme.MONO
    assert first.choose(None)
    assert (first.theme, kept.get()) == (Theme.LIGHT, "")


def test_what_is_told_at_each_start_stands_against_a_choice(tmp_path: Path) -> None:
    choice = ThemeChoice({}, told=Theme.MONO, store=KeptChoice(tmp_path / "theme"))
    assert not choice.choose(Theme.DARK)
    assert choice.theme is Theme.DARK
    assert choice.choose(Theme.MONO)


@pytest.mark.parametrize(
    ("environ", "told", "needs"),
    [
        ({}, Theme.DARK, False),
        ({"NO_COLOR": "1"}, None, False),
        ({"NO_COLOR": "1"}, Theme.LIGHT, True),
        ({}, Theme.MONO, False),
    ],
)
def test_a_theme_that_was_asked_for_wins_over_no_color(
    environ: dict[str, str], told: Theme | None, needs: bool
) -> None:
    """As no-color.org has it."""
    assert ThemeChoice(environ, told).needs_color is needs


# --- in the console ------------------------------------------------------------------------------


def said(console: Typist) -> str:
    return " ".join(console.screen().split())


def test_the_command_changes_the_screen_and_the_next_start(tmp_path: Path) -> None:
    kept, clock = KeptChoice(tmp_path / "theme"), new_clock()
    console = Typist(furnished(clock), clock=clock, theme=ThemeChoice({}, store=kept))
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
    console = Typist(
        furnished(clock), clock=clock, theme=ThemeChoice({}, store=KeptChoice(tmp_path / "file" / "theme"))
    )
    console.type("/theme light<enter>")
    assert "The theme is light until you quit; it could not be kept (not a directory)." in said(console)
    console.close()
    told = Typist(furnished(clock), clock=clock, theme=ThemeChoice({}, told=Theme.MONO))
    told.type("/theme light<enter>")
    assert "until you quit: --theme or CHATNET_THEME names another one at each start." in said(told)
    told.close()


def test_tab_completes_the_themes(console: Typist) -> None:
    console.type("/theme h<tab>")
    assert console.view.input.text == "/theme high-contrast "
