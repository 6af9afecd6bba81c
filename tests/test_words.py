"""Who speaks how: below the front ends errors have codes, and no text says what to type or to press."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatnet.console.commands import COMMANDS

PACKAGE = Path(__file__).parent.parent / "chatnet"
ROOMS = ("core", "net", "host", "registry", "peer")
# They define the options of the command line, and name them where a given value is wrong.
OPTIONS = {"host/options.py", "registry/options.py", "peer/options.py"}
SOURCES = [path for room in ROOMS for path in sorted((PACKAGE / room).rglob("*.py"))]

ADVICE = re.compile(
    rf"(?<![\w/.<~-])/(?:{'|'.join(command.name for command in COMMANDS)})\b(?![\w/.-])"  # a slash command
    r"|(?<![\w-])--[a-z]"  # an option
    r"|\bCHATNET_|\btwistd\b"
    r"|\b(?:Alt|Ctrl|Shift)-\w|\bF(?:[1-9]|1[0-2])\b|\b(?:Esc|Enter|Tab|PgUp|PgDn)\b"  # a key
)


def literals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every string but docstrings, with its line; of an f-string what is constant."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_below_the_front_ends_no_text_names_a_command_a_key_or_an_option(path: Path) -> None:
    if path.relative_to(PACKAGE).as_posix() in OPTIONS:
        pytest.skip("it defines options")
    found = [f"line {line}: {text}" for line, text in literals(ast.parse(path.read_text())) if ADVICE.search(text)]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "There is nothing to look for: /search TEXT",
        "a second peer needs another --name.",
        "--limit takes a number",
        "Alt-y takes it",
        "press F2",
        "Esc goes back",
        "set CHATNET_DATA",
        "twistd -n chatpeer",
    ],
)
def test_advice_is_found(text: str) -> None:
    assert ADVICE.search(text)


@pytest.mark.parametrize(
    "text", ["/proc/net/tcp", "DATA/registry/chatnet.db", "a/search/b", "GET /metrics", "-- a comment in SQL", "F13"]
)
def test_paths_and_comments_are_no_advice(text: str) -> None:
    assert not ADVICE.search(text)


def test_a_docstring_is_no_text_for_people_and_an_fstring_is() -> None:
    source = 'def one():\n    """Used by /search."""\n    return f"{1}: /search TEXT"\n'
    assert [text for _, text in literals(ast.parse(source))] == [": /search TEXT"]
