"""Which calls of the peer's API decide something about a person, a row or an offer, and what each is about.

A call that is in neither table fails a test: say what it carries of what was on the screen, and test it against a
change between showing and deciding, in ``tests/village/test_decisions.py`` and ``tests/console/test_decisions.py``.
"""

from __future__ import annotations

DECIDES_ABOUT = {
    "trust": "the new key, of which it has 16 characters",
    "keep_key": "the new key",
    "confirm": "name and key, and for a code its six digits",
    "check_live": "the key that it is given",
    "block": "the key that it is given",
    "set_rule": "the key that it is given",
    "say": "the key that it is given: held while another one uses the name",
    "offer": "the key that it is given: refused while another one uses the name",
    "offer_text": "the key that it is given: refused while another one uses the name",
    "resend": "a row, which stays what it is",
    "accept": "a fid, which no other offer gets",
    "refuse": "a fid, which no other offer gets",
    "cancel": "a fid, which no other offer gets",
    "pause": "a fid, which no other offer gets",
    "resume": "a fid, which no other offer gets",
    "accept_request": "the key that it is given",
    "refuse_request": "the key that it is given",
}
DECIDES_NOTHING = frozenset(
    {"history", "search", "export", "set_draft", "mark_read", "connect", "rule", "safety_number"}
    | {"offered_names", "next_renamed"}
)
