"""Sending files, answering offers, and the list of transfers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from chatnet.console.actions.base import local_path
from chatnet.console.actions.messaging import body_bytes
from chatnet.console.actions.subjects import SubjectActions
from chatnet.console.coach import can_pause, can_resume, is_open_offer
from chatnet.console.commands import split_words
from chatnet.console.disk import size_of_all
from chatnet.console.keymap import Context, stroke_text
from chatnet.console.overlays.file_picker import FilePicker, Listing, entries_of
from chatnet.console.panes.question import Question, asked_title
from chatnet.console.shown import Place, Subject
from chatnet.console.widgets.input import InputRow
from chatnet.console.widgets.wording import details_text, rate_of, rate_text, rule_text, size_text
from chatnet.core import limits
from chatnet.core.closest import closest_match
from chatnet.core.events import FileRule, Person, RuleKind, SpeedLimits, Transfer
from chatnet.core.identity import ChatID, chat_with, short_text
from chatnet.core.text import quoted, safe_line, shown_path

_RULES = tuple(kind.value for kind in RuleKind)


class TransferActions(SubjectActions):
    """Commands and keys about files."""

    def key_pick_file(self, stroke: str) -> None:
        chat = self.view.chat
        if chat is None:
            self.view.say("Send to whom? Open a conversation first (F2, Enter), or type  /send NAME path", warning=True)
            return

        def look(directory: str, hidden: bool, came: Callable[[Listing], None]) -> None:
            def failed() -> None:
                came(Listing(problem="The disk does not answer."))

            self._ask(self._disk.run, entries_of, directory, hidden, then=came, failed=failed)

        def chosen(paths: tuple[str, ...]) -> None:
            if not self._is_settled(Place(Subject.PICKER)):
                return  # the key was a letter of a name, meant for the list of people
            self.view.overlay = None
            self._directory = picker.directory
            self._offer(chat, tuple(map(os.fsencode, paths)))

        name = self._model.roster.name(chat)
        picker = FilePicker(self._directory, name, self._scene.signs, look, chosen, self.view.back)
        picker.double_click = self.is_double_click
        self.view.cover(picker)

    def key_send_to_selected(self, stroke: str) -> None:
        person = self._chosen_person()
        if person is not None:
            self.open_person(person.peer)
            self._model.shown.changed(Place(Subject.PICKER))
            self.key_pick_file(stroke)

    def _offer(self, chat: ChatID, paths: tuple[bytes, ...]) -> None:
        self._ask(self._api.offer, chat, paths, then=lambda transfer: self._tell_offered(chat, transfer))

    def _tell_offered(self, chat: ChatID, transfer: Transfer) -> None:
        person, title = self._model.roster.people.get(chat), quoted(transfer.title)
        name = self._model.roster.name(chat)
        if person is None or person.online or person.linked:
            waits = f"{title} waits for {name} to accept."
        else:
            waits = f"{title} waits: it is offered when {name} is back."
        details = details_text(transfer, "")
        self.view.say(f"{waits} {details}".rstrip(), warning=bool(details))

    def cmd_send(self, rest: str) -> None:
        words, here = split_words(rest), self.view.chat
        person: Person | None = None
        if words and (here is None or self._is_somebody(words[0])):
            person = self._somebody(words[0])
            if person is None:
                return
        if person is None and here is None:
            self._usage("send")
        elif person is not None and here is not None and len(words) == 1:
            self._send_word(here, person, words)
        elif person is not None:
            self._send_words(chat_with(person.peer), words[1:])
        elif here is not None:
            self._send_words(here, words)

    def _send_word(self, here: ChatID, person: Person, words: list[str]) -> None:
        """Send the file that the only word names, if it exists; else take the word as the person to send files to."""

        def told(is_file: bool) -> None:
            self._send_words(here if is_file else chat_with(person.peer), words if is_file else [])

        self._ask(self._disk.run, os.path.exists, local_path(words[0]), then=told)

    def _send_words(self, chat: ChatID, words: list[str]) -> None:
        if not words:
            self.open_chat(chat)
            self.key_pick_file("")
            return
        paths = tuple(map(local_path, words))

        def told(trouble: str) -> None:
            if trouble:
                self._wrong(trouble)
            else:
                self._offer(chat, paths)

        self._ask(self._disk.run, _what_is_missing, paths, words, then=told)

    def _ask_to_offer(self, chat: ChatID, paths: tuple[bytes, ...], row: InputRow) -> None:
        """Ask whether to offer files that were dropped on the window, while their paths stand in the input."""
        pasted = row.text

        def told(size: int | None) -> None:
            if size is None or row.text != pasted or row is not self.view.input or self.view.overlay is not None:
                return
            title = asked_title(shown_path(os.path.basename(paths[0].rstrip(b"/"))))
            what = f"{title} and {len(paths) - 1} more" if len(paths) > 1 else title

            def text() -> str:
                of = f", {size_text(size)}" if size else ""
                return f"Offer {what}{of} to {self._model.roster.name(chat)}, key {short_text(chat)}?"

            def offer() -> None:
                row.remember(row.text)
                row.put("")
                self._offer(chat, paths)

            self.view.ask(Question(text, "offer", "keep it as text", offer))

        self._ask(self._disk.run, size_of_all, paths, then=told)

    def _offer_to_answer(self, stroke: str) -> Transfer | None:
        """Return the offer that Alt-y, Alt-n and Alt-s answer; None, after telling the user why."""
        if self.view.input.text:
            self.view.say("Only with an empty input: send or delete what is typed first.")
            return None
        return self._offer_here(stroke_text(stroke))

    def key_accept(self, stroke: str) -> None:
        transfer = self._offer_to_answer(stroke)
        if transfer is not None:
            self._accept(transfer)

    def _accept(self, transfer: Transfer, directory: bytes = b"") -> None:
        other = f"Another place: /accept {self._model.numbers[transfer.fid]} FOLDER"
        advice = dict.fromkeys(("no-space", "no-inodes", "no-such-folder", "unwritable"), other)
        self._ask(self._api.accept, transfer.fid, directory, advice=advice)

    def key_refuse(self, stroke: str) -> None:
        transfer = self._offer_to_answer(stroke)
        if transfer is not None:
            self._refuse(transfer)

    def _refuse(self, transfer: Transfer) -> None:
        self._ask(self._api.refuse, transfer.fid)

    def key_save_as(self, stroke: str) -> None:
        if self.view.chat is not None and body_bytes(self.view.input.text) > limits.MAX_BODY_BYTES:
            self._send_as_file(self.view.chat)
            return
        transfer = self._offer_to_answer(stroke)
        if transfer is not None:
            self.view.focus_on = Context.INPUT
            self.view.input.put(f"/accept {self._model.numbers[transfer.fid]} ~/")
            self.view.say(f"Into which directory shall {quoted(transfer.title)} go? Tab completes, Enter accepts.")

    def _send_as_file(self, chat: ChatID) -> None:
        """Send what is too long for a message; a text that is not offered stands in the input again."""
        row = self.view.input
        text = row.take()
        name = time.strftime("message-%Y-%m-%d-%H%M%S.txt", time.localtime(self._clock.seconds()))

        def put_back() -> None:
            if row.text:
                row.remember(text)
            else:
                row.put(text)

        self._ask(
            self._api.offer_text,
            chat,
            text,
            name,
            then=lambda transfer: self._tell_offered(chat, transfer),
            failed=put_back,
            what="Not sent: ",
        )

    def cmd_accept(self, rest: str) -> None:
        words = split_words(rest)
        named = bool(words) and words[0].isdecimal()
        transfer = self._transfer_named(words[:1] if named else [], waiting=True)
        if transfer is None:
            return
        directory = " ".join(words[1:] if named else words)
        self._accept(transfer, local_path(directory) if directory else b"")

    def cmd_refuse(self, rest: str) -> None:
        transfer = self._transfer_named(split_words(rest)[:1], waiting=True)
        if transfer is not None:
            self._refuse(transfer)

    def cmd_cancel(self, rest: str) -> None:
        transfer = self._transfer_named(split_words(rest)[:1], waiting=False)
        if transfer is not None:
            self._cancel(transfer)

    def cmd_pause(self, rest: str) -> None:
        transfer = self._transfer_named(split_words(rest)[:1], waiting=False)
        if transfer is not None:
            self._pause(transfer)

    def cmd_resume(self, rest: str) -> None:
        transfer = self._transfer_named(split_words(rest)[:1], waiting=False)
        if transfer is not None:
            self._resume(transfer)

    def key_pause_selected(self, stroke: str) -> None:
        self._do_to_chosen("to pause", can_pause, self._pause)

    def key_resume_selected(self, stroke: str) -> None:
        self._do_to_chosen("to resume", can_resume, self._resume)

    def key_limit(self, stroke: str) -> None:
        self._begin_command("/limit ")
        self.cmd_limit("")

    def cmd_limit(self, rest: str) -> None:
        words = rest.lower().split()
        rate = rate_of(words[1]) if len(words) == 2 else None
        if words and (len(words) != 2 or words[0] not in ("up", "down") or rate is None):
            self._usage("limit")
            return

        def change(now: SpeedLimits) -> None:
            if not words:
                self._tell_limits(now)
                return
            up, down = (rate or None, now.down) if words[0] == "up" else (now.up, rate or None)
            advice = {"too-slow": "/pause N holds a transfer."}
            self._ask(self._api.set_speed_limits, up, down, then=self._tell_limits, advice=advice)

        self._ask(self._api.speed_limits, then=change)

    def _tell_limits(self, limits: SpeedLimits) -> None:
        self.view.say(f"Speed limits: up {rate_text(limits.up)}, down {rate_text(limits.down)}.")

    def cmd_rule(self, rest: str) -> None:
        words = split_words(rest)
        who = words.pop(0) if words and words[0].lower() not in _RULES else ""
        person = self._somebody(who) if who else self._person_here(lambda: self._usage("rule"))
        if person is None:
            return
        size = rate_of(words[1]) if len(words) == 2 and words[0].lower() == "auto" else 0
        if len(words) > 2 or size is None or (words and words[0].lower() not in _RULES):
            self._usage("rule")
            return
        known = person.peer

        def told(rule: FileRule) -> None:
            self.view.say(rule_text(rule, self._model.roster.name(known)))

        if not words:
            self._ask(self._api.rule, known, then=told)
        else:
            self._ask(self._api.set_rule, known, FileRule(RuleKind(words[0].lower()), size), then=told)

    def key_transfers(self, stroke: str) -> None:
        self._show(len(self.view.tabs) - 1)

    def cmd_transfers(self, rest: str) -> None:
        self.key_transfers("")

    def key_open_transfer(self, stroke: str) -> None:
        transfer = self.view.transfers.chosen()
        if transfer is not None:
            self.open_person(transfer.peer)

    def key_accept_selected(self, stroke: str) -> None:
        self._do_to_chosen("to accept", is_open_offer, self._accept)

    def key_refuse_selected(self, stroke: str) -> None:
        self._do_to_chosen("to refuse", is_open_offer, self._refuse)

    def key_cancel_selected(self, stroke: str) -> None:
        self._do_to_chosen("to cancel", lambda one: not one.state.ended, self._cancel)

    def _do_to_chosen(self, what: str, fits: Callable[[Transfer], bool], do: Callable[[Transfer], None]) -> None:
        """Call ``do`` with the selected transfer if it ``fits``; ``what`` says what there is nothing of, if not."""
        transfer = self._chosen_transfer()
        if transfer is not None and not fits(transfer):
            self.view.say(f"There is nothing {what} here.")
        elif transfer is not None:
            do(transfer)

    def _pause(self, transfer: Transfer) -> None:
        self._ask(self._api.pause, transfer.fid)

    def _resume(self, transfer: Transfer) -> None:
        self._ask(self._api.resume, transfer.fid)

    def _cancel(self, transfer: Transfer) -> None:
        fid, number = transfer.fid, self._model.numbers[transfer.fid]
        if transfer.state.ended:
            self.view.say("There is nothing to cancel here.")
            return

        def text() -> str:
            now = self._model.transfers.get(fid, transfer)
            way, name = "to" if now.outgoing else "from", self._model.roster.name(now.peer)
            lost = " What has come of it is deleted." if now.done_bytes and not now.outgoing else ""
            return f"Cancel {number}, {asked_title(now.title)} {way} {name}, key {short_text(now.peer)}?{lost}"

        def cancel() -> None:
            now = self._model.transfers.get(fid)
            if now is None or now.state.ended:
                self.view.say("It has ended meanwhile.")
            else:
                self._ask(self._api.cancel, fid)

        self.view.ask(Question(text, "cancel it", "keep it", cancel))

    def key_forget_ended(self, stroke: str) -> None:
        def forgotten(result: None) -> None:
            self._model.forget_ended()
            self.view.refresh()

        if self._ended_are_drawn():
            self._ask(self._api.forget_ended, then=forgotten)

    def key_command_line(self, stroke: str) -> None:
        self._begin_command("/")


def _what_is_missing(paths: tuple[bytes, ...], words: list[str]) -> str:
    """Return a sentence about the first of the paths that does not exist; empty if all do.  Waits for the disk."""
    missing = next((path for path in paths if not os.path.lexists(path)), None)
    if missing is None:
        return ""
    meant_who = missing == paths[0] and len(words) > 1 and "/" not in words[0]
    nobody = f" Nobody here is called {safe_line(words[0])} either." if meant_who else ""
    return _no_such_file(os.fsdecode(missing)) + nobody + _quoting(words)


def _no_such_file(path: str) -> str:
    """Return which file is missing, and the nearest name beside it."""
    directory, name = os.path.split(path)
    try:
        with os.scandir(directory) as entries:
            near = closest_match(name, (entry.name for entry in entries))
    except OSError:
        near = ""
    shown = directory.replace(os.path.expanduser("~"), "~", 1)
    guess = f" Did you mean {safe_line(near)}?" if near else ""
    return f"/send: no file '{safe_line(name)}' in {safe_line(shown)}.{guess}"


def _quoting(words: list[str]) -> str:
    """Return a sentence on how to write a name with blanks, if one may have been taken for several words."""
    for end in range(len(words), 1, -1):
        for start in range(end - 1):
            whole = " ".join(words[start:end])
            if os.path.lexists(os.path.expanduser(whole)):
                return f' A name with blanks is put in quotes: "{safe_line(whole)}"'
    if len(words) < 2:
        return ""
    return ' A name with blanks is put in quotes: "my photo.jpg"; Tab completes it in quotes if it begins with one.'
