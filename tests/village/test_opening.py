"""A peer that cannot be opened, and a disk that takes nothing when somebody is met."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import pytest_twisted

from chatnet.core.errors import StoreFailed
from chatnet.core.events import RegistryPhase
from tests.support.village import Village, Villager

NO_WAITING = "PRAGMA busy_timeout = 0"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("table", ["conversation", "tab", "file_rule", "transfer"])
async def test_what_fails_while_it_opens_leaves_nothing_running(village: Village, table: str) -> None:
    (ann,) = await village.people("ann")
    database = ann.node.places.database
    await ann.stop()
    _rename(database, table, "hidden")
    ann.start(log_in=False)
    with pytest.raises(StoreFailed):
        await village.done(ann.door.login("ann", str(ann.registry)))
    assert ann.machine.getDelayedCalls() == []
    assert not [at for at in village.net.ports if at[0] == ann.machine.host]
    await ann.stop()
    _rename(database, "hidden", table)
    ann.start()
    await village.until(lambda: ann.phase is RegistryPhase.UP)


@pytest_twisted.ensureDeferred
async def test_who_was_met_while_the_disk_took_nothing_is_pinned_when_it_is_not(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await impatient(village, ann)
    other = sqlite3.connect(ann.node.places.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    ann.node.people.pin_on_first_contact(bob.peer)
    await village.until(lambda: ann.node.watch.trouble)
    assert await village.done(ann.node.store.pins.all()) == []
    other.close()
    await village.until(lambda: not ann.node.watch.trouble)
    (pin,) = await village.done(ann.node.store.pins.all())
    assert (pin.name, pin.peer) == ("bob", bob.peer)
    await ann.stop()
    ann.start()
    await village.until(lambda: ann.knows(bob) is not None)
    assert [met.chat for met in await village.done(ann.node.store.conversations.all())] == [bob.peer]


async def impatient(village: Village, villager: Villager) -> None:
    """It does not wait for who else writes to its database."""
    await village.done(villager.node.store._database.read(lambda connection: connection.execute(NO_WAITING).close()))


def _rename(database: Path, table: str, to: str) -> None:
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA legacy_alter_table=ON")
    connection.execute(f"ALTER TABLE {table} RENAME TO {to}")
    connection.close()
