"""Finds what a key or a command is about: the person, the offer or the key that stood on the screen.

What a person decides goes to what they saw.  Every action that decides gets its subject here, and None where
the screen has shown something else, or has shown it for too short a time; then the person is told.
"""

from __future__ import annotations

from collections.abc import Callable

from chatnet.console.actions.base import ActionBase
from chatnet.console.model import FAILED_STATES
from chatnet.console.panes.conversation import ConversationPane
from chatnet.console.panes.question import QUESTION
from chatnet.console.shown import Place, Subject, offer_question
from chatnet.core.closest import did_you_mean
from chatnet.core.events import ChatMessage, MessageKind, Person, SafetyNumber, Transfer, TransferState

_CHOSEN_PERSON, _CHOSEN_TRANSFER = Place(Subject.CHOSEN_PERSON), Place(Subject.CHOSEN_TRANSFER)
_CHANGED_LIST = "The list has just changed: look again, then press the key."


class SubjectActions(ActionBase):
    """Persons, offers and keys, as they were drawn."""

    # --- people ---------------------------------------------------------------------------------

    def _is_somebody(self, who: str) -> bool:
        """Whether a word names a person."""
        return self._model.roster.find(who) is not None

    def _somebody(self, who: str) -> Person | None:
        """Return the person whom a command names, by name or key; None, after telling the user why."""
        person = self._model.roster.find(who)
        if person is None:
            guess = did_you_mean(who.lower(), self._model.roster.names()) or " /peers shows who is here."
            self._wrong(f"Nobody here is called {who[:40]}.{guess}")
            return None
        begins = who.strip().lower()
        unsettled = self._model.shown.unsettled(self._clock.seconds()) if person.name.lower() != begins else ()
        if any(subject is Subject.NAMED and str(name).startswith(begins) for subject, name in unsettled):
            self._wrong(f"Another name that begins with {begins[:40]} has just come or gone: look again.")
            return None
        return self._as_named(person)

    def _person_here(self, or_else: Callable[[], None] = lambda: None) -> Person | None:
        """Return the person whose tab is shown; None, after telling the user why.

        ``or_else`` tells it where the tab is nobody's.
        """
        person = self._model.roster.people.get(self.view.chat) if self.view.chat is not None else None
        if person is None:
            or_else()
            return None
        return self._as_named(person)

    def _as_named(self, person: Person) -> Person | None:
        """Return the person, or None after telling the user that the name has just come to stand for another key."""
        if self._is_settled(Place(Subject.NAME, person.name)):
            return person
        self._wrong(f"Another key has just come for the name {person.name}: look again, then press Enter.")
        return None

    def _chosen_person(self) -> Person | None:
        """Return the person who is selected in the list as it was drawn; None, after telling the user why."""
        person = self.view.people.chosen()
        drawn = person is not None and self._model.shown.shows(_CHOSEN_PERSON, person.peer)
        if drawn and self._is_settled(_CHOSEN_PERSON):
            return person
        self._wrong(_CHANGED_LIST)
        return None

    # --- keys -----------------------------------------------------------------------------------

    def _new_key_here(self) -> Person | None:
        """Return the person of this tab, with the new key that the tab shows; None, after telling the user why."""
        pane = self.view.tab.pane
        person = pane.person if isinstance(pane, ConversationPane) else None
        if person is None or person.new_key is None:
            self.view.say("Nobody's key has changed here.")
            return None
        place = Place(Subject.NEW_KEY, person.peer)
        if not self._is_settled(place):
            self._wrong("Another key has come: look again, then press Alt-k.")
        elif not self._model.shown.shows(place, person.new_key):
            pane.to_end()
            self._wrong("The keys stand here: look at them, then press Alt-k.")
        else:
            return person
        return None

    def _compared_number(self, person: Person) -> SafetyNumber | None:
        """Return the safety number that a sheet has shown for this person, if it is still the right one.

        Else tell the user why, and return None.
        """
        shown = self._model.shown.compared(Place(Subject.NUMBER, person.peer), self._clock.seconds())
        if not isinstance(shown, SafetyNumber):
            self._wrong(f"No digits to compare with {person.name} were on the screen lately: /verify {person.name}")
        elif not shown.digits or shown.key != person.compared_key or shown.name != person.name:
            self._wrong(f"Another key has come since: compare again. /verify {person.name}")
        else:
            return shown
        return None

    def _compared_code(self, person: Person) -> str | None:
        """Return the six digits that the tab has shown for this person, if no others have come since.

        Else tell the user why, and return None.
        """
        place, code = Place(Subject.CODE, person.peer), self._model.codes.get(person.peer)
        shown = self._model.shown.compared(place, self._clock.seconds())
        if code is None and person.verified:
            self.view.say(f"{person.name} is verified already.")
        elif shown is None:
            self._wrong(f"No code with {person.name} was on the screen lately: /verify {person.name} live")
        elif shown != code or not self._is_settled(place):
            self._wrong(f"Another code has come since: look again. It stands in the tab {person.name}.")
        else:
            return str(shown)
        return None

    # --- messages -------------------------------------------------------------------------------

    def _failed_here(self) -> list[ChatMessage]:
        """Return our messages of this tab that have failed, the newest last. If there are none, tell the user why."""
        pane = self.view.tab.pane
        rows = pane.chat_rows.rows if isinstance(pane, ConversationPane) else []
        failed = [one for one in rows if one.mine and one.kind is MessageKind.TEXT and one.state in FAILED_STATES]
        if not failed:
            self.view.say("No message of yours has failed here: there is nothing to send again.", warning=True)
        elif not self._is_settled(Place(Subject.FAILED, failed[-1].chat)):
            self._wrong("Another message has just failed: look again, then press Enter.")
            return []
        return failed

    # --- offers and transfers -------------------------------------------------------------------

    def _offer_here(self, key: str) -> Transfer | None:
        """Return the newest offer of this tab, as it was drawn.

        Else tell the user why, or to press ``key`` again, and return None.
        """
        pane = self.view.tab.pane
        transfer = self._model.offer_of(pane.chat) if isinstance(pane, ConversationPane) else None
        if not isinstance(pane, ConversationPane) or transfer is None:
            self.view.say("No offer of a file waits for an answer in this tab.")
            return None
        place = Place(Subject.OFFER, pane.chat)
        if not self._is_settled(place, Place(Subject.TRANSFER, transfer.fid)):
            self._wrong(f"Another offer has come: look again, then press {key}.")
        elif not self._model.shown.shows(place, offer_question(transfer)):
            pane.show_offer()
            self._wrong(f"The offer was not in view: look at it, then press {key}.")
        else:
            return transfer
        return None

    def _chosen_transfer(self) -> Transfer | None:
        """Return the transfer that is selected in its tab, as it was drawn; None, after telling the user why."""
        transfer = self.view.transfers.chosen()
        if transfer is None:
            self.view.say("There are no transfers here.")
            return None
        place = Place(Subject.TRANSFER, transfer.fid)
        shown = self._model.shown
        drawn = shown.shows(_CHOSEN_TRANSFER, transfer.fid) and shown.shows(place, offer_question(transfer))
        if drawn and self._is_settled(_CHOSEN_TRANSFER, place):
            return transfer
        self._wrong(_CHANGED_LIST)
        return None

    def _ended_are_drawn(self) -> bool:
        """Whether all that have ended have been seen; a person is told."""
        if self._is_settled(Place(Subject.ENDED)):
            return True
        self._wrong("A transfer has just ended: look again, then press the key.")
        return False

    def _transfer_named(self, words: list[str], waiting: bool) -> Transfer | None:
        """Return the transfer whose number a command names, or the obvious one of the screen.

        Else tell the user why, and return None.

        ``waiting``: only offers that wait for an answer are obvious, else only what has not ended.
        """
        if words:
            transfer = self._model.numbered(int(words[0])) if words[0].isdecimal() else None
            if transfer is None:
                self._wrong(f"There is no transfer {words[0][:20]}; F4 shows their numbers.")
        else:
            transfer = self._obvious_transfer(waiting)
        if transfer is None:
            return None
        place, number = Place(Subject.TRANSFER, transfer.fid), self._model.numbers[transfer.fid]
        if self._model.shown.has_shown(place, offer_question(transfer)) and self._is_settled(place):
            return transfer
        self._wrong(f"Number {number} has not been on the screen yet, as it is now: F4 shows it.")
        return None

    def _obvious_transfer(self, waiting: bool) -> Transfer | None:
        fits = [one for one in self._model.transfers.values() if _fits(one, waiting)]
        here = [one for one in fits if one.peer == self.view.chat]
        if not fits:
            self.view.say(f"No {'offer waits for an answer' if waiting else 'transfer is under way'}.", warning=True)
        elif not here and len(fits) > 1:
            self._wrong("Which one? F4 shows their numbers.")
        elif here and waiting:
            return self._offer_here("Enter")
        else:
            return (here or fits)[-1]
        return None

    # --- questions ------------------------------------------------------------------------------

    def key_answer(self, stroke: str) -> None:
        """Do what was asked about, if the question has been read as it is."""
        question = self.view.question
        if question is None or not self._is_settled(QUESTION):
            return
        if self._model.shown.shows(QUESTION, question.text()):
            self.view.ask(None)
            question.act()
        else:
            self._wrong("Not all of the question is in view: read it in a larger window, then press the key.")

    def _is_settled(self, *places: Place) -> bool:
        """Whether the terminal has shown what stands there, and for long enough."""
        return not self._terminal.is_behind and self._model.shown.is_settled(*places, now=self._clock.seconds())


def _fits(transfer: Transfer, waiting: bool) -> bool:
    if waiting:
        return transfer.state is TransferState.OFFERED and not transfer.outgoing
    return not transfer.state.ended
