"""The user's guide names commands, keys, options and reasons that exist, and everything in it can be found."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
from twisted.application.app import ServerOptions

from chatnet.console.commands import BY_NAME
from chatnet.console.keymap import KEYS, stroke_text
from chatnet.console.widgets import wording
from chatnet.console.widgets.theme import UNICODE
from chatnet.core.events import TransferState
from chatnet.core.text import SafeText
from chatnet.core.transfer.reasons import (
    _AT_EITHER,
    _AT_RECEIVER,
    _AT_SENDER,
    _BETWEEN,
    _WHY_TURNED_DOWN,
    reason_of,
    turned_down_reason,
)
from chatnet.peer.options import PeerOptions
from chatnet.registry.options import RegistryOptions
from chatnet.registry.store import MIGRATIONS
from tests.support.scripted_peer import ScriptedPeer, key_of, somebody
from tests.support.typist import new_clock

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
TEXT = re.sub(r"<!--.*?-->", "", GUIDE, flags=re.DOTALL)
CONTENTS = TEXT.partition("\n## ")[0]
CODE = [*re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL))]
LINES = [line for block in re.findall(r"```\n(.*?)```", TEXT, flags=re.DOTALL) for line in block.splitlines()]
STROKES = {stroke_text(stroke) for key in KEYS for stroke in key.strokes}
ENDS = (*_AT_SENDER, *_AT_RECEIVER, *_AT_EITHER, *_BETWEEN)  # codes of why a transfer ended
OPTIONS = (PeerOptions, RegistryOptions, ServerOptions)

# What a new user asks, by the place in the table of contents where the answer stands.
QUESTIONS = {
    "which port must be open in the firewall": "ports-and-firewalls",
    "how do I move to a new machine": "a-new-machine",
    "how do I upgrade": "upgrade",
    "what do the signs mean": "the-signs",
    "can cron send something": "sending-from-cron",
    "how do I accept everything of one person": "accepting-from-one-person",
    "how does it run in the background": "in-the-background",
    "how do I change the colours": "colours",
    "how is a name freed": "freeing-a-name",
    "are there groups": "groups",
}


def anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


HEADINGS = [anchor(heading) for heading in re.findall(r"^##+ (.+)$", TEXT, re.MULTILINE)]


def test_every_heading_stands_in_the_contents_and_every_link_leads_to_one() -> None:
    assert len(set(HEADINGS)) == len(HEADINGS)
    assert re.findall(r"\(#([\w-]+)\)", CONTENTS) == HEADINGS
    assert set(re.findall(r"\(#([\w-]+)\)", TEXT)) <= set(HEADINGS)


@pytest.mark.parametrize("question", sorted(QUESTIONS))
def test_what_a_new_user_asks_is_in_the_contents(question: str) -> None:
    assert f"(#{QUESTIONS[question]})" in CONTENTS


def test_every_command_exists() -> None:
    named = {found[1] for code in CODE if (found := re.match(r"/([a-z]+)(?: |$)", code))}
    assert len(named) > 20
    assert named <= BY_NAME.keys()


def test_every_key_exists() -> None:
    named = set(re.findall(r"\b(?:F\d{1,2}|PgUp|PgDn|(?:Alt|Ctrl|Shift)-(?:[A-Z][a-z]+|\w))\b", TEXT))
    assert len(named) > 20
    assert named <= STROKES


def test_every_option_and_variable_exists() -> None:
    ours = [code for code in [*CODE, *LINES] if code.startswith(("--", "twistd "))]
    named = {name for code in ours for name in re.findall(r"--([a-z]+)", code)}
    known = set()
    for options in OPTIONS:
        known |= {name.replace("_", "-").rstrip("=") for name in options().longOpt}
    assert {"listen", "limits", "metrics"} <= named
    assert named <= known
    listed = set(re.findall(r"CHATNET_[A-Z_]+", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert set(re.findall(r"CHATNET_[A-Z_]+", TEXT)) <= listed


def test_every_reason_to_wait_is_explained() -> None:
    reasons = {reason.format(name="NAME") for reason in wording._WHY_WAITING.values()}
    assert [reason for reason in sorted(reasons) if f"`{reason}`" not in TEXT] == []


def test_the_databases_in_the_guide_are_where_the_programs_keep_them(tmp_path: Path) -> None:
    unit = (ROOT / "etc" / "systemd" / "chatregistry.service").read_text(encoding="utf-8")
    data = re.search(r"chatregistry .*--data (\S+)", unit)
    assert data is not None
    frees = [line for line in LINES if line.startswith("sqlite3 ") and "DELETE" in line]
    assert [line.split()[1] for line in frees] == [
        "~/.local/share/chatnet/registry/chatnet.db",
        f"{data[1]}/registry/chatnet.db",
    ]
    database = sqlite3.connect(tmp_path / "chatnet.db")
    for script in MIGRATIONS:
        database.executescript(script)
    for line in frees:
        delete, changes = line.split('"')[1].split("; ")
        database.execute("INSERT INTO name VALUES ('carol', x'00', 1, 1, NULL)")
        database.execute(delete)
        assert database.execute(changes).fetchone() == (1,)


def test_every_state_and_reason_of_a_transfer_is_explained() -> None:
    section = TEXT.partition("### A transfer waits or failed")[2].partition("\n### ")[0]
    cells = " ".join(re.findall(r"^\| (.*?) \| ", section, re.MULTILINE))
    explained = [span.strip(" …") for span in re.findall(r"`([^`]+)`", cells)]
    peer = ScriptedPeer(new_clock())
    peer.people = {key_of("bob"): somebody("bob", 0)}
    shown = {reason_of(code, outgoing, by_me) for code in ENDS for outgoing in (True, False) for by_me in (True, False)}
    shown |= {turned_down_reason(code, by_rule=False) for code in _WHY_TURNED_DOWN}
    shown.add(turned_down_reason("", by_rule=True))
    for mine, state, code in (
        (True, TransferState.WAITING, ""),
        (True, TransferState.OFFERED, ""),
        (False, TransferState.OFFERED, ""),
        (True, TransferState.QUEUED, ""),
        (True, TransferState.BROKEN, "lost"),
        (True, TransferState.DECLINED, "declined"),
        (False, TransferState.DECLINED, "declined"),
        (True, TransferState.FAILED, "changed"),
    ):
        offer = peer.offered(key_of("bob"), "notes.txt", 10, mine=mine)
        for done_bytes in (0, 5):
            now = peer.change_transfer(offer.fid, state=state, code=code, done_bytes=done_bytes)
            shown.add(SafeText(wording.transfer_state(now, "NAME", UNICODE)[0]))
    assert [words for words in sorted(shown) if not any(span in words for span in explained)] == []


def test_the_readme_leads_here() -> None:
    assert "(docs/guide.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
