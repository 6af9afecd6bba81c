"""Translates what a person types into a query of the store.

Words are found whole and in any order, whatever their accents and capitals; the last one also as
the beginning of a longer one; "words in quotes" next to each other.  Scripts without spaces, and
signs such as emoji, have no words to look up: they are found by comparing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import NamedTuple

from chatnet.core.errors import LocalError

PREFIX_FROM_CHARS = 3  # a shorter beginning has so many words that looking them up takes long

_PARTS = re.compile(r'"([^"]*)"|(\S+)')
# Thai, Lao, Burmese, Khmer; kana, ideographs, compatibility forms; the later ideographs.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uf900-\ufaff\U00020000-\U0003ffff]")


class Query(NamedTuple):
    """``words`` is an FTS5 expression, may be empty; ``pieces`` are in the text as they stand here."""

    words: str
    pieces: tuple[str, ...]

    def match(self, conversations: Collection[bytes] = ()) -> str:
        """Return the expression, for rows of these conversations, or for all."""
        here = " OR ".join(f'"{talk_word(conversation)}"' for conversation in conversations)
        return f"body : ({self.words})" + (f" AND talk : ({here})" if here else "")

    def is_in(self, body: str) -> bool:
        """Whether ``body`` has the pieces; the words were looked up already."""
        return not self.pieces or all(piece in body.casefold() for piece in self.pieces)


def understand_query(text: str) -> Query:
    """Parse what the user looks for.  Raises LocalError("empty") when there is nothing to look for."""
    words: list[str] = []
    pieces: list[str] = []
    text = text.replace("\0", " ").encode("utf-8", "replace").decode()
    last = ""
    for found in _PARTS.finditer(text):
        quoted, word = found.group(1), found.group(2)
        part = (quoted if quoted is not None else word).replace('"', " ").strip()
        last = ""
        if not part:
            continue
        if _UNSPACED.search(part) or not any(map(_is_letter, part)):
            pieces.append(part.casefold())
            continue
        words.append(f'"{part}"')
        if quoted is None and len(part) >= PREFIX_FROM_CHARS and not text[-1].isspace():
            last = words[-1]
    if last:
        words[-1] = f"{last} *"
    if not words and not pieces:
        raise LocalError("empty", "There is nothing to look for.")
    return Query(" AND ".join(words), tuple(pieces))


def talk_word(conversation: bytes) -> str:
    """Return a conversation as a word of the index: hex(substr(conversation, 1, 6)) in SQL.

    Two with the same word are told apart by their rows.
    """
    return conversation[:6].hex().upper()


def _is_letter(char: str) -> bool:
    """Whether FTS5's unicode61 takes this character for a part of a word."""
    return unicodedata.category(char)[0] in "LN" or unicodedata.category(char) == "Co"
