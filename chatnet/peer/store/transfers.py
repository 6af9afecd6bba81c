"""Transfers, their files, and what happens to somebody's offers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple, TypedDict, Unpack

import msgspec
from twisted.internet.defer import Deferred

from chatnet.core.events import ENDED, FileRule, RuleKind, TransferState
from chatnet.core.identity import PeerID
from chatnet.core.transfer.transfer_machine import PausedBy
from chatnet.host.database import Connection, Database

_encode = msgspec.msgpack.encode
_path = msgspec.msgpack.Decoder(tuple[str, ...])
_TRANSFER = (
    "peer, fid, outgoing, title, total_files, total_bytes, state, code, reason, saved_to, offered_ms, ended_ms,"
    " directory, stem, paused, person"
)
_FILE = "number, path, size, mtime_ms, source, part, synced, final, done, mark, digest"


class TransferRow(NamedTuple):
    peer: PeerID
    fid: bytes
    outgoing: bool
    title: str
    total_files: int
    total_bytes: int
    state: TransferState
    code: str
    reason: str
    saved_to: bytes
    offered_ms: int
    ended_ms: int | None
    directory: bytes = b""  # incoming: the one that was chosen
    stem: str = ""  # incoming: how the names of its parts begin
    paused: PausedBy = PausedBy.NOBODY
    person: str = ""  # incoming: the name of their folder


class TransferChanges(TypedDict, total=False):
    """What may change in a transfer."""

    state: TransferState
    code: str
    reason: str
    saved_to: bytes
    ended_ms: int | None
    directory: bytes
    stem: str
    paused: PausedBy
    person: str


class FileRow(NamedTuple):
    number: int
    path: tuple[str, ...]
    size: int
    mtime_ms: int
    source: bytes = b""
    part: str = ""
    synced: int = 0
    final: bytes = b""  # until it is done, the folder that it gets its name in
    done: bool = False
    mark: bytes = b""
    digest: bytes = b""


class TransferRows:
    """Transfers, their files and the rules for offers.  A part of ``PeerStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, row: TransferRow, files: Sequence[FileRow]) -> Deferred[None]:
        """An offer, either way.  Fails with sqlite3.IntegrityError when ``(peer, fid)`` is known."""

        def job(connection: Connection) -> None:
            values = row._replace(state=row.state.value)  # type: ignore[arg-type]
            marks = ", ".join("?" * len(values))
            cursor = connection.execute(f"INSERT INTO transfer ({_TRANSFER}) VALUES ({marks})", values)
            connection.executemany(
                f"INSERT INTO transfer_file (t, {_FILE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                ((cursor.lastrowid, *_file_values(file)) for file in files),
            )

        return self._database.run(job)

    def update(self, peer: PeerID, fid: bytes, **changes: Unpack[TransferChanges]) -> Deferred[TransferRow | None]:
        """Change the named columns; None when there is no such transfer."""
        values: dict[str, Any] = dict(changes)
        if unknown := values.keys() - TransferChanges.__annotations__.keys():
            raise TypeError(f"a transfer has no {unknown} to change")
        if "state" in values:
            values["state"] = changes["state"].value
        assignments = ", ".join(f"{column} = ?" for column in values) or "fid = fid"

        def job(connection: Connection) -> TransferRow | None:
            row = connection.execute(
                f"UPDATE transfer SET {assignments} WHERE peer = ? AND fid = ? RETURNING {_TRANSFER}",
                (*values.values(), peer, fid),
            ).fetchone()
            return None if row is None else _transfer(row)

        return self._database.run(job)

    def all(self) -> Deferred[list[TransferRow]]:
        """All that were not forgotten, in the order of offering."""

        def job(connection: Connection) -> list[TransferRow]:
            rows = connection.execute(f"SELECT {_TRANSFER} FROM transfer WHERE forgotten = 0 ORDER BY offered_ms, t")
            return [_transfer(row) for row in rows]

        return self._database.read(job)

    def files(self, peer: PeerID, fid: bytes) -> Deferred[list[FileRow]]:
        """The files of one transfer by their numbers; none once it is forgotten."""

        def job(connection: Connection) -> list[FileRow]:
            rows = connection.execute(
                f"SELECT {_FILE} FROM transfer_file JOIN transfer USING (t) WHERE peer = ? AND fid = ? ORDER BY number",
                (peer, fid),
            )
            return [_file(row) for row in rows]

        return self._database.read(job)

    def forget_ended(self) -> Deferred[None]:
        """Ended transfers leave ``transfers()``; their ids stay known."""
        ended = tuple(state.value for state in ENDED)
        these = f"transfer WHERE forgotten = 0 AND state IN ({', '.join('?' * len(ended))})"

        def job(connection: Connection) -> None:
            connection.execute(f"DELETE FROM transfer_file WHERE t IN (SELECT t FROM {these})", ended)
            connection.execute(f"UPDATE transfer SET forgotten = 1 WHERE t IN (SELECT t FROM {these})", ended)

        return self._database.run(job)

    def file_synced(self, peer: PeerID, fid: bytes, number: int, part: str, synced: int) -> Deferred[None]:
        """The first ``synced`` bytes of ``part`` are on the disk; forgotten, they are sent again."""

        def job(connection: Connection) -> None:
            connection.execute(
                "UPDATE transfer_file SET part = ?, synced = ?"
                " WHERE t = (SELECT t FROM transfer WHERE peer = ? AND fid = ?) AND number = ? AND digest = x''",
                (os.fsencode(part), synced, peer, fid, number),
            )

        return self._database.run(job, lasting=False)

    def files_whole(self, peer: PeerID, fid: bytes, files: Sequence[tuple[int, str, bytes, bytes]]) -> Deferred[None]:
        """These, ``(number, part, digest, folder)``, are on the disk and verified; their names come next."""

        def job(connection: Connection) -> None:
            connection.executemany(
                "UPDATE transfer_file SET part = ?, synced = size, digest = ?, final = ?"
                " WHERE t = (SELECT t FROM transfer WHERE peer = ? AND fid = ?) AND number = ?",
                [(os.fsencode(part), digest, folder, peer, fid, number) for number, part, digest, folder in files],
            )

        return self._database.run(job)

    def files_done(self, peer: PeerID, fid: bytes, files: Sequence[tuple[int, bytes]]) -> Deferred[None]:
        """These files, ``(number, final path)``, are verified and have their names; forgotten, they are found again."""

        def job(connection: Connection) -> None:
            connection.executemany(
                "UPDATE transfer_file SET done = 1, synced = size, part = x'', final = ?"
                " WHERE t = (SELECT t FROM transfer WHERE peer = ? AND fid = ?) AND number = ?",
                [(final, peer, fid, number) for number, final in files],
            )

        return self._database.run(job, lasting=False)

    def reset_files(self, peer: PeerID, fid: bytes, numbers: Sequence[int]) -> Deferred[None]:
        """Nothing of these files is on the disk any more; forgotten, that is found out again."""

        def job(connection: Connection) -> None:
            connection.executemany(
                "UPDATE transfer_file SET part = x'', synced = 0, digest = x''"
                " WHERE t = (SELECT t FROM transfer WHERE peer = ? AND fid = ?) AND number = ?",
                [(peer, fid, number) for number in numbers],
            )

        return self._database.run(job, lasting=False)

    def find(self, peer: PeerID, fid: bytes) -> Deferred[TransferRow | None]:
        """One transfer, also a forgotten one."""

        def job(connection: Connection) -> TransferRow | None:
            row = connection.execute(
                f"SELECT {_TRANSFER} FROM transfer WHERE peer = ? AND fid = ?", (peer, fid)
            ).fetchone()
            return None if row is None else _transfer(row)

        return self._database.read(job)

    def received_files(self, peer: PeerID) -> Deferred[list[FileRow]]:
        """All files of this peer that stand under their final names, the oldest first."""

        def job(connection: Connection) -> list[FileRow]:
            rows = connection.execute(
                f"SELECT {_FILE} FROM transfer_file JOIN transfer USING (t)"
                " WHERE peer = ? AND outgoing = 0 AND done = 1 ORDER BY t, number",
                (peer,),
            )
            return [_file(row) for row in rows]

        return self._database.read(job)

    def file_rules(self) -> Deferred[dict[PeerID, FileRule]]:
        """By person, of whom there is one."""

        def job(connection: Connection) -> dict[PeerID, FileRule]:
            rows = connection.execute("SELECT peer, kind, max_bytes FROM file_rule")
            return {PeerID(peer): FileRule(RuleKind(kind), max_bytes) for peer, kind, max_bytes in rows}

        return self._database.read(job)

    def set_file_rule(self, peer: PeerID, rule: FileRule) -> Deferred[None]:
        def job(connection: Connection) -> None:
            connection.execute("DELETE FROM file_rule WHERE peer = ?", (peer,))
            if rule.kind is not RuleKind.ASK:
                connection.execute("INSERT INTO file_rule VALUES (?, ?, ?)", (peer, rule.kind.value, rule.max_bytes))

        return self._database.run(job)


def _transfer(row: Sequence[Any]) -> TransferRow:
    found = TransferRow(*row)
    return found._replace(
        outgoing=bool(found.outgoing), state=TransferState(found.state), paused=PausedBy(found.paused)
    )


def _file_values(file: FileRow) -> tuple[Any, ...]:
    return (
        *(file.number, _encode(file.path), file.size, file.mtime_ms, file.source, os.fsencode(file.part)),
        *(file.synced, file.final, file.done, file.mark, file.digest),
    )


def _file(row: Sequence[Any]) -> FileRow:
    number, path, size, mtime_ms, source, part, synced, final, done, mark, digest = row
    offered = _path.decode(path)
    return FileRow(number, offered, size, mtime_ms, source, os.fsdecode(part), synced, final, bool(done), mark, digest)
