"""The words for how a transfer stands."""

from __future__ import annotations

import pytest

from chatnet.core import messages
from chatnet.core.messages import OfferedFile
from chatnet.core.transfer.reasons import reason_of, skipped_text, turned_down_reason
from chatnet.core.transfer.transfer_machine import Phase, ending_of


@pytest.mark.parametrize(
    ("code", "sender", "receiver"),
    [
        (messages.CHANGED, "a file has changed since it was offered: send it again", "a file has changed there"),
        (messages.NO_SPACE, "too little space on their disk", "too little space on this disk"),
        (messages.DECLINED, "they refused it", "you refused it"),
        (messages.DIGEST, "it arrived damaged", "what arrived is not what was sent"),
        (messages.LOST, "the connection broke", "the connection broke"),
    ],
)
def test_each_side_reads_its_own_words(code: str, sender: str, receiver: str) -> None:
    for by_me in (True, False):
        assert reason_of(code, True, by_me).startswith(sender)
        assert reason_of(code, False, by_me).startswith(receiver)


def test_a_cancel_says_who() -> None:
    assert reason_of(messages.USER, True, True) == "you cancelled it"
    assert reason_of(messages.USER, True, False) == "they cancelled it"
    assert ending_of(messages.USER) is Phase.CANCELLED
    assert ending_of(messages.CHANGED) is Phase.FAILED


def test_each_meaning_has_its_own_words() -> None:
    codes = (messages.BAD_FRAME, messages.UNKNOWN_MESSAGE, messages.INTERNAL_ERROR)
    assert len({reason_of(code, True, by_me) for code in codes for by_me in (True, False)}) == 6
    assert reason_of(messages.LATE, True, True) != reason_of(messages.EXPIRED, True, True)
    assert reason_of(messages.NO_FOLDER, False, True).startswith("the folder that was chosen")
    assert reason_of(messages.NO_FOLDER, True, False) == "it cannot be written there"


def test_an_unknown_code_has_words_too() -> None:
    assert reason_of("moon-phase", False, False) == "they ended it (moon-phase)"
    assert reason_of("", False, False) == ""


def test_a_lack_that_passes_has_its_words() -> None:
    assert reason_of(messages.BUSY, True, True).startswith("this machine is short of something")


def test_the_files_that_were_not_sent_are_named() -> None:
    files = [OfferedFile(["a", f"{number}.txt"], 1, 0) for number in range(9)]
    some = {number: messages.CHANGED for number in range(2, 9)}
    assert skipped_text(files, {1: messages.UNREADABLE}) == '1 of 9 not sent: "a/1.txt" (cannot be read)'
    assert skipped_text(files, some).endswith('"a/6.txt" (changed) and 2 more')


def test_what_was_declined_unasked_says_why() -> None:
    codes = (messages.TOO_MANY, messages.STORE, messages.CONFLICT, messages.BAD_FRAME)
    reasons = [turned_down_reason(code, by_rule=False) for code in codes]
    reasons.append(turned_down_reason(messages.DECLINED, by_rule=True))
    assert len(set(reasons)) == 5
    assert "you refused it" not in reasons
