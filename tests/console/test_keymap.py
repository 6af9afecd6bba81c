"""One table: dispatch, help and footer agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatnet.console.actions.all import Actions
from chatnet.console.commands import COMMANDS
from chatnet.console.keymap import KEYS, Context, Key, KeyConflict, Keymap, hint, stroke_text
from chatnet.console.overlays.help import as_markdown, help_lines
from tests.support.typist import Typist


def test_every_key_and_command_does_something() -> None:
    for key in KEYS:
        assert not key.command or callable(getattr(Actions, f"key_{key.command}")), key
    for command in COMMANDS:
        assert callable(getattr(Actions, f"cmd_{command.name}")), command


def test_no_action_is_without_a_key_or_a_command() -> None:
    from_wheel = {"key_wheel"}
    named = {f"key_{key.command}" for key in KEYS} | {f"cmd_{command.name}" for command in COMMANDS} | from_wheel
    there = {name for name in dir(Actions) if name.startswith(("key_", "cmd_"))}
    assert there == named - {"key_"}


def test_help_holds_the_whole_table() -> None:
    rows = help_lines()
    assert len(rows) == len(KEYS) + len(COMMANDS)
    for key in KEYS:
        assert (str(key.context), key.shown, key.help) in rows
    for command in COMMANDS:
        assert any(shown == command.shown and text == command.help for _, shown, text in rows)


def test_the_document_is_made_from_the_table() -> None:
    """Made by ``as_markdown()`` of ``chatnet.console.overlays.help``; CONTRIBUTING.md has the command."""
    document = Path(__file__).parents[2] / "docs" / "keys.md"
    assert document.read_text(encoding="utf-8") == as_markdown()


def test_two_commands_on_one_key_is_an_error_with_both_names() -> None:
    one = Key(Context.ANYWHERE, ("f1",), "help", "help me")
    other = Key(Context.INPUT, ("f1",), "send", "send it")
    with pytest.raises(KeyConflict, match=r"F1.*'help me'.*'send it'"):
        Keymap([one, other])
    with pytest.raises(KeyConflict):
        Keymap([other, one])
    Keymap([other, Key(Context.PEOPLE, ("f1",), "back", "elsewhere")])


def test_every_function_key_has_a_twin_or_a_command() -> None:
    slash = {command.name for command in COMMANDS}
    for key in KEYS:
        if key.strokes[0].startswith("f") and len(key.strokes[0]) > 1:
            assert len(key.strokes) > 1 or key.command in slash, key


def test_a_slash_begins_a_command_wherever_it_is_no_letter() -> None:
    elsewhere = {Context.ANYWHERE, Context.QUESTION, Context.INPUT, Context.FIND, Context.FORM}
    elsewhere |= {Context.PEOPLE, Context.PICKER}  # there it looks for names
    keymap = Keymap()
    assert {context for context in Context if keymap.command(context, "/") != "command_line"} == elsewhere


@pytest.mark.parametrize(
    ("stroke", "shown"),
    [
        ("meta enter", "Alt-Enter"),
        ("ctrl a", "Ctrl-A"),
        ("page up", "PgUp"),
        ("meta a", "Alt-a"),
        ("f10", "F10"),
        (" ", "Space"),
    ],
)
def test_strokes_as_people_write_them(stroke: str, shown: str) -> None:
    assert stroke_text(stroke) == shown


def test_hints_come_from_the_table() -> None:
    assert hint("quit") == ("F10", "quit")
    with pytest.raises(KeyError):
        hint("no such")


def test_help_on_the_screen_searches_and_scrolls(console: Typist) -> None:
    console.type("<f1>")
    assert "In the input" in console.lines()[2]
    console.type("<pgdn>")
    assert "In the input" not in console.lines()[2]
    console.type("delete a word")
    assert "Ctrl-W" in console.screen()
    assert "Alt-1" not in console.screen()
    console.type("zzz")
    assert "Nothing has these letters" in console.screen()
    console.type("<esc>")
    assert "Welcome, carol" in console.screen()


def test_help_begins_with_what_is_focused(console: Typist) -> None:
    console.type("<f4><f1>")
    assert "In the list of transfers" in console.lines()[2]
