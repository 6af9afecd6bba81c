"""The table of a link's life: no state is without an answer."""

from __future__ import annotations

import pytest

from chatnet.core.errors import RemoteError
from chatnet.core.limits import LinkLimits
from chatnet.core.session import TABLES, Effect, Input, Session, State

LIMITS = LinkLimits()
SIDES = pytest.mark.parametrize("dialled", [True, False], ids=["dialler", "listener"])
STATES_OF = {
    True: (State.HANDSHAKE, State.WELCOME, State.OPEN, State.CLOSING, State.CLOSED),
    False: (State.HANDSHAKE, State.HELLO, State.ANSWER, State.OPEN, State.CLOSING, State.CLOSED),
}
WAY = {
    True: (Input.AUTHENTICATED, Input.WELCOME),
    False: (Input.AUTHENTICATED, Input.HELLO, Input.AGREED),
}


def in_state(dialled: bool, state: State) -> Session:
    return Session(dialled, state)


def test_the_usual_life_of_a_dialler() -> None:
    session = Session(dialled=True)
    assert session.handle(Input.AUTHENTICATED) == (Effect.SEND_HELLO,)
    assert session.handle(Input.WELCOME) == (Effect.OPENED,)
    assert session.state is State.OPEN
    assert session.handle(Input.CLOSE) == (Effect.LOSE,)
    assert session.handle(Input.LINE_LOST) == (Effect.ENDED,)
    assert session.state is State.CLOSED


def test_the_usual_life_of_a_listener() -> None:
    session = Session(dialled=False)
    assert session.handle(Input.AUTHENTICATED) == ()
    assert session.handle(Input.HELLO) == (Effect.ASK,)
    assert session.handle(Input.AGREED) == (Effect.SEND_WELCOME, Effect.OPENED)
    assert session.state is State.OPEN


@SIDES
@pytest.mark.parametrize("event", [Input.LINE_LOST, Input.DEADLINE, Input.CLOSE])
def test_every_state_has_an_answer_to_its_end(dialled: bool, event: Input) -> None:
    for state in STATES_OF[dialled]:
        session = in_state(dialled, state)
        effects = session.handle(event)
        if state is State.CLOSED:
            assert (session.state, effects) == (State.CLOSED, ())
        elif event is Input.CLOSE and state is not State.HANDSHAKE:
            assert session.state is State.CLOSING
            assert Effect.ENDED not in effects
        else:
            assert session.state is State.CLOSED
            assert effects[-1] is Effect.ENDED


@SIDES
def test_a_pair_that_is_not_in_the_table_is_an_error_and_changes_nothing(dialled: bool) -> None:
    absent = 0
    for state in STATES_OF[dialled]:
        for event in Input:
            if (state, event) in TABLES[dialled]:
                continue
            absent += 1
            session = in_state(dialled, state)
            with pytest.raises(RemoteError) as caught:
                session.handle(event)
            assert caught.value.code == "bad-frame"
            assert session.state is state
    assert absent > 10


@SIDES
def test_the_end_is_told_once_whatever_happens(dialled: bool) -> None:
    """Every way through the table, six events long."""

    def walk(state: State, told: int, opened: int, left: int) -> None:
        assert told <= 1
        assert opened <= 1
        assert told == (state is State.CLOSED)
        for (row_state, _), (after, effects) in TABLES[dialled].items():
            if left and row_state is state:
                walk(after, told + effects.count(Effect.ENDED), opened + effects.count(Effect.OPENED), left - 1)

    walk(State.HANDSHAKE, 0, 0, 6)


@SIDES
def test_only_the_first_exchange_opens(dialled: bool) -> None:
    for (state, event), (after, effects) in TABLES[dialled].items():
        if after is State.OPEN:
            assert Effect.OPENED in effects
            assert (state, event) in ((State.WELCOME, Input.WELCOME), (State.ANSWER, Input.AGREED))


@SIDES
def test_each_state_that_waits_has_a_deadline_and_open_has_none(dialled: bool) -> None:
    for state in STATES_OF[dialled]:
        seconds = in_state(dialled, state).deadline_seconds(LIMITS)
        if state in (State.OPEN, State.CLOSED):
            assert seconds is None
        else:
            assert seconds is not None
            assert 0 < seconds <= 30


def test_deadlines_are_the_limits() -> None:
    limits = LinkLimits(handshake_seconds=1, hello_seconds=2, frame_seconds=3, close_seconds=4)
    seconds = {state: Session(True, state).deadline_seconds(limits) for state in State}
    assert seconds == {
        State.HANDSHAKE: 1,
        State.HELLO: 2,
        State.WELCOME: 4,
        State.ANSWER: 3,
        State.CLOSING: 4,
        State.OPEN: None,
        State.CLOSED: None,
    }


@SIDES
def test_nothing_can_be_said_in_order_before_the_handshake_is_over(dialled: bool) -> None:
    session = Session(dialled)
    assert session.handle(Input.CLOSE) == (Effect.ABORT, Effect.ENDED)


@SIDES
def test_an_answer_that_comes_too_late_opens_nothing(dialled: bool) -> None:
    for state in (State.CLOSING, State.CLOSED):
        session = in_state(dialled, state)
        assert session.handle(Input.AGREED) == ()
        assert session.state is state


@SIDES
def test_every_state_can_be_reached(dialled: bool) -> None:
    session = Session(dialled)
    reached = [session.state]
    for event in (*WAY[dialled], Input.CLOSE, Input.LINE_LOST):
        session.handle(event)
        reached.append(session.state)
    assert tuple(reached) == STATES_OF[dialled]
