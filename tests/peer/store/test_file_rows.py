"""Rows of offers are completed at a start, from the transfers."""

from __future__ import annotations

import pytest
import pytest_twisted

from chatnet.core.events import MessageKind, MessageState, TransferState
from chatnet.core.identity import conversation_of
from chatnet.peer.store.file_rows import file_row_state
from chatnet.peer.store.history_rows import NewMessage
from chatnet.peer.store.transfers import TransferRow
from tests.peer.store.rows import BOB, ME, id16

S, M = TransferState, MessageState


@pytest.mark.parametrize(
    ("outgoing", "state", "reason", "row"),
    [
        (True, S.WAITING, "a disk here does not answer", (M.WAITING, "")),
        (True, S.OFFERED, "", (M.SENT, "")),
        (True, S.RUNNING, "", (M.SENT, "")),
        (True, S.DONE, "1 of 2 not sent", (M.DELIVERED, "1 of 2 not sent")),
        (True, S.CANCELLED, "you cancelled it", (M.REFUSED, "you cancelled it")),
        (False, S.OFFERED, "", (M.RECEIVED, "")),
        (False, S.PAUSED, "you paused it", (M.RECEIVED, "")),
        (False, S.DONE, "", (M.RECEIVED, "/down/a")),
        (False, S.FAILED, "it arrived damaged", (M.REFUSED, "it arrived damaged")),
    ],
)
def test_a_row_says_how_its_transfer_stands(outgoing, state, reason, row):
    assert file_row_state(outgoing, state, reason, b"" if outgoing else b"/down/a") == row


def transfer(number: int, outgoing: bool, state: TransferState, reason: str = "") -> TransferRow:
    return TransferRow(BOB, id16(number), outgoing, f"{number}.txt", 1, 1, state, "", reason, b"", number, None)


@pytest_twisted.ensureDeferred
async def test_what_is_missing_is_added_and_what_is_behind_is_changed_once(store):
    talk = conversation_of(ME, BOB)
    await store.messages.add_file_row(NewMessage(talk, BOB, ME, id16(1), MessageKind.FILE, 1, 1, "1.txt", M.WAITING))
    await store.messages.add_file_row(NewMessage(talk, BOB, ME, id16(2), MessageKind.FILE, 2, 2, "2.txt", M.SENT))
    rows = [transfer(1, True, S.DECLINED, "they refused it"), transfer(2, True, S.OFFERED)]
    rows += [transfer(3, False, S.OFFERED), transfer(4, True, S.CANCELLED, "you cancelled it")]
    for row in rows:
        await store.transfers.add(row, [])
    assert await store.messages.complete_file_rows(ME) == 3
    page, _ = await store.messages.history(BOB, None, 10)
    assert [(row.body, row.sender, row.state, row.reason, row.stored_ms) for row in page] == [
        ("1.txt", ME, M.REFUSED, "they refused it", 1),
        ("2.txt", ME, M.SENT, "", 2),
        ("3.txt", BOB, M.RECEIVED, "", 3),
        ("4.txt", ME, M.REFUSED, "you cancelled it", 4),
    ]
    assert await store.messages.complete_file_rows(ME) == 0
    assert await store.requests.peers() == [BOB]  # nobody here has accepted anything of them


@pytest_twisted.ensureDeferred
async def test_a_sender_who_gives_an_offer_the_id_of_a_message_stops_no_start(store):
    talk = conversation_of(ME, BOB)
    said = NewMessage(talk, BOB, BOB, id16(1), MessageKind.TEXT, 1, 1, "hello", M.RECEIVED)
    await store.messages.add_file_row(said)
    await store.transfers.add(transfer(1, False, S.OFFERED), [])
    assert await store.messages.complete_file_rows(ME) == 0


@pytest_twisted.ensureDeferred
async def test_what_was_forgotten_is_left_as_it_is(store):
    await store.transfers.add(transfer(1, True, S.DONE), [])
    await store.transfers.forget_ended()
    assert await store.messages.complete_file_rows(ME) == 0
