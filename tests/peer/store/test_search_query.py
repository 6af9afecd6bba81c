"""What people type to find something, as FTS5 takes it: never an error of syntax, never another meaning."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatnet.core.errors import LocalError
from chatnet.peer.store.search_query import talk_word, understand_query


@pytest.mark.parametrize(
    ("typed", "words", "pieces"),
    [
        ("hello", '"hello" *', ()),
        ("to be", '"to" AND "be"', ()),  # too short to be a beginning
        ("hello ", '"hello"', ()),  # the word is over
        ('"two words" three', '"two words" AND "three" *', ()),
        ('one "two words', '"one" AND "two" AND "words" *', ()),  # a quote that is open still
        ("NOT NEAR(a b) body:x*", '"NOT" AND "NEAR(a" AND "b)" AND "body:x*" *', ()),
        ("你好", "", ("你好",)),
        ("see 👋 There", '"see" AND "There" *', ("👋",)),
        ("-- !!", "", ("--", "!!")),
    ],
)
def test_what_it_means(typed: str, words: str, pieces: tuple[str, ...]) -> None:
    assert understand_query(typed) == (words, pieces)


@pytest.mark.parametrize("typed", ["", "  ", '""', '"', "\0"])
def test_nothing_to_look_for(typed: str) -> None:
    with pytest.raises(LocalError) as refusal:
        understand_query(typed)
    assert refusal.value.code == "empty"


@given(st.text(max_size=60) | st.text('"*:^()-+ aANDORNEAR{}\0', max_size=40))
def test_any_text_is_a_valid_expression(typed: str) -> None:
    try:
        query = understand_query(typed)
    except LocalError:
        return
    if query.words:
        index = sqlite3.connect(":memory:")
        index.execute("CREATE VIRTUAL TABLE t USING fts5(body, talk, content = '', columnsize = 0)")
        for talks in ((), (b"\x01" * 32,), (b"\x01" * 32, b"\x02" * 32)):
            index.execute("SELECT rowid FROM t WHERE t MATCH ?", (query.match(talks),)).fetchall()
        index.close()


def test_a_conversation_is_one_word() -> None:
    assert talk_word(bytes(range(32))) == "000102030405"
