"""The contract of the peer's API: what a client sees is the same from the real peer and from the scripted one.

Each case runs in both worlds (``tests.support.worlds``), and says what it shows in the words of
``tests.support.contract``.  What is new in the API, in its docstrings or in the events belongs into a case.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from chatnet.core.errors import ChatnetError
from chatnet.core.events import (
    AlertContent,
    AlertRules,
    Event,
    FileRule,
    LoggedIn,
    MessageAdded,
    MessageChanged,
    MessageKind,
    MessageState,
    NoticeLevel,
    PeopleChanged,
    RegistryChanged,
    RegistryPhase,
    RequestsChanged,
    RuleKind,
    SpeedLimits,
    Tab,
    TabsRestored,
    Transfer,
    TransferChanged,
    TransferState,
    VerifiedLevel,
)
from chatnet.core.identity import chat_with, grouped_text, prefix_text, short_text
from chatnet.core.limits import LEAST_SPEED, MAX_BODY_BYTES, MUTED
from chatnet.core.transfer import offers
from tests.support.contract import ALWAYS, CALLS, code_of, codes_of, everything
from tests.support.village import Village
from tests.support.worlds import REGISTRY, ScriptedWorld, VillageWorld, World

Case = Callable[[World], Awaitable[None]]

CASES: dict[str, Case] = {}
SHOWN: dict[str, frozenset[str]] = {}
NOBODY = chat_with(b"\x07" * 32)
NO_FID = b"\x07" * 16
REDIAL_SECONDS = 10  # after which an address that did not answer is dialled again
BY_NUMBER, BY_CODE = VerifiedLevel.BY_NUMBER, VerifiedLevel.BY_CODE


def shows(*names: str) -> Callable[[Case], Case]:
    """A case of the contract: it shows these, and fails if it does not."""

    def enter(case: Case) -> Case:
        CASES[case.__name__], SHOWN[case.__name__] = case, frozenset(names)
        return case

    return enter


def fails(call: str, *codes: str) -> tuple[str, ...]:
    return tuple(f"{call}: {code}" for code in codes)


async def failure(world: World, work: Deferred[Any]) -> str:
    """The code with which a call fails."""
    with pytest.raises(ChatnetError) as caught:
        await world.done(work)
    return code_of(caught.value)


async def logged_in(world: World) -> None:
    await world.done(world.api.login("carol", REGISTRY))
    await world.until(lambda: world.recorder.picture.registry.phase is RegistryPhase.UP)


def file(world: World, name: str, size: int = 100) -> bytes:
    path = world.directory / name
    path.write_bytes(b"x" * size)
    return os.fsencode(path)


def transfer(world: World, fid: bytes) -> Transfer:
    return world.recorder.picture.transfers[fid]


def states(world: World, n: int) -> list[MessageState]:
    """All that was told of a row, in order."""
    found: list[MessageState] = []
    for event in world.recorder.heard:
        if isinstance(event, MessageAdded) and event.message.n == n:
            found.append(event.message.state)
        elif isinstance(event, MessageChanged) and event.n == n:
            found.append(event.state)
    return found


async def until_state(world: World, n: int, state: MessageState) -> None:
    rows = world.recorder.picture.rows
    await world.until(lambda: n in rows and rows[n].state is state, within=120)


async def until_transfer(world: World, fid: bytes, state: TransferState) -> None:
    transfers = world.recorder.picture.transfers
    await world.until(lambda: fid in transfers and transfers[fid].state is state, within=200)


# --- the login ------------------------------------------------------------------------------------


@shows("login", "subscribe", "LoggedIn", "RegistryChanged", "PeopleChanged", "RequestsChanged", "TabsRestored")
async def a_login(world: World) -> None:
    before = world.api.subscribe(lambda event: None)
    assert before.snapshot.me is None
    assert (before.snapshot.people, before.snapshot.transfers, before.snapshot.requests) == ((), (), ())
    before.cancel()
    before.cancel()  # does no harm
    assert await failure(world, world.api.say(NOBODY, "hello")) == "not-logged-in"
    me = await world.done(world.api.login("carol", REGISTRY))
    await logged_in_is_told(world)
    assert world.recorder.picture.me == me
    assert (me.name, me.new_key, len(me.peer)) == ("carol", True, 32)
    assert all(os.path.isabs(path) for path in (me.data_dir, me.downloads))
    await world.until(lambda: world.recorder.picture.registry.phase is RegistryPhase.UP)
    registry = world.recorder.picture.registry
    assert registry.key is not None
    assert (registry.code, registry.reason, registry.retry_at_ms) == ("", "", None)
    chat = await world.meet()
    assert world.recorder.picture.people[chat].name == "bob"


async def logged_in_is_told(world: World) -> None:
    """First that, then how everything stands, and the tabs last."""
    await world.settle()
    kinds = [type(event) for event in world.recorder.heard]
    first = kinds.index(LoggedIn)
    told = kinds[first:]
    assert kinds.count(LoggedIn) == kinds.count(TabsRestored) == 1
    assert told.index(RegistryChanged) < told.index(TabsRestored)
    assert told.index(RequestsChanged) < told.index(TabsRestored)


@shows(*fails("login", "bad-name", "bad-registry", "busy", "Refused"))
async def logins_that_are_refused(world: World) -> None:
    for name in ("", "Not A Name", "registry"):
        assert await failure(world, world.api.login(name, REGISTRY)) == "bad-name"
    assert await failure(world, world.api.login("carol", "tcp:nowhere")) == "bad-registry"
    await world.names_taken("bob")
    first = world.api.login("bob", REGISTRY)
    assert await failure(world, world.api.login("carol", REGISTRY)) == "busy"
    assert await failure(world, first) == "Refused"
    assert world.recorder.picture.me is None
    await logged_in(world)


MACHINE = ("twin", "bad-directory", "no-lock", "key", "CannotListen", "StoreFailed")


@shows(*fails("login", *MACHINE))
async def logins_that_the_machine_does_not_allow(world: World) -> None:
    for code in MACHINE:
        with world.hindered(code):
            assert await failure(world, world.api.login("zoe", REGISTRY)) == code
    assert world.recorder.picture.me is None
    await logged_in(world)


ARGUMENTS: dict[str, Any] = {
    "after": None,
    "blocked": True,
    "body": "hello",
    "chat": NOBODY,
    "chats": (NOBODY,),
    "down": None,
    "fid": NO_FID,
    "file": b"/nowhere/x.txt",
    "key": NOBODY,
    "level": BY_NUMBER,
    "n": 1,
    "name": "bob",
    "paths": (b"/nowhere",),
    "peer": NOBODY,
    "prefix": "AAAA",
    "rule": FileRule(),
    "rules": AlertRules(),
    "text": "hello",
    "up": None,
}


def called(world: World, call: str, **instead: Any) -> Deferred[Any]:
    """A call with some arguments, none of them optional."""
    wanted = [
        name
        for name, parameter in inspect.signature(CALLS[call]).parameters.items()
        if name != "self" and parameter.default is parameter.empty
    ]
    assert set(wanted) <= ARGUMENTS.keys(), f"{call}: give its new arguments some value in ARGUMENTS"
    given = {name: instead.get(name, ARGUMENTS[name]) for name in wanted}
    asked: Deferred[Any] = getattr(world.api, call)(**given)
    return asked


@shows()
async def nobody_is_logged_in(world: World) -> None:
    for call in sorted(CALLS.keys() - ALWAYS):
        assert await failure(world, called(world, call)) == "not-logged-in", call
    await logged_in(world)


ABOUT_SOMEBODY = sorted(call for call in CALLS if "unknown-peer" in codes_of(call))


@shows(*(f"{call}: unknown-peer" for call in ABOUT_SOMEBODY))
async def nobody_knows_this_key(world: World) -> None:
    await logged_in(world)
    for call in ABOUT_SOMEBODY:
        assert await failure(world, called(world, call)) == "unknown-peer", call


ABOUT_A_TRANSFER = sorted(call for call in CALLS if "unknown-transfer" in codes_of(call))


@shows(*(f"{call}: unknown-transfer" for call in ABOUT_A_TRANSFER))
async def nobody_knows_this_transfer(world: World) -> None:
    await logged_in(world)
    for call in ABOUT_A_TRANSFER:
        assert await failure(world, called(world, call)) == "unknown-transfer", call
    chat = await world.meet()
    own = await world.done(world.api.offer(chat, (file(world, "a.txt"),)))
    assert await failure(world, world.api.accept(own.fid)) == "unknown-transfer"
    assert await failure(world, world.api.refuse(own.fid)) == "unknown-transfer"


# --- messages -------------------------------------------------------------------------------------


@shows("say", "MessageAdded", "MessageChanged", *fails("say", "empty", "too-long"))
async def a_message_that_is_delivered(world: World) -> None:
    await logged_in(world)
    chat = await world.meet()
    row = await world.done(world.api.say(chat, "hello\nbob"))
    me = world.recorder.picture.me
    assert me is not None
    assert (row.chat, row.sender, row.mine, row.kind) == (chat, me.peer, True, MessageKind.TEXT)
    assert (row.body, row.state, row.reason) == ("hello\nbob", MessageState.WAITING, "")
    assert (len(row.id), row.sent_ms) == (16, row.stored_ms)
    await until_state(world, row.n, MessageState.DELIVERED)
    assert states(world, row.n) == [MessageState.WAITING, MessageState.SENT, MessageState.DELIVERED]
    await world.until(lambda: world.recorder.picture.people[chat].waiting == 0)
    for body in ("", " \n "):
        assert await failure(world, world.api.say(chat, body)) == "empty"
    assert await failure(world, world.api.say(chat, "é" * (MAX_BODY_BYTES // 2 + 1))) == "too-long"
    second = await world.done(world.api.say(chat, "é" * (MAX_BODY_BYTES // 2)))
    assert second.n > row.n


@shows("mark_read", "history")
async def messages_that_arrive(world: World) -> None:
    await logged_in(world)
    chat = await world.meet()
    for text in ("one", "two", "three"):
        await world.says(chat, text)
    rows = [row for row in world.recorder.picture.rows.values() if row.chat == chat]
    assert [row.body for row in rows] == ["one", "two", "three"]
    assert {(row.mine, row.sender, row.state, row.reason) for row in rows} == {
        (False, bytes(chat), MessageState.RECEIVED, "")
    }
    await world.until(lambda: world.recorder.picture.people[chat].unread == 3)
    await world.done(world.api.mark_read(chat, rows[1].n))
    await world.until(lambda: world.recorder.picture.people[chat].unread == 1)
    await world.done(world.api.mark_read(chat, rows[0].n))  # nothing becomes unread again
    page = await world.done(world.api.history(chat))
    assert (page.messages, page.more, page.read_n) == (tuple(rows), False, rows[1].n)
    last = await world.done(world.api.history(chat, limit=2))
    assert (last.messages, last.more) == (tuple(rows[1:]), True)
    older = await world.done(world.api.history(chat, before=rows[1].n))
    assert (older.messages, older.more) == ((rows[0],), False)
    newer = await world.done(world.api.history(chat, limit=1, after=rows[0].n))
    assert (newer.messages, newer.more) == ((rows[1],), True)
    nothing = await world.done(world.api.history(NOBODY))
    assert (nothing.messages, nothing.more, nothing.read_n) == ((), False, 0)


@shows("subscribe", "MessageAdded")
async def who_listens(world: World) -> None:
    """All hear the same, and whoever has cancelled hears not even what is under way."""
    await logged_in(world)
    chat = await world.talked()
    heard: tuple[list[Event], list[Event]] = [], []
    first, second = (world.api.subscribe(listener.append) for listener in heard)
    assert first.snapshot == second.snapshot
    saying = world.api.say(chat, "hello")
    second.cancel()
    row = await world.done(saying)
    await until_state(world, row.n, MessageState.DELIVERED)
    await world.settle()
    assert heard[1] == []
    assert heard[0] == world.recorder.heard[-len(heard[0]) :]
    assert MessageAdded(row) in heard[0]
    first.cancel()


@shows("say")
async def somebody_who_leaves(world: World) -> None:
    """Nobody is online any more who has left; what is written to them waits."""
    await logged_in(world)
    chat, stranger = await world.talked(), await world.meet("dave")
    assert world.recorder.picture.people[chat].online
    await world.leaves(stranger)
    people = world.recorder.picture.people
    assert stranger not in people or not people[stranger].online
    await world.leaves(chat)
    row = await world.done(world.api.say(chat, "later"))
    await world.settle()
    assert states(world, row.n) == [MessageState.WAITING]
    bob = people[chat]
    assert (bob.online, bob.linked, bob.waiting, bob.name) == (False, False, 1, "bob")
    assert bob.last_seen_ms is not None


@shows("resend", *fails("resend", "not-failed", "blocked"), *fails("say", "blocked"))
async def a_message_that_is_refused(world: World) -> None:
    await logged_in(world)
    chat = await world.talked()
    await world.blocks(chat)
    row = await world.done(world.api.say(chat, "hello"))
    await until_state(world, row.n, MessageState.REFUSED)
    assert world.recorder.picture.rows[row.n].reason == "bob did not take it."
    assert await failure(world, world.api.resend(chat, row.n + 100)) == "not-failed"
    await world.done(world.api.resend(chat, row.n))
    assert await failure(world, world.api.resend(chat, row.n)) == "not-failed"
    await world.until(lambda: states(world, row.n).count(MessageState.REFUSED) == 2, within=120)
    assert MessageState.WAITING in states(world, row.n)[2:]
    await world.done(world.api.block(chat, True))
    assert await failure(world, world.api.resend(chat, row.n)) == "blocked"
    assert await failure(world, world.api.say(chat, "hello")) == "blocked"


@shows("search", *fails("search", "empty"))
async def what_is_searched_for(world: World) -> None:
    await logged_in(world)
    bob, dave = await world.meet(), await world.meet("dave")
    texts = {}
    for text in ("the red house", "the blue house", "a red car", "housing"):
        texts[text] = (await world.done(world.api.say(bob, text))).n
    await world.says(dave, "a red house of Dave")
    await world.settle()

    async def found(text: str, **how: Any) -> list[str]:
        page = await world.done(world.api.search(text, **how))
        assert page.before_n is None
        return [row.body for row in page.messages]

    assert await found("red house") == ["a red house of Dave", "the red house"]
    assert await found("HOUSE red", chat=bob) == ["the red house"]
    assert await found("hous", chat=bob) == ["housing", "the blue house", "the red house"]
    assert await found('"blue house"') == ["the blue house"]
    assert await found('"house blue"') == []
    assert await found("red", sender=bytes(dave)) == ["a red house of Dave"]
    now_ms = world.recorder.picture.rows[texts["the red house"]].stored_ms
    assert await found("red", since_ms=now_ms + 3_600_000) == []
    first = await world.done(world.api.search("red", limit=2))
    assert [row.body for row in first.messages] == ["a red house of Dave", "a red car"]
    rest = await world.done(world.api.search("red", limit=2, before_n=first.before_n))
    assert ([row.body for row in rest.messages], rest.before_n) == (["the red house"], None)
    assert await failure(world, world.api.search('  "" ')) == "empty"


@shows("export", *fails("export", "relative-path", "exists", "unwritable", "bad-format"))
async def a_chat_that_is_exported(world: World) -> None:
    await logged_in(world)
    chat = await world.talked()
    path = os.fsencode(world.directory / "talk.txt")
    assert await failure(world, world.api.export(chat, path, "xml")) == "bad-format"
    assert await failure(world, world.api.export(chat, b"talk.txt")) == "relative-path"
    assert await failure(world, world.api.export(chat, os.fsencode(world.directory / "no" / "x"))) == "unwritable"
    assert await failure(world, world.api.export(chat, file(world, "there.txt"))) == "exists"
    exported = await world.done(world.api.export(chat, path))
    assert (exported.path, exported.messages) == (path, 1)
    exported = await world.done(world.api.export(chat, path + b".json", "json"))
    assert (exported.path, exported.messages) == (path + b".json", 1)


@shows("set_tabs", "set_draft", "TabsRestored")
async def tabs_and_drafts(world: World) -> None:
    """They stand in every snapshot, and are told once at the next login."""
    await logged_in(world)
    bob, dave = await world.talked(), await world.talked("dave")
    await world.done(world.api.set_tabs((dave, bob)))
    await world.done(world.api.set_draft(bob, "not yet"))
    await world.done(world.api.set_draft(dave, "gone"))
    await world.done(world.api.set_draft(dave, ""))
    tabs = (Tab(dave, "", True), Tab(bob, "not yet", True))
    assert world.api.subscribe(lambda event: None).snapshot.tabs == tabs
    await world.done(world.api.set_tabs((dave,)))
    closed = (Tab(dave, "", True), Tab(bob, "not yet", False))
    assert world.api.subscribe(lambda event: None).snapshot.tabs == closed
    world.recorder.heard.clear()
    await logged_in(world)
    await world.settle()
    heard = world.recorder.heard
    assert [event for event in heard if isinstance(event, TabsRestored)] == [TabsRestored(closed)]
    after = heard[heard.index(next(event for event in heard if isinstance(event, LoggedIn))) :]
    before = after[: after.index(TabsRestored(closed))]
    told = {person.peer for event in before if isinstance(event, PeopleChanged) for person in event.people}
    assert {bytes(bob), bytes(dave)} <= told


# --- people and keys ------------------------------------------------------------------------------


@shows("connect", *fails("connect", "Unreachable", "WrongKey", "Refused"))
async def a_link_that_is_asked_for(world: World) -> None:
    await logged_in(world)
    chat = await world.meet()
    for code in ("WrongKey", "Refused"):
        with world.hindered(code):
            assert await failure(world, world.api.connect(chat)) == code
        await world.settle(REDIAL_SECONDS)
    await world.done(world.api.connect(chat))
    await world.until(lambda: world.recorder.picture.people[chat].linked)
    assert world.recorder.picture.people[chat].address
    await world.done(world.api.say(chat, "hello"))
    await world.leaves(chat)
    assert await failure(world, world.api.connect(chat)) == "Unreachable"


@shows("block")
async def somebody_who_is_blocked(world: World) -> None:
    await logged_in(world)
    chat = await world.talked()
    fid = await world.offers(chat, "a.txt", 100)
    await world.done(world.api.block(chat, True))
    await world.until(lambda: world.recorder.picture.people[chat].blocked)
    await world.until(lambda: transfer(world, fid).state.ended)
    await world.done(world.api.block(chat, False))
    await world.until(lambda: not world.recorder.picture.people[chat].blocked)
    row = await world.done(world.api.say(chat, "again"))
    await until_state(world, row.n, MessageState.DELIVERED)


@shows("safety_number", "confirm", *fails("confirm", "another-key", "another-name"))
async def a_key_that_is_compared_by_its_number(world: World) -> None:
    await logged_in(world)
    chat = await world.talked()
    number = await world.done(world.api.safety_number(chat))
    assert (number.peer, number.name, number.key) == (bytes(chat), "bob", bytes(chat))
    assert [len(group) for group in number.digits.split()] == [5] * 12
    assert await failure(world, world.api.confirm(chat, BY_NUMBER, "bob", bytes(32))) == "another-key"
    assert await failure(world, world.api.confirm(chat, BY_NUMBER, "robert", chat)) == "another-name"
    assert world.recorder.picture.people[chat].verified is VerifiedLevel.NOT
    await world.done(world.api.confirm(chat, BY_NUMBER, number.name, number.key))
    await world.until(lambda: world.recorder.picture.people[chat].verified is BY_NUMBER)


@shows("check_live", "confirm", "CodeReady", *fails("confirm", "no-check", "another-code"))
async def a_key_that_is_compared_by_a_code(world: World) -> None:
    await logged_in(world)
    chat = await world.talked()
    assert await failure(world, world.api.confirm(chat, BY_CODE, "bob", chat, "123456")) == "no-check"
    code = await world.done(world.api.check_live(chat))
    await world.until(lambda: world.recorder.picture.codes)
    (ready,) = world.recorder.picture.codes
    assert (ready.peer, ready.code, ready.asked, len(code)) == (bytes(chat), code, True, 6)
    assert await failure(world, world.api.confirm(chat, BY_CODE, "bob", chat, "12345")) == "another-code"
    await world.done(world.api.confirm(chat, BY_CODE, "bob", chat, code))
    await world.until(lambda: world.recorder.picture.people[chat].verified is BY_CODE)


@shows("confirm", "CodeReady")
async def a_code_that_the_other_side_asks_for(world: World) -> None:
    await logged_in(world)
    chat = await world.talked()
    code = await world.asks_for_code(chat)
    (ready,) = world.recorder.picture.codes
    assert (ready.peer, ready.code, ready.asked) == (bytes(chat), code, False)
    await world.done(world.api.confirm(chat, BY_CODE, "bob", chat, code))
    await world.until(lambda: world.recorder.picture.people[chat].verified is BY_CODE)


@shows(*fails("check_live", "check-failed", "check-late", "too-often", "Unreachable", "WrongKey", "Refused"))
async def codes_that_do_not_come(world: World) -> None:
    await logged_in(world)
    bob, dave = await world.talked(), await world.meet("dave")
    first = world.api.check_live(bob)
    assert await failure(world, world.api.check_live(bob)) == "check-failed"
    await world.done(first)
    await world.blocks(bob)
    assert await failure(world, world.api.check_live(bob)) == "check-late"
    assert await failure(world, world.api.check_live(bob)) == "check-late"
    assert await failure(world, world.api.check_live(bob)) == "too-often"
    for code in ("WrongKey", "Refused"):
        with world.hindered(code):
            assert await failure(world, world.api.check_live(dave)) == code
        await world.settle(REDIAL_SECONDS)
    erin = await world.talked("erin")
    await world.leaves(erin)
    assert await failure(world, world.api.check_live(erin)) == "Unreachable"


@shows(
    "trust",
    "ChatMoved",
    *fails("trust", "no-new-key", "wrong-prefix"),
    *fails("offer", "held"),
    *fails("offer_text", "held"),
)
async def a_new_key_that_is_taken(world: World) -> None:
    await logged_in(world)
    chat = await world.talked()
    assert await failure(world, world.api.trust(chat, prefix_text(chat))) == "no-new-key"
    key = await world.another_key(chat)
    row = await world.done(world.api.say(chat, "for whoever bob is"))
    assert row.state is MessageState.HELD
    assert await failure(world, world.api.offer(chat, (file(world, "a.txt"),))) == "held"
    assert await failure(world, world.api.offer_text(chat, "long", "a.txt")) == "held"
    number = await world.done(world.api.safety_number(chat))
    assert (number.peer, number.name, number.key) == (bytes(chat), "bob", key)
    assert await failure(world, world.api.trust(chat, prefix_text(chat))) == "wrong-prefix"
    await world.done(world.api.trust(chat, prefix_text(key).lower()))
    people = world.recorder.picture.people
    await world.until(lambda: key in people and people[key].name == "bob")
    assert (people[key].new_key, people[key].verified) == (None, VerifiedLevel.NOT)
    page = await world.done(world.api.history(chat_with(key)))
    assert "for whoever bob is" in [message.body for message in page.messages]
    # A client that has not heard of it yet means the new key.
    row = await world.done(world.api.say(chat, "for bob"))
    offer = await world.done(world.api.offer(chat, (file(world, "b.txt"),)))
    assert (row.chat, offer.peer) == (chat_with(key), key)


@shows("keep_key", *fails("keep_key", "no-new-key", "another-key"))
async def an_old_key_that_is_kept(world: World) -> None:
    await logged_in(world)
    chat = await world.talked()
    assert await failure(world, world.api.keep_key(chat, bytes(32))) == "no-new-key"
    key = await world.another_key(chat)
    row = await world.done(world.api.say(chat, "for the bob that I know"))
    assert await failure(world, world.api.keep_key(chat, bytes(32))) == "another-key"
    await world.done(world.api.keep_key(chat, key))
    await world.until(lambda: world.recorder.picture.people[chat].new_key is None)
    await world.until(lambda: world.recorder.picture.rows[row.n].state is not MessageState.HELD)
    assert world.recorder.picture.people[chat].name == "bob"


@shows("confirm", *fails("trust", "verified"))
async def a_new_key_of_somebody_verified(world: World) -> None:
    await logged_in(world)
    chat = await world.talked()
    await world.done(world.api.confirm(chat, BY_NUMBER, "bob", chat))
    key = await world.another_key(chat)
    assert await failure(world, world.api.trust(chat, prefix_text(key))) == "verified"
    assert await failure(world, world.api.confirm(chat, BY_NUMBER, "bob", chat)) == "another-key"
    await world.done(world.api.confirm(chat, BY_NUMBER, "bob", key))
    people = world.recorder.picture.people
    await world.until(lambda: key in people and people[key].name == "bob" and people[key].verified is BY_NUMBER)


# --- requests -------------------------------------------------------------------------------------


@shows("accept_request", "RequestsChanged", *fails("accept_request", "no-request"))
async def a_request_that_is_accepted(world: World) -> None:
    await logged_in(world)
    assert await failure(world, world.api.accept_request(NOBODY)) == "no-request"
    chat = await world.stranger("let me in")
    (request,) = world.recorder.picture.requests
    assert (request.peer, request.key, request.name) == (bytes(chat), grouped_text(chat), "eve")
    assert (request.messages, request.offers, request.first_line, request.more) == (1, 0, "let me in", False)
    assert chat not in world.recorder.picture.people
    assert world.recorder.picture.rows == {}
    page = await world.done(world.api.history(chat))
    assert [row.body for row in page.messages] == ["let me in"]
    await world.done(world.api.accept_request(chat))
    await world.until(lambda: world.recorder.picture.requests == ())
    people = world.recorder.picture.people
    await world.until(lambda: chat in people and people[chat].unread == 1)
    assert people[chat].name == f"?{short_text(chat)}"
    assert [row.body for row in world.recorder.picture.rows.values()] == ["let me in"]
    assert await failure(world, world.api.accept_request(chat)) == "no-request"


@shows("refuse_request", "clear_requests", *fails("refuse_request", "no-request"))
async def requests_that_are_not_wanted(world: World) -> None:
    await logged_in(world)
    chat = await world.stranger("buy this")
    await world.done(world.api.refuse_request(chat))
    await world.until(lambda: world.recorder.picture.requests == ())
    assert (await world.done(world.api.history(chat))).messages == ()
    assert await failure(world, world.api.refuse_request(chat)) == "no-request"
    await world.done(world.api.clear_requests())
    assert chat not in world.recorder.picture.people
    assert world.recorder.picture.rows == {}


@shows("block", "RequestsChanged", "PersonGone")
async def a_request_of_somebody_who_is_blocked(world: World) -> None:
    """What they sent is deleted; they are shown as long as the block can be ended."""
    await logged_in(world)
    chat = await world.stranger("buy this")
    await world.done(world.api.block(chat, True))
    people = world.recorder.picture.people
    await world.until(lambda: world.recorder.picture.requests == () and chat in people and people[chat].blocked)
    assert (await world.done(world.api.history(chat))).messages == ()
    await world.done(world.api.block(chat, False))
    await world.until(lambda: chat not in people)
    assert world.recorder.picture.rows == {}


@shows("say", "RequestsChanged")
async def somebody_unknown_who_is_answered(world: World) -> None:
    """To write to them is to accept them."""
    await logged_in(world)
    chat = await world.stranger("let me in")
    await world.done(world.api.say(chat, "who are you?"))
    await world.until(lambda: world.recorder.picture.requests == () and chat in world.recorder.picture.people)
    rows = world.recorder.picture.rows
    await world.until(lambda: {row.body for row in rows.values()} == {"let me in", "who are you?"})


# --- files ----------------------------------------------------------------------------------------


@shows("offer", "offer_text", "TransferChanged", "MessageAdded", "MessageChanged")
async def an_offer_that_is_taken(world: World) -> None:
    await logged_in(world)
    chat = await world.meet()
    offer = await world.done(world.api.offer(chat, (file(world, "notes.txt"),)))
    assert (offer.peer, offer.outgoing, offer.title, offer.names) == (bytes(chat), True, "notes.txt", ("notes.txt",))
    assert (offer.total_files, offer.total_folders, offer.total_bytes) == (1, 0, 100)
    assert offer.state in (TransferState.WAITING, TransferState.OFFERED)  # it waits until there is a link
    assert (offer.code, offer.reason, offer.saved_to) == ("", "", b"")
    await until_transfer(world, offer.fid, TransferState.OFFERED)
    rows = world.recorder.picture.rows
    await world.until(lambda: any(row.id == offer.fid for row in rows.values()))
    (row,) = (row for row in rows.values() if row.id == offer.fid)
    assert (row.kind, row.body, row.mine) == (MessageKind.FILE, "notes.txt", True)
    await until_state(world, row.n, MessageState.SENT)
    heard = world.recorder.heard
    told = next(i for i, event in enumerate(heard) if isinstance(event, TransferChanged))
    added = next(i for i, event in enumerate(heard) if isinstance(event, MessageAdded))
    assert told < added  # a row shows its transfer
    await world.answers(chat, offer.fid, True)
    await until_transfer(world, offer.fid, TransferState.DONE)
    done = transfer(world, offer.fid)
    assert (done.done_files, done.done_bytes, done.code, done.saved_to) == (1, 100, "", b"")
    await until_state(world, row.n, MessageState.DELIVERED)
    second = await world.done(world.api.offer_text(chat, "a long text", "message.txt"))
    assert (second.title, second.total_bytes, second.outgoing) == ("message.txt", 11, True)


@shows("offered_names", "next_renamed", *fails("offered_names", "ended"), *fails("next_renamed", "ended"))
async def the_names_of_an_offer(world: World) -> None:
    await logged_in(world)
    chat = await world.meet()
    fid = await world.offers(chat, "notes.txt", 100)
    names = await world.done(world.api.offered_names(fid))
    assert [(name.path, name.original, name.size, name.is_folder) for name in names.names] == [
        ("notes.txt", "", 100, False)
    ]
    assert names.total == 1
    assert (await world.done(world.api.offered_names(fid, 1))).names == ()
    assert await world.done(world.api.next_renamed(fid)) is None
    await world.done(world.api.refuse(fid))
    assert await failure(world, world.api.offered_names(fid)) == "ended"
    assert await failure(world, world.api.next_renamed(fid)) == "ended"


@shows("offer")
async def an_offer_of_a_folder_that_is_refused(world: World) -> None:
    await logged_in(world)
    chat = await world.meet()
    (world.directory / "photos" / "2026").mkdir(parents=True)
    for name in ("photos/a.jpg", "photos/2026/b.jpg"):
        file(world, name)
    offer = await world.done(world.api.offer(chat, (os.fsencode(world.directory / "photos"), file(world, "c.txt"))))
    assert (offer.total_files, offer.total_folders, offer.total_bytes) == (3, 2, 300)
    rows = world.recorder.picture.rows
    await world.until(lambda: any(row.id == offer.fid for row in rows.values()))
    await world.answers(chat, offer.fid, False)
    await until_transfer(world, offer.fid, TransferState.DECLINED)
    assert (transfer(world, offer.fid).code, transfer(world, offer.fid).reason) == ("declined", "they refused it")
    (row,) = (row for row in rows.values() if row.id == offer.fid)
    await until_state(world, row.n, MessageState.REFUSED)


NOT_OFFERED = ("relative-path", "no-such-file", "unreadable", "empty", "too-many", "too-large", "too-deep", "busy")


@shows("offer", "offer_text")
async def what_is_offered_to_somebody_away(world: World) -> None:
    await logged_in(world)
    chat = await world.talked()
    await world.leaves(chat)
    for offering in (world.api.offer(chat, (file(world, "a.txt"),)), world.api.offer_text(chat, "long", "b.txt")):
        offer = await world.done(offering)
        assert (offer.state, offer.code, offer.reason) == (TransferState.WAITING, "", "")
        rows = world.recorder.picture.rows
        await world.until(lambda rows=rows, fid=offer.fid: any(row.id == fid for row in rows.values()))
        (row,) = (row for row in rows.values() if row.id == offer.fid)
        assert row.state is MessageState.WAITING
        assert transfer(world, offer.fid).state is TransferState.WAITING
        assert await failure(world, world.api.pause(offer.fid)) == "not-running"
        assert await failure(world, world.api.resume(offer.fid)) == "not-running"
        assert (await world.done(world.api.cancel(offer.fid))).state is TransferState.CANCELLED


@shows(*fails("offer", "blocked", *NOT_OFFERED), *fails("offer_text", "blocked", "unwritable"))
async def what_cannot_be_offered(world: World) -> None:
    await logged_in(world)
    chat = await world.talked()
    empty, deep = world.directory / "empty", world.directory.joinpath(*["d"] * 33)
    empty.mkdir()
    deep.mkdir(parents=True)
    os.mkfifo(world.directory / "pipe")
    file(world, os.fspath(deep.relative_to(world.directory) / "a.txt"))
    small = file(world, "a.txt")
    paths = {
        "relative-path": b"a.txt",
        "no-such-file": small + b".no",
        "unreadable": os.fsencode(world.directory / "pipe"),
        "empty": os.fsencode(empty),
        "too-deep": os.fsencode(world.directory / "d"),
    }
    for code, path in paths.items():
        assert await failure(world, world.api.offer(chat, (path,))) == code
    with patch.object(offers, "MAX_OFFER_FILES", 0):
        assert await failure(world, world.api.offer(chat, (small,))) == "too-many"
    with patch.object(offers.OfferSize.__init__, "__defaults__", (99,)):
        assert await failure(world, world.api.offer(chat, (small,))) == "too-large"
    with world.hindered("busy"):
        assert await failure(world, world.api.offer(chat, (os.fsencode(empty),))) == "busy"
    with world.hindered("unwritable text"):
        assert await failure(world, world.api.offer_text(chat, "long", "a.txt")) == "unwritable"
    await world.done(world.api.block(chat, True))
    assert await failure(world, world.api.offer(chat, (small,))) == "blocked"
    assert await failure(world, world.api.offer_text(chat, "long", "a.txt")) == "blocked"
    assert world.recorder.picture.transfers == {}


@shows("accept", *fails("accept", "ended"))
async def files_that_are_accepted(world: World) -> None:
    await logged_in(world)
    chat = await world.meet()
    fid = await world.offers(chat, "notes.txt", 100)
    offer = transfer(world, fid)
    assert (offer.peer, offer.outgoing, offer.title, offer.state) == (
        bytes(chat),
        False,
        "notes.txt",
        TransferState.OFFERED,
    )
    rows = world.recorder.picture.rows
    await world.until(lambda: any(row.id == fid for row in rows.values()))
    (row,) = (row for row in rows.values() if row.id == fid)
    assert (row.kind, row.body, row.mine, row.state) == (MessageKind.FILE, "notes.txt", False, MessageState.RECEIVED)
    await world.until(lambda: world.recorder.picture.people[chat].unread == 1)
    accepted = await world.done(world.api.accept(fid))
    assert accepted.state not in (TransferState.OFFERED, TransferState.DECLINED, TransferState.FAILED)
    assert await failure(world, world.api.accept(fid)) == "ended"
    await until_transfer(world, fid, TransferState.DONE)
    me = world.recorder.picture.me
    assert me is not None
    assert transfer(world, fid).saved_to == os.path.join(me.downloads, b"bob", b"notes.txt")
    assert await failure(world, world.api.accept(fid)) == "ended"
    other = world.directory / "other"
    other.mkdir()
    second = await world.offers(chat, "more.txt", 100)
    await world.done(world.api.accept(second, os.fsencode(other)))
    await until_transfer(world, second, TransferState.DONE)
    assert transfer(world, second).saved_to == os.fsencode(other / "more.txt")


DISK = ("no-such-folder", "no-space", "no-inodes", "unwritable", "busy")


@shows(*fails("accept", "relative-path", *DISK))
async def files_that_cannot_be_accepted_yet(world: World) -> None:
    """The offer stands as before, and can be accepted when it is possible."""
    await logged_in(world)
    chat = await world.meet()
    fid = await world.offers(chat, "notes.txt", 2_000_000)
    assert await failure(world, world.api.accept(fid, b"relative")) == "relative-path"
    for code in DISK:
        chosen = os.fsencode(world.directory / "nowhere") if code == "no-such-folder" else b""
        with world.hindered(code):
            assert await failure(world, world.api.accept(fid, chosen)) == code
        assert transfer(world, fid).state is TransferState.OFFERED
    await world.done(world.api.accept(fid))
    await until_transfer(world, fid, TransferState.DONE)


@shows("refuse", "cancel", *fails("refuse", "ended"))
async def files_that_are_not_wanted(world: World) -> None:
    await logged_in(world)
    chat = await world.meet()
    fid = await world.offers(chat, "notes.txt", 100)
    refused = await world.done(world.api.refuse(fid))
    assert (refused.state, refused.code, refused.reason) == (TransferState.DECLINED, "declined", "you refused it")
    assert await failure(world, world.api.refuse(fid)) == "ended"
    assert (await world.done(world.api.cancel(fid))).state is TransferState.DECLINED
    own = await world.done(world.api.offer(chat, (file(world, "a.txt"),)))
    cancelled = await world.done(world.api.cancel(own.fid))
    assert (cancelled.state, cancelled.code, cancelled.reason) == (
        TransferState.CANCELLED,
        "user",
        "you cancelled it",
    )
    again = await world.done(world.api.cancel(own.fid))
    assert again.state is TransferState.CANCELLED


@shows("pause", "resume", *fails("pause", "not-running", "ended"), *fails("resume", "not-running", "ended"))
async def a_transfer_that_is_held(world: World) -> None:
    await logged_in(world)
    chat = await world.meet()
    await world.done(world.api.set_speed_limits(None, LEAST_SPEED))
    fid = await world.offers(chat, "large.bin", 2_000_000)
    assert await failure(world, world.api.pause(fid)) == "not-running"
    assert await failure(world, world.api.resume(fid)) == "not-running"
    await world.done(world.api.accept(fid))
    held = await world.done(world.api.pause(fid))
    assert (held.state, held.code, held.reason, held.paused_here) == (
        TransferState.PAUSED,
        "paused",
        "you paused it",
        True,
    )
    await world.settle()
    assert transfer(world, fid).state is TransferState.PAUSED
    await world.done(world.api.set_speed_limits(None, None))
    going = await world.done(world.api.resume(fid))
    assert not going.paused_here
    await until_transfer(world, fid, TransferState.DONE)
    assert await failure(world, world.api.pause(fid)) == "ended"
    assert await failure(world, world.api.resume(fid)) == "ended"


@shows(*fails("resume", "paused-there", "no-space", "no-inodes", "busy"))
async def a_transfer_that_cannot_go_on(world: World) -> None:
    await logged_in(world)
    chat = await world.meet()
    await world.done(world.api.set_speed_limits(None, LEAST_SPEED))
    fid = await world.offers(chat, "large.bin", 2_000_000)
    await world.done(world.api.accept(fid))
    for code in ("no-space", "no-inodes", "busy"):
        await world.done(world.api.pause(fid))
        await world.settle()
        with world.hindered(code):
            assert await failure(world, world.api.resume(fid)) == code
        assert not transfer(world, fid).state.ended
    await world.done(world.api.resume(fid))
    await world.settle()
    await world.pauses(chat, fid)
    assert await failure(world, world.api.resume(fid)) == "paused-there"
    assert not transfer(world, fid).paused_here


@shows(
    "SpeedLimitsChanged", "speed_limits", "set_speed_limits", "rule", "set_rule", *fails("set_speed_limits", "too-slow")
)
async def speed_and_rules(world: World) -> None:
    await logged_in(world)
    chat = await world.talked()
    assert await world.done(world.api.speed_limits()) == SpeedLimits()
    assert await failure(world, world.api.set_speed_limits(LEAST_SPEED - 1, None)) == "too-slow"
    wanted = SpeedLimits(LEAST_SPEED, 10_000_000)
    assert await world.done(world.api.set_speed_limits(wanted.up, wanted.down)) == wanted
    assert await world.done(world.api.speed_limits()) == wanted
    assert await world.done(world.api.rule(chat)) == FileRule()
    rule = FileRule(RuleKind.AUTO, 10_000)
    assert await world.done(world.api.set_rule(chat, rule)) == rule
    assert await world.done(world.api.rule(chat)) == rule
    small = await world.offers(chat, "small.txt", 100)
    await until_transfer(world, small, TransferState.DONE)
    large = await world.offers(chat, "large.bin", 100_000)
    await world.settle()
    assert transfer(world, large).state is TransferState.OFFERED
    await world.done(world.api.set_rule(chat, FileRule(RuleKind.REFUSE)))
    known = set(world.recorder.picture.transfers)
    await world.offers_in_vain(chat, "unwanted.txt")
    await world.settle()
    transfers = world.recorder.picture.transfers
    assert all(transfers[fid].state is TransferState.DECLINED for fid in transfers.keys() - known)


@shows("set_alerts", "AlertsChanged", *fails("set_alerts", "too-many"))
async def what_rings(world: World) -> None:
    await logged_in(world)
    rules = AlertRules(AlertContent.COUNT, (bytes(NOBODY),))
    assert await world.done(world.api.set_alerts(rules)) == rules
    await world.until(lambda: world.recorder.picture.alerts == rules)
    too_many = AlertRules(muted=tuple(number.to_bytes(32) for number in range(MUTED + 1)))
    assert await failure(world, world.api.set_alerts(too_many)) == "too-many"
    await world.settle()
    assert world.recorder.picture.alerts == rules


@shows("forget_ended")
async def ended_transfers_that_are_dropped(world: World) -> None:
    """No event tells of them: whoever asked drops them as well."""
    await logged_in(world)
    chat = await world.meet()
    ended, waiting = await world.offers(chat, "a.txt", 100), await world.offers(chat, "b.txt", 100)
    await world.done(world.api.refuse(ended))
    await world.settle()
    await world.done(world.api.forget_ended())
    assert set(world.recorder.picture.transfers) == {waiting}
    assert await failure(world, world.api.pause(ended)) == "unknown-transfer"
    page = await world.done(world.api.history(chat))
    assert {row.body for row in page.messages} == {"a.txt", "b.txt"}


# --- the program ----------------------------------------------------------------------------------


@shows("reconnect", "take_over", "RegistryChanged")
async def a_registry_that_goes_and_comes(world: World) -> None:
    await logged_in(world)
    await world.meet()
    await world.registry_goes()
    lost = world.recorder.picture.registry
    assert lost.code
    assert lost.reason
    assert lost.retry_at_ms is not None
    await world.registry_comes()
    await world.done(world.api.reconnect())
    await world.until(lambda: world.recorder.picture.registry.phase is RegistryPhase.UP, within=2)
    await world.done(world.api.take_over())
    await world.settle()
    assert world.recorder.picture.registry.phase is RegistryPhase.UP


STORING = (
    "say",
    "set_tabs",
    "set_draft",
    "mark_read",
    "set_speed_limits",
    "set_rule",
    "block",
    "confirm",
    "set_alerts",
)


@shows(
    "StoreChanged",
    "Notice",
    *fails("say", "StoreFailed"),
    *fails("set_alerts", "StoreFailed"),
    *fails("resend", "StoreFailed"),
    *(f"{call}_request: StoreFailed" for call in ("accept", "refuse")),
    *fails("clear_requests", "StoreFailed"),
)
async def a_disk_that_takes_nothing(world: World) -> None:
    await logged_in(world)
    chat, eve = await world.talked(), await world.stranger("let me in")
    await world.blocks(chat)
    row = await world.done(world.api.say(chat, "refused"))
    await until_state(world, row.n, MessageState.REFUSED)
    await world.disk(full=True)
    for call in STORING:
        work = called(world, call, chat=chat, peer=chat, key=bytes(chat), chats=(chat,), n=row.n)
        assert await failure(world, work) == "StoreFailed", call
    assert await failure(world, world.api.resend(chat, row.n)) == "StoreFailed"
    assert await failure(world, world.api.accept_request(eve)) == "StoreFailed"
    assert await failure(world, world.api.refuse_request(eve)) == "StoreFailed"
    assert await failure(world, world.api.clear_requests()) == "StoreFailed"
    await world.until(lambda: world.recorder.picture.store_trouble)
    assert world.recorder.picture.notices[-1].level is NoticeLevel.ERROR
    await world.disk(full=False)
    assert world.recorder.picture.store_trouble == ""
    await world.settle()
    person = world.recorder.picture.people[chat]
    assert (person.blocked, person.verified) == (False, VerifiedLevel.NOT)  # what failed was not done
    assert len(world.recorder.picture.requests) == 1
    await world.done(world.api.say(chat, "it takes it again"))


@shows("quit")
async def the_end(world: World) -> None:
    await logged_in(world)
    assert world.ends() == 0
    await world.done(world.api.quit())
    await world.settle()
    assert world.ends() == 1


# --- all of them ----------------------------------------------------------------------------------


async def play(case: Case, world: World) -> None:
    """A case, with what holds in each: what is heard fits the snapshot, and what it shows was seen."""
    await case(world)
    await world.settle()
    world.recorder.check_snapshot()
    heard = len(world.recorder.heard)
    await world.close()
    assert len(world.recorder.heard) == heard
    missing = SHOWN[case.__name__] - world.recorder.seen
    assert not missing


@pytest.mark.parametrize("case", CASES)
@pytest_twisted.ensureDeferred
async def test_the_scripted_peer(tmp_path: Path, case: str) -> None:
    await play(CASES[case], ScriptedWorld(tmp_path))


@pytest.mark.parametrize("case", CASES)
@pytest_twisted.ensureDeferred
async def test_the_real_peer(tmp_path: Path, case: str) -> None:
    from twisted.internet import reactor

    village = Village(reactor, tmp_path)
    village.open_registry()
    try:
        await play(CASES[case], VillageWorld(village))
    finally:
        await village.close()


def test_the_contract_has_everything_of_the_api() -> None:
    """A call, a code in its docstring, or an event that no case shows is missing here; add it to one, or a case."""
    shown = frozenset().union(*SHOWN.values())
    assert sorted(everything() - shown) == []
    assert sorted(shown - everything()) == []
