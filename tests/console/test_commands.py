"""How a typed line is understood."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatnet.console.commands import COMMANDS, PlainText, RunCommand, UnknownCommand, escaped, split_words, understand


def test_text_is_text() -> None:
    assert understand("hello /there") == PlainText("hello /there")
    assert understand("//msg bob") == PlainText("/msg bob")


def test_every_command_is_understood() -> None:
    for command in COMMANDS:
        assert understand(f"/{command.name} a b") == RunCommand(command, "a b")
        assert understand(f"/{command.name}") == RunCommand(command, "")


def test_an_unknown_command_is_never_text() -> None:
    answer = understand("/snd photo.jpg")
    assert isinstance(answer, UnknownCommand)
    assert answer.text == "No command /snd. Did you mean /send? (//snd … sends it as text)"
    assert isinstance(understand("/"), UnknownCommand)
    assert isinstance(understand("/ send"), RunCommand)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_an_escaped_word_is_one_word(word: str) -> None:
    if not word.strip() or any(c.isspace() and c not in " \t" for c in word) or "#" in word:
        return
    assert split_words(escaped(word)) == [word]


def test_an_open_quote_is_no_error() -> None:
    assert split_words("it's mine") == ["it's", "mine"]
