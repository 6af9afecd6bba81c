"""``docs/protocol.md`` names every message, field, code, word and number of the wire, and no others.

The tables of section 9 have a test of their own, ``transfer/test_protocol_tables.py``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from chatnet.core import limits
from chatnet.core import messages as m
from chatnet.core.limits import MAX_MESSAGE_VALUES, LinkLimits
from chatnet.core.names import RESERVED_NAMES
from chatnet.core.roles import ROLES
from chatnet.net.tls import CIPHERS
from tests.support.wire import KINDS

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "protocol.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    """The text from a heading to the next of its rank, or of a higher one."""
    rank = heading.index(" ")
    rest = TEXT.partition(f"\n{heading}\n")[2]
    assert rest, heading
    return re.split(rf"\n#{{1,{rank}}} ", rest)[0]


def cells(text: str) -> list[list[str]]:
    """The rows of the tables in a text, without their heads."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if not row[0].startswith("---")]


def codes_between(begin: str, end: str) -> set[str]:
    """The codes in ``messages`` between two of its comments, but for those of which the other side hears another."""
    source = Path(m.__file__).read_text(encoding="utf-8")
    part = source[source.index(f"\n# {begin}\n") : source.index(f"\n# {end}")]
    return set(re.findall(r'^[A-Z_]+ = "([a-z-]+)"(?!.*the other side hears)', part, re.MULTILINE))


@pytest.mark.parametrize("tag", sorted(KINDS))
def test_every_message_stands_with_its_fields_in_their_order(tag: str) -> None:
    rows = [row for row in cells(TEXT) if row[0] == f"`{tag}`" and len(row) > 1]
    described = [re.findall(r"(?:^|· )`(\w+)\??(?: [^`]*)?`", row[1]) for row in rows]
    assert list(KINDS[tag].__struct_fields__) in described


def test_every_code_of_an_error_has_its_row() -> None:
    rows = cells(section("### In `error`"))
    assert {row[0].strip("`") for row in rows[1:]} == codes_between("error", "nack") | {m.TOO_MANY}


def test_every_other_code_is_named() -> None:
    named = set(re.findall(r"`([a-z-]+)`", " ".join(row[1] for row in cells(section("### Elsewhere")))))
    assert codes_between("nack", "---") <= named
    assert {m.NOT_ACCEPTED, m.CONFLICT, m.UNKNOWN_CONVERSATION} <= named


def test_the_words_of_roles_features_and_names() -> None:
    assert all(f"`{role}`" in section("## 5. Opening a link") for role in ROLES)
    assert all(f"`{word}`" in section("## 14. Evolution") for word in (m.RESUME, m.SKIP, m.OFFER_REST))
    (reserved,) = re.findall(r"Nobody may claim one of these: `([a-z ]+)`", TEXT)
    assert set(reserved.split()) == RESERVED_NAMES
    assert all(f"`{suite}`" in section("## 2. Transport") for suite in CIPHERS.decode().split(":"))


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("## 3. Frames", f"**{limits.MAX_FRAME_HELLO:,}** before"),
        ("## 3. Frames", f"at most **{limits.MAX_FRAME:,}**"),
        ("## 3. Frames", f"not complete {LinkLimits().frame_seconds:g} s later"),
        ("## 4. Types", f"at most {MAX_MESSAGE_VALUES} values"),
        ("## 4. Types", f"at most {limits.MAX_NAME_CHARS} **code points**"),
        ("## 4. Types", f"at most {limits.MAX_FEATURES} str, each 1 … {limits.MAX_FEATURE_CHARS}"),
        ("## 4. Types", f"endpoints (0 … {limits.MAX_ENDPOINTS + 1})"),
        ("## 4. Types", f"payload bin ≤ {limits.MAX_RECORD_BYTES}"),
        ("## 4. Types", f"at most {limits.MAX_CURSOR_BYTES} bytes"),
        ("## 6. On every link", f"`text text({limits.MAX_TEXT_BYTES})`"),
        ("## 6. On every link", f"≤ {limits.MAX_RETRY_SECONDS:,}"),
        ("## 6. On every link", f"PING after {LinkLimits().awaited_ping_seconds:g} s"),
        ("## 6. On every link", f"a cut after {LinkLimits().awaited_silence_seconds:g} s"),
        ("## 6. On every link", f"nothing for {LinkLimits().silence_seconds:g} s"),
        ("## 7. Role registry", f"`joined` (≤ {limits.MAX_PAGE_ENTRIES} entries)"),
        ("## 7. Role registry", f"more than {limits.MAX_LIST_ENTRIES:,} entries"),
        ("## 8. Role chat", f"`body text({limits.MAX_BODY_BYTES})`"),
        ("## 8. Role chat", f"`ids` (1 … {limits.MAX_ACKS} id16)"),
        ("## 8. Role chat", f"`files` (1 … {limits.MAX_OFFER_PAGE_FILES:,} files)"),
        ("## 8. Role chat", f"within {limits.PROVE_SECONDS:g} s"),
        ("## 9. Files", f"`path` has 1 … {limits.MAX_PATH_PARTS} components"),
        ("## 9. Files", f"`text({limits.MAX_PATH_PART_BYTES})`"),
        ("## 9. Files", f"at most {limits.MAX_OFFER_FILES:,} files"),
    ],
)
def test_a_number_of_the_wire(heading: str, words: str) -> None:
    assert words in " ".join(section(heading).split())


def test_every_part_of_the_vectors_is_explained() -> None:
    explained = re.findall(r"`(\w+)`", " ".join(row[0] for row in cells(section("## 15. Vectors"))))
    vectors = json.loads((DOCS / "protocol-vectors.json").read_text(encoding="ascii"))
    assert set(explained) == vectors.keys() - {"protocol", "version"}


def test_every_link_within_the_document_leads_somewhere() -> None:
    headings = {
        re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower()).replace(" ", "-")
        for line in TEXT.splitlines()
        if line.startswith("#")
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= headings
