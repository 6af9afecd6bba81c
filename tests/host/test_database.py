"""One thread, one file: order, gathered commits, failures that stay alone, and what a kill leaves."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from chatnet.core.errors import StoreFailed
from chatnet.core.limits import GROUP_COMMIT_ROWS, TOGETHER_ROWS
from chatnet.host.database import Chain, Database, Settings

SCHEMA = ("CREATE TABLE line (n INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;",)


# Minutes for 100,000 rows.
SLOW_TO_CHECK = (
    "CREATE TABLE line (n INTEGER PRIMARY KEY, text TEXT CHECK (length(hex(zeroblob(1000000 + length(text)))) > 0));",
)


def put(text: str):
    def job(connection: sqlite3.Connection) -> int | None:
        return connection.execute("INSERT INTO line (text) VALUES (?)", (text,)).lastrowid

    return job


def texts(connection: sqlite3.Connection) -> list[str]:
    return [text for (text,) in connection.execute("SELECT text FROM line ORDER BY n")]


def stored(path: Path) -> list[str]:
    """What another connection sees."""
    connection = sqlite3.connect(path)
    try:
        return texts(connection)
    finally:
        connection.close()


class Gate:
    """A job that holds the thread until it is opened: what is asked for meanwhile gathers."""

    def __init__(self) -> None:
        self._open = threading.Event()

    def __call__(self, connection: sqlite3.Connection) -> None:
        assert self._open.wait(10)

    def open(self) -> None:
        self._open.set()


async def outcomes(deferreds: list[Deferred]) -> list[object]:
    """Results, and exceptions in place of failures."""
    found = await DeferredList(deferreds, consumeErrors=True)
    return [value.value if isinstance(value, Failure) else value for _, value in found]


async def failure_of(deferred: Deferred) -> Exception:
    (found,) = await outcomes([deferred])
    assert isinstance(found, Exception), found
    return found


@pytest_twisted.async_yield_fixture
async def make(tmp_path):
    from twisted.internet import reactor

    made: list[Database] = []

    def database(path: Path = tmp_path / "kept.db", migrations=SCHEMA, **kwargs) -> Database:
        made.append(Database(path, migrations, reactor, **kwargs))
        return made[-1]

    yield database
    for one in made:
        await one.close()


# --- life ---------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_nothing_happens_before_open_and_nothing_stays_after_close(make):
    before = threading.active_count()
    database = make()
    assert threading.active_count() == before
    assert not database.path.exists()
    assert (await failure_of(database.run(put("early")))).code == "closed"
    await database.open()
    assert (await failure_of(database.open())).code == "open"
    last = database.run(put("last"))
    closings = [database.close(), database.close()]
    assert (await failure_of(database.run(put("late")))).code == "closed"
    await DeferredList(closings)
    assert await last == 1
    assert threading.active_count() == before
    assert [p.name for p in database.path.parent.iterdir()] == ["kept.db"]  # no -wal: it was closed in order
    assert stored(database.path) == ["last"]
    await database.open()
    assert await database.read(texts) == ["last"]


@pytest_twisted.ensureDeferred
async def test_the_file_is_durable_and_guarded(make):
    database = make()
    await database.open()

    def pragmas(connection: sqlite3.Connection) -> dict[str, object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "trusted_schema", "busy_timeout")
        return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}

    assert await database.read(pragmas) == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "trusted_schema": 0,
        "busy_timeout": 5000,
    }


@pytest_twisted.ensureDeferred
async def test_only_what_need_not_last_does_not_wait_for_the_disk(make):
    database = make()
    await database.open()

    def level(connection: sqlite3.Connection) -> int:
        return connection.execute("PRAGMA synchronous").fetchone()[0]

    assert await database.run(level, lasting=False) == 1
    assert await database.run(level) == 2
    beside = database.run(put("kept")), database.run(level, lasting=False), database.run(level)
    await beside[0]
    assert await beside[1] == await beside[2] == 2
    await database.close()
    assert stored(database.path) == ["kept"]


@pytest.mark.parametrize("umask", [0, 0o777])
@pytest_twisted.ensureDeferred
async def test_files_are_private_under_any_umask(make, tmp_path, umask):
    path = tmp_path / "state" / "carol" / "kept.db"
    former = os.umask(umask)
    try:
        database = make(path)
        await database.open()
        await database.run(put("secret"))
    finally:
        os.umask(former)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
    assert modes == {"kept.db": 0o600, "kept.db-wal": 0o600, "kept.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700
    await database.close()
    path.chmod(0o644)
    await database.open()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest_twisted.ensureDeferred
async def test_an_unusable_place_is_said_in_words(make, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    error = await failure_of(make(tmp_path / "file" / "kept.db").open())
    assert isinstance(error, StoreFailed)
    assert error.code == "unwritable"
    os.mkfifo(tmp_path / "pipe.db")  # reading it would never end
    assert (await failure_of(make(tmp_path / "pipe.db").open())).code == "damaged"
    (tmp_path / "noise.db").write_bytes(b"this is no database" * 100)
    database = make(tmp_path / "noise.db")
    opening, waiting = database.open(), database.run(put("x"))
    assert [e.code for e in await outcomes([opening, waiting])] == ["damaged", "damaged"]


# --- migrations ---------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_migrations_bring_an_old_file_up_to_date_once(make):
    old = make()
    await old.open()
    await old.run(put("kept"))
    await old.close()
    new = make(migrations=(*SCHEMA, "ALTER TABLE line ADD COLUMN mark TEXT; UPDATE line SET mark = text || '!';"))
    for _ in range(2):
        await new.open()
        assert await new.read(lambda c: c.execute("SELECT text, mark FROM line").fetchall()) == [("kept", "kept!")]
        assert await new.read(lambda c: c.execute("PRAGMA user_version").fetchone()) == (2,)
        await new.close()


@pytest_twisted.ensureDeferred
async def test_a_migration_that_fails_leaves_nothing_half_done(make):
    old = make()
    await old.open()
    await old.close()
    broken = make(migrations=(*SCHEMA, "ALTER TABLE line ADD COLUMN mark TEXT; INSERT INTO nowhere VALUES (1);"))
    assert isinstance(await failure_of(broken.open()), StoreFailed)
    await old.open()
    assert await old.read(lambda c: [row[1] for row in c.execute("PRAGMA table_info(line)")]) == ["n", "text"]
    assert await old.read(lambda c: c.execute("PRAGMA user_version").fetchone()) == (1,)


@pytest_twisted.ensureDeferred
async def test_a_newer_file_is_refused_and_not_touched(make):
    newer = make(migrations=(*SCHEMA, "CREATE TABLE more (n INTEGER) STRICT;"))
    await newer.open()
    await newer.close()
    before = newer.path.read_bytes()
    error = await failure_of(make().open())
    assert error.code == "newer"
    assert "version 2" in error.text
    assert newer.path.read_bytes() == before


# --- commits ------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_what_comes_during_a_commit_shares_the_next_ones_in_order(make):
    database, gate = make(), Gate()
    await database.open()
    statements: list[str] = []
    await database.run(lambda connection: connection.set_trace_callback(statements.append))
    statements.clear()
    order: list[int] = []
    waiting = [database.run(gate)]
    waiting += [database.run(put(str(n))) for n in range(2 * GROUP_COMMIT_ROWS + 1)]
    for n, deferred in enumerate(waiting):
        deferred.addCallback(lambda _, n=n: order.append(n))
    gate.open()
    await DeferredList(waiting)
    commits = [s for s in statements if s == "COMMIT"]
    # The gate may have been taken with a few of the others, never with more than a group's worth.
    assert len(commits) in (3, 4)
    assert order == list(range(len(waiting)))
    assert stored(database.path) == [str(n) for n in range(2 * GROUP_COMMIT_ROWS + 1)]


@pytest_twisted.ensureDeferred
async def test_a_result_is_told_only_after_its_commit(make):
    database, gate = make(), Gate()
    await database.open()
    seen: list[bool] = []
    waiting = [database.run(gate)]
    for n in range(20):
        waiting.append(database.run(put(str(n))))
        waiting[-1].addCallback(lambda _, n=n: seen.append(str(n) in stored(database.path)))
    gate.open()
    await DeferredList(waiting)
    assert seen == [True] * 20


@pytest_twisted.ensureDeferred
async def test_a_failing_job_fails_alone(make):
    database, gate = make(), Gate()
    await database.open()

    def half(connection: sqlite3.Connection) -> None:
        put("undone")(connection)
        raise LookupError("mine")

    found = await gather(
        gate, [database.run(gate), *(database.run(job) for job in (put("a"), half, put("b"), put("a"), put("c")))]
    )
    assert [type(value) for value in found[1:]] == [int, LookupError, int, sqlite3.IntegrityError, int]
    assert stored(database.path) == ["a", "b", "c"]


@pytest_twisted.ensureDeferred
async def test_what_is_asked_for_together_is_one_job_with_an_answer_for_each(make):
    database, gate = make(), Gate()
    await database.open()
    jobs: list[list[str]] = []

    def work(connection: sqlite3.Connection, items: list[str]) -> list[str]:
        jobs.append(list(items))
        for item in items:
            put(item)(connection)
        return [item.upper() for item in items]

    waiting = [database.run(gate), *(database.run_together(work, item) for item in "abc")]
    waiting.append(database.read(texts))
    waiting += [database.run_together(work, item) for item in "da"]
    waiting.append(database.run(put("e")))
    waiting.append(database.run_together(work, "f"))
    _, a, b, c, seen, d, again, _, f = await gather(gate, waiting)
    assert jobs == [["a", "b", "c"], ["d", "a"], ["f"]]
    assert (a, b, c, f) == ("A", "B", "C", "F")
    assert seen == ["a", "b", "c"]
    assert [type(one) for one in (d, again)] == [sqlite3.IntegrityError] * 2  # both or none
    assert stored(database.path) == ["a", "b", "c", "e", "f"]
    await database.close()
    assert (await failure_of(database.run_together(work, "g"))).code == "closed"


@pytest_twisted.ensureDeferred
async def test_so_many_are_one_write_and_no_more(make):
    database, gate, sizes = make(), Gate(), []
    await database.open()

    def work(connection: sqlite3.Connection, items: list[int]) -> list[int]:
        sizes.append(len(items))
        return items

    waiting = [database.run(gate), *(database.run_together(work, n) for n in range(2 * TOGETHER_ROWS + 1))]
    assert (await gather(gate, waiting))[1:] == list(range(2 * TOGETHER_ROWS + 1))
    assert sizes == [TOGETHER_ROWS, TOGETHER_ROWS, 1]


@pytest_twisted.ensureDeferred
async def test_each_of_those_that_the_disk_did_not_take_has_an_error_of_his_own(make):
    database, gate = make(), Gate()
    await database.open()

    def work(connection: sqlite3.Connection, items: list[str]) -> list[str]:
        raise sqlite3.OperationalError("database is broken")

    waiting = [database.run(gate), *(database.run_together(work, item) for item in "ab")]
    _, first, second = await gather(gate, waiting)
    assert isinstance(first, StoreFailed)
    assert isinstance(second, StoreFailed)
    assert first is not second


async def gather(gate: Gate, waiting: list[Deferred]) -> list[object]:
    gate.open()
    return await outcomes(waiting)


@pytest_twisted.ensureDeferred
async def test_after_a_failed_link_of_a_chain_no_later_one_is_stored(make):
    """What is behind a failure may be in the queue already, and must not overtake it."""
    database = make()
    await database.open()
    gate, chain, other = Gate(), Chain(), Chain()
    held = database.run(gate)
    first = database.run(put("one"), chain)
    twice = database.run(put("one"), chain)
    behind = database.run(put("two"), chain)
    beside = database.run(put("three"), other)
    gate.open()
    await held
    _, failed, kept_back, _ = await outcomes([first, twice, behind, beside])
    assert isinstance(failed, sqlite3.IntegrityError)
    assert isinstance(kept_back, StoreFailed)
    assert isinstance(await failure_of(database.run(put("four"), chain)), StoreFailed)
    assert stored(database.path) == ["one", "three"]


@pytest_twisted.ensureDeferred
async def test_a_failing_commit_acknowledges_nothing_and_the_next_one_works(make):
    schema = (*SCHEMA, "CREATE TABLE child (n INTEGER REFERENCES line (n) DEFERRABLE INITIALLY DEFERRED) STRICT;")
    database, hold, gate = make(migrations=schema), Gate(), Gate()
    await database.open()
    await database.run(put("first"))

    def orphan(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO child VALUES (99)")  # found out by COMMIT only

    first = database.read(hold)  # by itself, so that the group behind it is exactly what follows
    waiting = [database.run(gate), database.run(put("a")), database.run(orphan), database.read(texts)]
    hold.open()
    gate.open()
    found = await outcomes([first, *waiting])
    assert [type(value) for value in found] == [type(None), StoreFailed, StoreFailed, StoreFailed, list]
    assert found[-1] == ["first"]  # reading does not fail with the others, and saw nothing that was undone
    assert len({id(error) for error in found[1:4]}) == 3
    await database.run(put("b"))
    assert stored(database.path) == ["first", "b"]


@pytest_twisted.ensureDeferred
async def test_a_transaction_that_sqlite_gives_up_acknowledges_nothing(make):
    database, hold, gate = make(), Gate(), Gate()
    await database.open()
    await database.run(put("first"))

    def give_up(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT OR ROLLBACK INTO line (text) VALUES ('first')")

    first = database.read(hold)
    waiting = [database.run(job) for job in (gate, put("a"), give_up, put("b"))]
    hold.open()
    gate.open()
    found = await outcomes([first, *waiting])
    assert [type(value) for value in found[2:]] == [StoreFailed, sqlite3.IntegrityError, StoreFailed]
    await database.run(put("c"))
    assert stored(database.path) == ["first", "c"]


@pytest_twisted.ensureDeferred
async def test_reads_see_the_writes_asked_for_before_and_may_not_write(make):
    database = make()
    await database.open()
    write, read = database.run(put("a")), database.read(texts)
    assert await read == ["a"]
    assert await write == 1
    assert (await failure_of(database.read(put("b")))).code == "unwritable"
    await database.run(put("c"))
    assert await database.read(texts) == ["a", "c"]


@pytest_twisted.ensureDeferred
async def test_a_full_disk_is_said_and_gets_better_by_itself(make):
    database = make()
    await database.open()
    pages = await database.run(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    await database.run(lambda c: c.execute(f"PRAGMA max_page_count = {pages + 2}").fetchone()[0])
    found = await outcomes([database.run(put(f"{n}" * 3000)) for n in range(10, 30)])
    kept = [n for n in found if isinstance(n, int)]
    lost = [error for error in found if not isinstance(error, int)]
    assert lost
    assert {error.code for error in lost} == {"no-space"}
    assert "full" in lost[0].text
    assert await database.read(lambda c: [n for (n,) in c.execute("SELECT n FROM line")]) == kept
    await database.run(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchone()[0])
    assert isinstance(await database.run(put("again")), int)


@pytest_twisted.ensureDeferred
async def test_damage_is_reported_after_opening(make):
    found: Deferred[str] = Deferred()
    database = make(damaged=found.callback)
    await database.open()
    await database.run(
        lambda c: c.executemany("INSERT INTO line (text) VALUES (?)", ((f"{n}" * 99,) for n in range(999)))
    )
    await database.close()
    raw = bytearray(database.path.read_bytes())
    middle = len(raw) // 2 // 4096 * 4096
    raw[middle : middle + 4096] = os.urandom(4096)
    database.path.write_bytes(raw)
    await database.open()
    assert await found


@pytest_twisted.ensureDeferred
async def test_closing_does_not_wait_for_the_check(make):
    from twisted.internet import reactor

    database = make(migrations=SLOW_TO_CHECK)
    await database.open()
    await database.close()
    with sqlite3.connect(database.path) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.executemany("INSERT INTO line (text) VALUES (?)", ((f"{n}",) for n in range(100_000)))
    connection.close()
    await database.open()
    assert isinstance(await database.run(put("beside the check")), int)
    await database.close().addTimeout(30, reactor)


# --- processes that end badly -------------------------------------------------------------------

CHILD = """
import os, resource, sys
from pathlib import Path
from twisted.internet import reactor
from chatnet.host.database import Database
from tests.host.test_database import SCHEMA, put

database = Database(Path(sys.argv[1]), SCHEMA, reactor)
number, where = int(sys.argv[2]), sys.argv[3]

def told(_, n):
    os.write(1, f"{n}\\n".encode())
    if where == "reactor" and n == number:
        os._exit(9)

def die(connection):
    put("dying")(connection)
    os._exit(9)

def start(_):
    for n in range(400):
        database.run(die if where == "thread" and n == number else put(str(n))).addCallback(told, n)

def fill(_):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (number, hard))
    waiting = []
    for n in range(400):
        waiting.append(database.run(put(str(n) * 200)))
        waiting[-1].addCallbacks(told, lambda failure: os.write(2, failure.value.code.encode() + b" "), [n])
    def again(_):
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        database.run(put("again")).addCallback(lambda _: os.write(1, b"again\\n")).addBoth(lambda _: os._exit(0))
    waiting[-1].addCallback(again)

database.open().addCallback(fill if where == "limit" else start)
reactor.run()
"""


def child(path: Path, number: int, where: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CHILD, str(path), str(number), where], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("number", "where"), [(0, "thread"), (150, "thread"), (333, "thread"), (1, "reactor"), (200, "reactor")]
)
def test_whatever_was_acknowledged_survives_a_kill(tmp_path, number, where):
    path = tmp_path / "kept.db"
    ended = child(path, number, where)
    assert ended.returncode == 9, ended.stderr
    told = ended.stdout.split()
    kept = stored(path)
    assert kept[: len(told)] == told  # all of them, in order
    assert kept == [str(n) for n in range(len(kept))]  # what is stored beyond them is whole and in order too
    assert "dying" not in kept
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_disk_that_takes_no_more_loses_nothing_acknowledged(tmp_path):
    path = tmp_path / "kept.db"
    ended = child(path, 120_000, "limit")
    assert ended.returncode == 0, ended.stderr
    told = ended.stdout.split()
    assert told[-1] == "again"
    assert 0 < len(told) < 400
    assert set(ended.stderr.split()) <= {"io", "no-space"}
    assert stored(path) == [text * 200 if text != "again" else text for text in told]


@pytest_twisted.ensureDeferred
async def test_settings_are_kept(make):
    database = make(migrations=(Settings.TABLE,))
    settings = Settings(database)
    await database.open()
    assert await settings.get("port") is None
    await settings.put("port", "9901")
    await settings.put("port", "9902")
    await database.close()
    await database.open()
    assert await settings.get("port") == "9902"
