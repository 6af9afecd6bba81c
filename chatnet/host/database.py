"""One SQLite file in one thread of its own: what is acknowledged is on the disk, unless it said that it need not be.

Jobs run in the order they were asked for.  A write is committed at once when nothing else runs;
what comes meanwhile gathers and shares the next commit.  A result is told only after the commit
that holds it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from chatnet.core.errors import StoreFailed, system_reason
from chatnet.core.limits import DATABASE_BUSY_MS, GROUP_COMMIT_ROWS, TOGETHER_ROWS
from chatnet.host.private_files import make_private, make_private_directories, make_private_file

T = TypeVar("T")
Item = TypeVar("Item")
Connection = sqlite3.Connection

_PRAGMAS = f"""
PRAGMA busy_timeout = {DATABASE_BUSY_MS};
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;
PRAGMA trusted_schema = OFF;
PRAGMA temp_store = MEMORY;
PRAGMA wal_autocheckpoint = 1000;
PRAGMA journal_size_limit = 16777216;
"""

_INTERRUPT_SECONDS = 0.02

_NO_SPACE = ("no-space", "the disk is full: nothing can be stored until there is space again")
# Result codes of SQLite that are circumstances, not mistakes of ours: code and words.
_FAILURES = {
    sqlite3.SQLITE_FULL: _NO_SPACE,
    sqlite3.SQLITE_IOERR_SHMSIZE: _NO_SPACE,  # the -shm file could not grow
    sqlite3.SQLITE_IOERR: ("io", "the disk reports an error: nothing was stored"),
    sqlite3.SQLITE_READONLY: ("unwritable", "the database cannot be written: are the disk or the file read-only?"),
    sqlite3.SQLITE_PERM: ("unwritable", "the database may not be opened: whose file is it?"),
    sqlite3.SQLITE_CANTOPEN: ("unwritable", "the database cannot be opened: is its directory there and writable?"),
    sqlite3.SQLITE_BUSY: ("busy", "another program keeps the database locked: nothing was stored"),
    sqlite3.SQLITE_CORRUPT: ("damaged", "the database is damaged: move the file away, or restore a copy of it"),
    sqlite3.SQLITE_NOTADB: ("damaged", "this file is not a database: move it away, or restore a copy of it"),
}


class Database:
    """The owner of one file, of its thread, and of everything that waits for it.

    ``migrations[i]`` is the SQL that brings the schema from version i to i + 1.  ``damaged`` is
    told what the check after opening found, if anything; ``on_failure``, set by the owner, of every
    group of jobs that the disk did not take.
    """

    def __init__(
        self,
        path: Path,
        migrations: Sequence[str],
        reactor: IReactorFromThreads,
        damaged: Callable[[str], object] | None = None,
    ) -> None:
        self.path = path
        self._migrations = migrations
        self._reactor = reactor
        self._damaged = damaged
        self.on_failure: Callable[[StoreFailed], object] | None = None
        self._log = Logger()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._closed: list[Deferred[None]] = []
        self._queue: deque[_Job[Any]] = deque()
        self._wake = threading.Condition()
        self._checking: Connection | None = None

    # --- in the reactor's thread ---------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Jobs that have not begun."""
        return len(self._queue)

    def open(self) -> Deferred[None]:
        """Start the thread, make or open the file, bring its schema up to date.

        Fails with StoreFailed; "newer" when a newer program wrote the file.
        """
        if self._thread is not None:
            return fail(StoreFailed("open", f"{self.path} is open already"))
        opened: Deferred[None] = Deferred()
        self._closing = False
        # A daemon, so that a program that dies without close() does not hang: the file bears it.
        self._thread = threading.Thread(target=self._live, args=(opened,), name=f"store {self.path.name}", daemon=True)
        self._thread.start()
        return opened

    def close(self) -> Deferred[None]:
        """Finish what is queued, close the file, end the thread; a check that goes on is given up."""
        if self._thread is None:
            return succeed(None)
        closed: Deferred[None] = Deferred()
        self._closed.append(closed)
        with self._wake:
            self._closing = True
            self._wake.notify()
        return closed

    def run(self, job: Callable[[Connection], T], chain: Chain | None = None, lasting: bool = True) -> Deferred[T]:
        """Return what ``job`` returns, once that is committed.

        A job that raises is undone alone, and fails with its own exception; StoreFailed when the
        database could not do it, or could not do an earlier job of ``chain``.  One that is not
        ``lasting`` does not wait for the disk: it outlives the process, but until the next lasting
        one not the machine.
        """
        return self._enqueue(_Job(job, reads=False, chain=chain, lasting=lasting))

    def run_together(self, work: Callable[[Connection, Sequence[Item]], Sequence[T]], item: Item) -> Deferred[T]:
        """Run ``work`` for one of many items; the result is what ``work`` returns for ``item``.

        ``work`` returns its results in the order of the items.  Items that are given one after the other are one job
        as long as it has not begun, and are done or fail together.
        """
        if self._thread is None or self._closing:
            return fail(StoreFailed("closed", "the database is closed"))
        with self._wake:
            bunch = self._queue[-1] if self._queue else None
            if not isinstance(bunch, _Bunch) or bunch.together is not work or bunch.size >= TOGETHER_ROWS:
                bunch = _Bunch(work)
                self._queue.append(bunch)
                self._wake.notify()
            return bunch.add(item)

    def read(self, job: Callable[[Connection], T]) -> Deferred[T]:
        """Return what ``job`` returns, which may not write; it sees every write asked for before it.

        It waits for a commit only when such a write is not yet committed, and does not fail with it.
        """
        return self._enqueue(_Job(job, reads=True))

    def _enqueue(self, job: _Job[T]) -> Deferred[T]:
        if self._thread is None or self._closing:
            return fail(StoreFailed("closed", "the database is closed"))
        with self._wake:
            self._queue.append(job)
            self._wake.notify()
        return job.done

    def _end(self, opened: Deferred[None] | None = None, error: StoreFailed | None = None) -> None:
        """Clean up after the thread, which ended after close() or because it could not open the database."""
        assert self._thread is not None
        self._thread.join()
        self._thread = None
        if error is not None and opened is not None:
            waiting, self._queue = self._queue, deque()
            for job in waiting:
                job.error = StoreFailed(error.code, error.text)
                job.tell()
            opened.errback(error)
        closed, self._closed = self._closed, []
        for deferred in closed:
            deferred.callback(None)

    def _told(self, batch: Iterable[_Job[Any]]) -> None:
        failures = [job.error for job in batch if isinstance(job.error, StoreFailed)]
        if failures and self.on_failure is not None:
            self.on_failure(failures[0])
        for job in batch:
            job.tell()

    def _report(self, found: str) -> None:
        self._log.error("{path}: the check found damage: {found}", path=self.path, found=found)
        if self._damaged is not None:
            self._damaged(found)

    # --- in the store's thread -----------------------------------------------------------------

    def _live(self, opened: Deferred[None]) -> None:
        try:
            connection = self._connect()
        except Exception as error:
            self._reactor.callFromThread(self._end, opened, _store_failed(error))
            return
        self._reactor.callFromThread(opened.callback, None)
        checker = threading.Thread(target=self._check, name=f"check {self.path.name}", daemon=True)
        checker.start()
        while batch := self._next_batch():
            if batch[0].reads:
                for job in batch:
                    job.attempt(connection)
            else:
                _commit(connection, batch)
            self._reactor.callFromThread(self._told, batch)
            del batch  # else an idle thread would keep the last results alive
        self._end_check(checker)
        connection.close()
        self._reactor.callFromThread(self._end)

    def _connect(self) -> Connection:
        if self.path.exists() and not self.path.is_file():  # a pipe has no end, a device is not ours
            raise StoreFailed("damaged", f"{self.path} is not a file: move it away, or restore a copy of it")
        _make_private_database(self.path)
        connection = sqlite3.connect(self.path, isolation_level=None, cached_statements=256)
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > len(self._migrations):
                raise StoreFailed(
                    "newer",
                    f"a newer chatnet wrote {self.path} (version {version}, this one knows {len(self._migrations)}): "
                    "install that one again; nothing was changed",
                )
            connection.executescript(_PRAGMAS)
            for number, script in enumerate(self._migrations[version:], version + 1):
                connection.executescript(f"BEGIN IMMEDIATE;\n{script}\n;PRAGMA user_version = {number};\nCOMMIT;")
        except BaseException:
            connection.close()  # which undoes what was not committed
            raise
        return connection

    def _next_batch(self) -> list[_Job[Any]]:
        """Return the reads up to the next write, or a group for one commit; empty once closed and done."""
        with self._wake:
            while not self._queue:
                if self._closing:
                    return []
                self._wake.wait()
            reads = self._queue[0].reads
            batch: list[_Job[Any]] = []
            rows = 0
            while self._queue and rows < GROUP_COMMIT_ROWS and (self._queue[0].reads or not reads):
                batch.append(self._queue.popleft())
                rows += batch[-1].size
            return batch

    def _check(self) -> None:
        """Check the whole file with a connection of its own, beside the work: a large file takes seconds."""
        try:
            self._checking = connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)
            try:
                found = "; ".join(row[0] for row in connection.execute("PRAGMA quick_check(5)"))
            finally:
                connection.close()
        except sqlite3.Error as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                return
            found = str(error)
        if found != "ok":
            self._reactor.callFromThread(self._report, found)

    def _end_check(self, checker: threading.Thread) -> None:
        """Interrupt the check of a large file, for which nobody waits.

        This is repeated until it stops, for it may be about to begin.
        """
        while checker.is_alive():
            with suppress(sqlite3.ProgrammingError):  # it has just closed its connection
                if self._checking is not None:
                    self._checking.interrupt()
            checker.join(_INTERRUPT_SECONDS)
        self._checking = None


class Chain:
    """Jobs that are done in their order or not at all: after a failed one, no later one is tried.

    Its word is the store's thread's: when a failure is known to the reactor, later jobs may have
    been committed already.
    """

    __slots__ = ("broken",)

    def __init__(self) -> None:
        self.broken: Exception | None = None  # what became of the first that failed


class _Job(Generic[T]):
    """Something to do with the connection, and who waits for it."""

    __slots__ = ("chain", "done", "error", "lasting", "reads", "result", "work")

    def __init__(
        self, work: Callable[[Connection], T], reads: bool, chain: Chain | None = None, lasting: bool = True
    ) -> None:
        self.work = work
        self.reads = reads
        self.lasting = lasting
        self.chain = chain
        self.done: Deferred[T] = Deferred()
        self.result: T | None = None
        self.error: Exception | None = None

    @property
    def size(self) -> int:
        return 1

    def attempt(self, connection: Connection) -> None:
        """Keep the result or the error."""
        self.error = None
        if self.chain is not None and self.chain.broken is not None:
            self.error = _store_failed(self.chain.broken)
            return
        try:
            if not self.reads:
                self.result = self.work(connection)
                return
            connection.execute("PRAGMA query_only = ON")
            try:
                self.result = self.work(connection)
            finally:
                connection.execute("PRAGMA query_only = OFF")
        except Exception as error:
            # Its other subclasses are the job's own matter: IntegrityError, ProgrammingError, ...
            circumstances = isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError
            self.fail(_store_failed(error) if circumstances else error)

    def fail(self, error: Exception) -> None:
        self.error = error
        if self.chain is not None:
            self.chain.broken = error

    def tell(self) -> None:
        if self.error is None:
            self.done.callback(cast(T, self.result))
        else:
            self.done.errback(self.error)


class _Bunch(_Job[Sequence[T]], Generic[Item, T]):
    """Work on many things that were asked for one by one; each has its own answer."""

    __slots__ = ("_items", "_waiting", "together")

    def __init__(self, together: Callable[[Connection, Sequence[Item]], Sequence[T]]) -> None:
        super().__init__(lambda connection: together(connection, self._items), reads=False)
        self.together = together
        self._items: list[Item] = []
        self._waiting: list[Deferred[T]] = []

    @property
    def size(self) -> int:
        return len(self._items)

    def add(self, item: Item) -> Deferred[T]:
        self._items.append(item)
        self._waiting.append(waiting := Deferred[T]())
        return waiting

    def tell(self) -> None:
        if self.error is not None:
            for waiting in self._waiting:
                waiting.errback(_own(self.error))
        else:
            for waiting, result in zip(self._waiting, cast(Sequence[T], self.result), strict=True):
                waiting.callback(result)


def _commit(connection: Connection, batch: list[_Job[Any]]) -> None:
    """Commit all of ``batch`` in one transaction; a job that fails is undone alone."""
    lasting = any(job.lasting for job in batch if not job.reads)
    try:
        connection.execute("PRAGMA synchronous = FULL" if lasting else "PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        for job in batch:
            connection.execute("SAVEPOINT job")
            job.attempt(connection)
            if job.error is not None:
                if not connection.in_transaction:  # SQLite gave all of it up: full disk, I/O error
                    raise job.error
                connection.execute("ROLLBACK TO job")
            connection.execute("RELEASE job")
        connection.execute("COMMIT")
    except Exception as error:
        if connection.in_transaction:
            with suppress(sqlite3.Error):  # then the next BEGIN fails, and comes here again
                connection.rollback()
        for job in batch:
            if job.reads:
                job.attempt(connection)  # what it saw was undone; a full disk does not stop reading
            elif job.error is None:
                job.fail(_store_failed(error))


def _own(error: Exception) -> Exception:
    return _store_failed(error) if isinstance(error, StoreFailed) else error


def _store_failed(error: Exception) -> StoreFailed:
    """Return the StoreFailed for an error; a new object each time, since each caller gets its own."""
    if isinstance(error, StoreFailed):
        return StoreFailed(error.code, error.text)
    whole = getattr(error, "sqlite_errorcode", 0)
    for code in (whole, whole & 0xFF):  # the primary code, without its details
        if code in _FAILURES:
            return StoreFailed(*_FAILURES[code])
    if isinstance(error, OSError):
        reason = system_reason(error)
        return StoreFailed("unwritable", f"the database {error.filename} cannot be opened: {reason}")
    return StoreFailed("store", f"the database failed: {error}")


def _make_private_database(path: Path) -> None:
    """Make an empty file that only its owner may open, whatever the umask; SQLite gives its own files the same mode."""
    make_private_directories(path.parent)
    if not make_private_file(path):
        for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            make_private(name)


class Settings:
    """Keys and values as text: the part of a schema that every store has."""

    TABLE = "CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> Deferred[str | None]:
        def job(connection: Connection) -> str | None:
            row = connection.execute("SELECT value FROM setting WHERE key = ?", (key,)).fetchone()
            return None if row is None else row[0]

        return self._database.read(job)

    def put(self, key: str, value: str) -> Deferred[None]:
        def job(connection: Connection) -> None:
            connection.execute(
                "INSERT INTO setting VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value)
            )

        return self._database.run(job)
