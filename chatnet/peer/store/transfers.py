"""Transfers, their files, and the rules for the offers of each person."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypedDict, Unpack

import msgspec
from twisted.internet.defer import Deferred

from chatnet.core.events import ENDED, FileRule, OfferDetails, RuleKind, TransferState
from chatnet.core.identity import PeerID
from chatnet.core.limits import OFFER_OVERHEAD, OFFER_PAGE_OVERHEAD, PACKED_HEAD_BYTES
from chatnet.core.messages import OfferedFile
from chatnet.core.transfer.offers import (
    Summary,
    packed_count,
    unpacked,
    unpacked_folders,
)
from chatnet.core.transfer.transfer_machine import PausedBy
from chatnet.host.database import Connection, Database

_encode = msgspec.msgpack.encode
_path = msgspec.msgpack.Decoder(tuple[str, ...])
_names = msgspec.msgpack.Decoder(tuple[str, ...])
_details = msgspec.msgpack.Decoder(OfferDetails)
_ONE_PART = b"\x91"  # how the MessagePack of a path without folders begins
_TRANSFER = (
    "peer, fid, outgoing, title, total_files, total_bytes, state, code, reason, saved_to, offered_ms, ended_ms,"
    " directory, stem, paused, person, told, forgotten, since_ms, folders, names, warning, details"
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
    told: bool = True  # the other side knows how it ended
    forgotten: bool = False
    since_ms: int = 0  # what the waiting clock showed when it was offered, or when it ended
    folders: int = 0
    names: tuple[str, ...] = ()  # the first few; none of an offer that an older version stored
    warning: str = ""
    details: OfferDetails = OfferDetails()


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
    told: bool
    since_ms: int
    details: OfferDetails


class OfferedRow(NamedTuple):
    """A file of an offer, or an empty folder, as it was offered."""

    path: tuple[str, ...]
    size: int = 0
    is_folder: bool = False


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

    def add(
        self,
        row: TransferRow,
        files: Sequence[FileRow],
        pages: Sequence[bytes] = (),
        folder_pages: Sequence[bytes] = (),
    ) -> Deferred[None]:
        """Add an offer, either way, with its files or, where it waits for an answer, with ``packed`` pages of them.

        ``folder_pages`` are those of its empty folders.

        Fails with sqlite3.IntegrityError when ``(peer, fid)`` is known.
        """

        def job(connection: Connection) -> None:
            values = row._replace(
                state=row.state.value,  # type: ignore[arg-type]
                names=_encode(row.names),  # type: ignore[arg-type]
                details=_encode(row.details),  # type: ignore[arg-type]
            )
            marks = ", ".join("?" * len(values))
            cursor = connection.execute(f"INSERT INTO transfer ({_TRANSFER}) VALUES ({marks})", values)
            assert cursor.lastrowid is not None
            _add_files(connection, cursor.lastrowid, iter(files))
            connection.executemany(
                "INSERT INTO offer_page VALUES (?, ?, ?)",
                ((cursor.lastrowid, number, page) for number, page in enumerate(pages)),
            )
            connection.executemany(
                "INSERT INTO folder_page VALUES (?, ?, ?)",
                ((cursor.lastrowid, number, page) for number, page in enumerate(folder_pages)),
            )

        return self._database.run(job)

    def delete(self, peer: PeerID, fid: bytes) -> Deferred[None]:
        """Keep nothing of a transfer, not even its number."""

        def job(connection: Connection) -> None:
            connection.execute("DELETE FROM transfer WHERE peer = ? AND fid = ?", (peer, fid))

        return self._database.run(job)

    def unpack(self, peer: PeerID, fid: bytes) -> Deferred[None]:
        """Turn the pages of an accepted offer into rows, one for each file.  The second time, nothing happens."""

        def job(connection: Connection) -> None:
            t = _number_of(connection, peer, fid)
            if t is not None:
                pages = connection.execute("SELECT files FROM offer_page WHERE t = ? ORDER BY number", (t,))
                files = enumerate(unpacked(page for (page,) in pages))
                rows = (FileRow(number, tuple(file.path), file.size, file.mtime_ms) for number, file in files)
                _add_files(connection, t, rows)
                connection.execute("DELETE FROM offer_page WHERE t = ?", (t,))

        return self._database.run(job)

    def summarise(self, peer: PeerID, fid: bytes) -> Deferred[TransferRow]:
        """Note what people see of an offer that an older version stored without that."""

        def job(connection: Connection) -> TransferRow:
            files = connection.execute(
                "SELECT path, size, mtime_ms FROM transfer_file JOIN transfer USING (t)"
                " WHERE peer = ? AND fid = ? ORDER BY number",
                (peer, fid),
            )
            summary = Summary()
            for path, size, mtime_ms in files:
                summary.add(OfferedFile(list(_path.decode(path)), size, mtime_ms))
            row = connection.execute(
                f"UPDATE transfer SET folders = ?1, names = ?2, warning = CASE outgoing WHEN 0 THEN ?3 ELSE '' END,"
                f" details = CASE outgoing WHEN 0 THEN ?4 ELSE details END"
                f" WHERE peer = ?5 AND fid = ?6 RETURNING {_TRANSFER}",
                (summary.folders, _encode(summary.names), summary.warning, _encode(summary.details()), peer, fid),
            ).fetchone()
            return _transfer(row)

        return self._database.run(job)

    def held(self) -> Deferred[dict[tuple[PeerID, bytes], int]]:
        """Return how many bytes each unanswered offer that came in takes, by peer and fid."""

        def job(connection: Connection) -> dict[tuple[PeerID, bytes], int]:
            rows = connection.execute(
                "SELECT peer, fid, ?3 +"
                " (SELECT coalesce(sum(length(files) + ?1), 0) FROM offer_page WHERE offer_page.t = transfer.t)"
                " + (SELECT coalesce(sum(length(folder_page.folders) + ?1), 0) FROM folder_page"
                " WHERE folder_page.t = transfer.t)"
                " + (SELECT coalesce(sum(length(path)), 0) FROM transfer_file WHERE transfer_file.t = transfer.t)"
                " FROM transfer WHERE outgoing = 0 AND state = ?2",
                (OFFER_PAGE_OVERHEAD, TransferState.OFFERED.value, OFFER_OVERHEAD),
            )
            return {(PeerID(peer), fid): size for peer, fid, size in rows}

        return self._database.read(job)

    def progress(self, peer: PeerID, fid: bytes) -> Deferred[tuple[int, int]]:
        """Return how many files of a transfer that comes in are done, and how many bytes are here for certain."""

        def job(connection: Connection) -> tuple[int, int]:
            files, size = connection.execute(
                "SELECT coalesce(sum(done), 0), coalesce(sum(CASE done WHEN 0 THEN synced ELSE size END), 0)"
                " FROM transfer_file JOIN transfer USING (t) WHERE peer = ? AND fid = ?",
                (peer, fid),
            ).fetchone()
            return files, size

        return self._database.read(job)

    def update(self, peer: PeerID, fid: bytes, **changes: Unpack[TransferChanges]) -> Deferred[TransferRow | None]:
        """Change the named columns, and return the row as it is then; None when there is no such transfer.

        Of one that ends nothing is kept but the files that have arrived.
        """
        values: dict[str, Any] = dict(changes)
        if unknown := values.keys() - TransferChanges.__annotations__.keys():
            raise TypeError(f"a transfer has no {unknown} to change")
        if "state" in values:
            values["state"] = changes["state"].value
        if "details" in values:
            values["details"] = _encode(changes["details"])
        assignments = ", ".join(f"{column} = ?" for column in values) or "fid = fid"

        def job(connection: Connection) -> TransferRow | None:
            row = connection.execute(
                f"UPDATE transfer SET {assignments} WHERE peer = ? AND fid = ? RETURNING {_TRANSFER}",
                (*values.values(), peer, fid),
            ).fetchone()
            if row is None:
                return None
            transfer = _transfer(row)
            if "state" in values and transfer.state.ended and transfer.state is not TransferState.DONE:
                t = _number_of(connection, peer, fid)
                connection.execute("DELETE FROM offer_page WHERE t = ?", (t,))
                connection.execute("DELETE FROM folder_page WHERE t = ?", (t,))
                connection.execute("DELETE FROM transfer_file WHERE t = ? AND done = 0", (t,))
            return transfer

        return self._database.run(job)

    def all(self) -> Deferred[list[TransferRow]]:
        """Return all transfers that were not forgotten, or whose end the other side does not know.

        They come in the order of offering.
        """

        def job(connection: Connection) -> list[TransferRow]:
            rows = connection.execute(
                f"SELECT {_TRANSFER} FROM transfer WHERE forgotten = 0 OR told = 0 ORDER BY offered_ms, t"
            )
            return [_transfer(row) for row in rows]

        return self._database.read(job)

    def files(self, peer: PeerID, fid: bytes) -> Deferred[list[FileRow]]:
        """Return the files of one transfer by their numbers; none once it is forgotten."""

        def job(connection: Connection) -> list[FileRow]:
            rows = connection.execute(
                f"SELECT {_FILE} FROM transfer_file JOIN transfer USING (t) WHERE peer = ? AND fid = ? ORDER BY number",
                (peer, fid),
            )
            return [_file(row) for row in rows]

        return self._database.read(job)

    def empty_folders(self, peer: PeerID, fid: bytes) -> Deferred[list[tuple[str, ...]]]:
        """Return the empty folders of one transfer, in the order of the offer."""

        def job(connection: Connection) -> list[tuple[str, ...]]:
            pages = connection.execute(
                "SELECT folder_page.folders FROM folder_page JOIN transfer USING (t)"
                " WHERE peer = ? AND fid = ? ORDER BY number",
                (peer, fid),
            )
            return list(unpacked_folders(page for (page,) in pages))

        return self._database.read(job)

    def offered_rows(self, peer: PeerID, fid: bytes, start: int, limit: int) -> Deferred[tuple[list[OfferedRow], int]]:
        """Return at most ``limit`` of an offer's files, and behind them its empty folders, from number ``start`` on.

        With them comes how many there are in all; fewer files than that are there of one that has ended badly.
        Of the packed pages only those are unpacked that hold some of them.
        """

        def job(connection: Connection) -> tuple[list[OfferedRow], int]:
            row = connection.execute(
                "SELECT t, total_files FROM transfer WHERE peer = ? AND fid = ?", (peer, fid)
            ).fetchone()
            if row is None:
                return [], 0
            t, files = row
            end = start + limit
            pages, first, count = _pages(connection, t, "offer_page", "files", start, end)
            if count:
                offered = islice(unpacked(pages), start - first, end - first)
                found = [OfferedRow(tuple(file.path), file.size) for file in offered]
            else:
                rows = connection.execute(
                    "SELECT path, size FROM transfer_file WHERE t = ? AND number >= ? AND number < ? ORDER BY number",
                    (t, start, end),
                )
                found = [OfferedRow(_path.decode(path), size) for path, size in rows]
            after, end = max(0, start - files), max(0, end - files)
            pages, first, count = _pages(connection, t, "folder_page", "folders", after, end)
            folders = islice(unpacked_folders(pages), after - first, end - first)
            return found + [OfferedRow(folder, is_folder=True) for folder in folders], files + count

        return self._database.read(job)

    def forget_ended(self) -> Deferred[None]:
        """Remove ended transfers from ``transfers()``; their ids stay known."""
        ended = tuple(state.value for state in ENDED)
        these = f"transfer WHERE forgotten = 0 AND state IN ({', '.join('?' * len(ended))})"

        def job(connection: Connection) -> None:
            connection.execute(f"DELETE FROM transfer_file WHERE t IN (SELECT t FROM {these})", ended)
            connection.execute(f"DELETE FROM offer_page WHERE t IN (SELECT t FROM {these})", ended)
            connection.execute(f"DELETE FROM folder_page WHERE t IN (SELECT t FROM {these})", ended)
            connection.execute(f"UPDATE transfer SET forgotten = 1 WHERE t IN (SELECT t FROM {these})", ended)

        return self._database.run(job)

    def file_synced(self, peer: PeerID, fid: bytes, number: int, part: str, synced: int) -> Deferred[None]:
        """Note that the first ``synced`` bytes of ``part`` are on the disk.

        If this is lost in a crash, they are sent again.
        """

        def job(connection: Connection) -> None:
            connection.execute(
                "UPDATE transfer_file SET part = ?, synced = ?"
                " WHERE t = (SELECT t FROM transfer WHERE peer = ? AND fid = ?) AND number = ? AND digest = x''",
                (os.fsencode(part), synced, peer, fid, number),
            )

        return self._database.run(job, lasting=False)

    def files_whole(
        self,
        peer: PeerID,
        fid: bytes,
        files: Sequence[tuple[int, str, bytes, bytes]],
        placed: Sequence[tuple[int, bytes]] = (),
    ) -> Deferred[None]:
        """Note that these, ``(number, part, digest, folder)``, are on the disk and verified; their names come next.

        ``placed`` as in ``files_done``: those whose names have become certain meanwhile.
        """

        def job(connection: Connection) -> None:
            t = _number_of(connection, peer, fid)
            _set_done(connection, t, placed)
            connection.executemany(
                "UPDATE transfer_file SET part = ?, synced = size, digest = ?, final = ? WHERE t = ? AND number = ?",
                [(os.fsencode(part), digest, folder, t, number) for number, part, digest, folder in files],
            )

        return self._database.run(job)

    def files_done(self, peer: PeerID, fid: bytes, files: Sequence[tuple[int, bytes]]) -> Deferred[None]:
        """Note that these files, ``(number, final path)``, are verified and have their names.

        If this is lost in a crash, they are found again.
        """

        def job(connection: Connection) -> None:
            _set_done(connection, _number_of(connection, peer, fid), files)

        return self._database.run(job, lasting=False)

    def reset_files(self, peer: PeerID, fid: bytes, numbers: Sequence[int]) -> Deferred[None]:
        """Note that nothing of these files is on the disk any more.

        If this is lost in a crash, it is found out again.
        """

        def job(connection: Connection) -> None:
            connection.executemany(
                "UPDATE transfer_file SET part = x'', synced = 0, digest = x''"
                " WHERE t = (SELECT t FROM transfer WHERE peer = ? AND fid = ?) AND number = ?",
                [(peer, fid, number) for number in numbers],
            )

        return self._database.run(job, lasting=False)

    def find(self, peer: PeerID, fid: bytes) -> Deferred[TransferRow | None]:
        """Return one transfer, also a forgotten one; None if there is none."""

        def job(connection: Connection) -> TransferRow | None:
            row = connection.execute(
                f"SELECT {_TRANSFER} FROM transfer WHERE peer = ? AND fid = ?", (peer, fid)
            ).fetchone()
            return None if row is None else _transfer(row)

        return self._database.read(job)

    def received_like(self, peer: PeerID, fid: bytes) -> Deferred[dict[int, bytes]]:
        """Return files of the offer ``fid`` that this peer has sent before, by number: the path where each lies.

        They lay in a folder there and have the same path, size and time; the newest counts.  What is kept in memory
        is as much as the offer, however much has come before.
        """

        def job(connection: Connection) -> dict[int, bytes]:
            row = connection.execute("SELECT t FROM transfer WHERE peer = ? AND fid = ?", (peer, fid)).fetchone()
            (this,) = row or (0,)
            offered = connection.execute(
                "SELECT path, size, mtime_ms, number FROM transfer_file WHERE t = ? AND size > 0", (this,)
            )
            wanted = {
                (path, size, mtime_ms): number
                for path, size, mtime_ms, number in offered
                if not path.startswith(_ONE_PART)
            }
            found: dict[int, bytes] = {}
            if not wanted:
                return found
            # "+": by the order of rows, newest first, and not by an index that would have to be sorted.
            former = connection.execute(
                "SELECT path, size, mtime_ms, final FROM transfer JOIN transfer_file USING (t)"
                " WHERE +peer = ?1 AND outgoing = 0 AND t <> ?2 AND done = 1 AND size > 0"
                " AND path IN (SELECT path FROM transfer_file WHERE t = ?2) ORDER BY t DESC",
                (peer, this),
            )
            for path, size, mtime_ms, final in former:
                known = wanted.pop((path, size, mtime_ms), None)
                if known is not None:
                    found[known] = final
                    if not wanted:
                        break
            return found

        return self._database.read(job)

    def file_rules(self) -> Deferred[dict[PeerID, FileRule]]:
        """Return the file rules by person; people without a rule are left out."""

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


def _number_of(connection: Connection, peer: PeerID, fid: bytes) -> int | None:
    row = connection.execute("SELECT t FROM transfer WHERE peer = ? AND fid = ?", (peer, fid)).fetchone()
    return None if row is None else int(row[0])


def _pages(
    connection: Connection, t: int, table: str, column: str, start: int, end: int
) -> tuple[Iterator[bytes], int, int]:
    """Return the packed pages of a transfer that hold the items from number ``start`` to before ``end``.

    With them come the number of the first item in them, and how many items all pages have.
    """
    wanted: list[int] = []
    first = count = 0
    for number, head in connection.execute(
        f"SELECT number, substr({column}, 1, ?) FROM {table} WHERE t = ? ORDER BY number", (PACKED_HEAD_BYTES, t)
    ):
        items = packed_count(head)
        if start < count + items and count < end:
            first = first if wanted else count
            wanted.append(number)
        count += items
    query = f"SELECT {column} FROM {table} WHERE t = ? AND number = ?"
    return (connection.execute(query, (t, number)).fetchone()[0] for number in wanted), first, count


def _add_files(connection: Connection, t: int, files: Iterator[FileRow]) -> None:
    connection.executemany(
        f"INSERT INTO transfer_file (t, {_FILE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ((t, *_file_values(file)) for file in files),
    )


def _set_done(connection: Connection, t: int | None, files: Sequence[tuple[int, bytes]]) -> None:
    connection.executemany(
        "UPDATE transfer_file SET done = 1, synced = size, part = x'', final = ? WHERE t = ? AND number = ?",
        [(final, t, number) for number, final in files],
    )


def _transfer(row: Sequence[Any]) -> TransferRow:
    found = TransferRow(*row)
    return found._replace(
        outgoing=bool(found.outgoing),
        told=bool(found.told),
        forgotten=bool(found.forgotten),
        state=TransferState(found.state),
        paused=PausedBy(found.paused),
        names=_names.decode(found.names) if found.names else (),  # type: ignore[arg-type]
        details=_details.decode(found.details) if found.details else OfferDetails(),  # type: ignore[arg-type]
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
