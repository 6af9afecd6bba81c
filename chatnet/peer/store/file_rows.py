"""The row that each offer has in its chat, in step with its transfer."""

from __future__ import annotations

from chatnet.core.events import MessageKind, MessageState, TransferState
from chatnet.core.identity import PeerID, chat_with, conversation_of
from chatnet.core.text import shown_path
from chatnet.host.database import Connection
from chatnet.peer.store.history_rows import NewMessage, add_messages, present_messages
from chatnet.peer.store.requests import make_request


def file_row_state(outgoing: bool, state: TransferState, reason: str, saved_to: bytes) -> tuple[MessageState, str]:
    """Return the state and the reason for the row of a transfer in this state."""
    if state.ended and state is not TransferState.DONE:
        return MessageState.REFUSED, reason
    if state is TransferState.DONE:
        return MessageState.DELIVERED if outgoing else MessageState.RECEIVED, reason or shown_path(saved_to)
    if not outgoing:
        return MessageState.RECEIVED, ""
    return MessageState.WAITING if state is TransferState.WAITING else MessageState.SENT, ""


def complete_file_rows(connection: Connection, me: PeerID) -> int:
    """Bring the rows of all transfers to where the transfers stand, and add those that are missing.

    A transfer and its row are stored one after the other, and a program may be killed in between.  The offer of
    somebody who was never accepted is a request then.  Returns how many rows were added or changed.
    """
    found = connection.execute(
        "SELECT peer, fid, outgoing, title, transfer.state, transfer.reason, saved_to, offered_ms,"
        " n, history.state, history.reason FROM transfer LEFT JOIN history"
        " ON n = (SELECT max(n) FROM history WHERE id = fid AND kind = 'file')"
        " WHERE forgotten = 0 ORDER BY offered_ms, t"
    ).fetchall()
    changed = 0
    for peer, fid, outgoing, title, stands, why, saved_to, offered_ms, n, *written in found:
        state, reason = file_row_state(bool(outgoing), TransferState(stands), why, saved_to)
        if written == [state.value, reason]:
            continue
        if n is None:
            n = _add(connection, me, PeerID(peer), fid, bool(outgoing), title, state, offered_ms)
        connection.execute("UPDATE history SET state = ?, reason = ? WHERE n = ?", (state.value, reason, n))
        changed += n is not None
    return changed


def _add(
    connection: Connection,
    me: PeerID,
    peer: PeerID,
    fid: bytes,
    outgoing: bool,
    title: str,
    state: MessageState,
    offered_ms: int,
) -> int | None:
    """Add a row and return its number; None if the sender has used the id of the offer for a message, too."""
    conversation, sender = conversation_of(me, peer), me if outgoing else peer
    if present_messages(connection, conversation, sender, [fid]):
        return None
    about = (MessageKind.FILE, offered_ms, offered_ms, title, state)
    (row,) = add_messages(connection, [NewMessage(conversation, chat_with(peer), sender, fid, *about)])
    if not outgoing:
        make_request(connection, peer)
    return row.n
