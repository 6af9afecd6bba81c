"""Searches the history, and exports a chat into a file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any

from chatnet.core.chats import came_late, written_ms
from chatnet.core.errors import LocalError, system_reason
from chatnet.core.events import ChatMessage, Exported, MessageState, SearchPage
from chatnet.core.identity import ChatID, PeerID, chat_with
from chatnet.core.limits import EXPORT_ROWS, LAST_DAY_MS
from chatnet.core.text import SafeText, json_escaped, quoted, safe_text, shown_path
from chatnet.peer.directory.people import People
from chatnet.peer.files.disk_threads import DiskPool
from chatnet.peer.files.local_paths import absolute
from chatnet.peer.store.history_rows import StoredMessage
from chatnet.peer.store.peer_store import PeerStore
from chatnet.peer.store.search_query import understand_query

# Words in the text form for what became of a message of ours; what went well needs none.
_FAILED = {MessageState.REFUSED: "not accepted", MessageState.EXPIRED: "expired", MessageState.HELD: "held"}


class SearchAndExport:
    """Answers ``search`` and ``export``.  ``shown`` makes the event data of a row."""

    def __init__(
        self, clock: Any, people: People, store: PeerStore, shown: Callable[[StoredMessage, SafeText], ChatMessage]
    ) -> None:
        self._people = people
        self._store = store
        self._shown = shown
        self._disk = DiskPool(clock)
        self._disk.start()

    def stop(self) -> None:
        self._disk.stop()

    async def search(
        self,
        text: str,
        chat: ChatID | None,
        since_ms: int | None,
        before_n: int | None,
        limit: int,
        sender: bytes | None,
    ) -> SearchPage:
        query = understand_query(text)
        me = self._people.me
        if chat is None and sender is not None and sender != me:
            chat = chat_with(sender)  # a person speaks in one chat only, there also with a former key

        def wrote(who: PeerID) -> bool:
            return sender is None or (who == me) is (sender == me)

        found = await self._store.search.find(query, chat, wrote, since_ms, before_n, limit)
        return SearchPage(tuple(map(self._shown, found.rows, found.texts)), found.before_n)

    async def export(self, chat: ChatID, file: bytes, format: str) -> Exported:
        """Write a conversation into a new file that only its owner may read."""
        if format not in ("text", "json"):
            raise LocalError("bad-format", f"'{format}' is no format: text or json.")
        known = self._people.known(chat)
        writer = _Writer(absolute(file), format == "json", self._people.name_of(known), self._people.me)
        await self._on_disk(writer, writer.open)
        count = 0
        try:
            after, more = 0, True
            while more:
                rows, more = await self._store.messages.history_after(chat_with(known), after, EXPORT_ROWS)
                await self._on_disk(writer, writer.write, rows)
                count += len(rows)
                after = rows[-1].n if rows else after
            await self._on_disk(writer, writer.close)
        except BaseException:
            writer.give_up()
            raise
        return Exported(writer.path, count)

    async def _on_disk(self, writer: _Writer, work: Callable[..., None], *args: Any) -> None:
        try:
            await self._disk.run(work, *args)
        except FileExistsError:
            raise LocalError(
                "exists", f"{shown_path(writer.path)} is there already and was not changed. Choose another name."
            ) from None
        except OSError as error:
            raise LocalError(
                "unwritable",
                f"{shown_path(writer.path)} cannot be written: {system_reason(error)}. Choose another place.",
            ) from None


class _Writer:
    """One file being written, page by page; its methods wait for the disk."""

    def __init__(self, path: bytes, as_json: bool, name: str, me: PeerID) -> None:
        self.path = path
        self._as_json = as_json
        self._name = name
        self._me = me
        self._descriptor = -1
        self._rows = 0
        self._before_ms: int | None = None  # when the row before was stored

    def open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, 0o600)
        os.fchmod(self._descriptor, 0o600)

    def write(self, rows: Iterable[StoredMessage]) -> None:
        parts = []
        for row in rows:
            at_ms = written_ms(row.sent_ms, row.stored_ms, self._before_ms)
            if self._as_json:
                parts.append((",\n" if self._rows else "[\n") + self._json(row, at_ms))
            else:
                parts.append(self._text(row, at_ms))
            self._rows += 1
            self._before_ms = row.stored_ms
        self._put("".join(parts).encode())

    def close(self) -> None:
        if self._as_json:
            self._put(b"\n]\n" if self._rows else b"[]\n")
        os.fsync(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1

    def give_up(self) -> None:
        """Close the file and remove it, because it is not whole."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            with suppress(OSError):
                os.unlink(self.path)

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def _text(self, row: StoredMessage, at_ms: int) -> str:
        who = "you" if row.sender == self._me else self._name
        body = safe_text(row.body).replace("\n", "\n    ")
        what = f"[file] {quoted(body)}" if row.kind == "file" else body
        failed = f"  ({_FAILED[row.state]})" if row.state in _FAILED else ""
        late = f"  (arrived {_time(row.stored_ms):%Y-%m-%d %H:%M:%S})" if self._is_late(row, at_ms) else ""
        return f"{_time(at_ms):%Y-%m-%d %H:%M:%S} {who}: {what}{late}{failed}\n"

    def _is_late(self, row: StoredMessage, at_ms: int) -> bool:
        return row.sender != self._me and came_late(at_ms, row.stored_ms)

    def _json(self, row: StoredMessage, at_ms: int) -> str:
        mine = row.sender == self._me
        fields = {
            "n": row.n,
            "time": _time(at_ms).isoformat(timespec="milliseconds"),
            "arrived": _time(row.stored_ms).isoformat(timespec="milliseconds"),
            "late": self._is_late(row, at_ms),
            "sent_ms": row.sent_ms,
            "from": "you" if mine else self._name,
            "mine": mine,
            "kind": row.kind.value,
            "state": row.state.value,
            "reason": row.reason,
            "text": row.body,
        }
        return json_escaped(json.dumps(fields, ensure_ascii=False, separators=(",", ":")))


def _time(ms: int) -> datetime:
    """Return the local time, with its zone; of a time that no calendar has, the last one that it has."""
    return datetime.fromtimestamp(min(ms, LAST_DAY_MS) / 1000).astimezone()
