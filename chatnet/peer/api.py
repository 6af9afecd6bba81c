"""The API of a peer, by which the console, a script, and later a socket drive it.

Arguments, results, errors and events are plain data.  Methods return Deferreds that fail with
errors of ``chatnet.core.errors``.  Local paths are absolute, and bytes as the file system has them;
a relative one fails with LocalError("relative-path").

A decision is about what a person has seen, and carries it.  Where what it would decide about can change
meanwhile (the key that uses a name, the code to compare), the call fails with an error of its own.  ``peer`` and
``chat`` are keys and no names, and a ``fid`` or the ``n`` of a row never comes to mean another one: a call that
takes only these decides about exactly that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from chatnet.core.events import (
    AlertRules,
    ChatMessage,
    Event,
    Exported,
    FileRule,
    HistoryPage,
    Me,
    OfferedNames,
    SafetyNumber,
    SearchPage,
    Snapshot,
    SpeedLimits,
    Transfer,
    VerifiedLevel,
)
from chatnet.core.identity import ChatID


class Subscription(Protocol):
    """The result of ``subscribe``: the state now, and a way to end the subscription."""

    snapshot: Snapshot

    def cancel(self) -> None: ...


class PeerApi(Protocol):
    """What a peer can be asked for.

    The docstring of a call names every code with which it fails, behind the word "Fails", in quotes for a
    LocalError; ``tests/contract`` shows each of them.  Beside those, every call but ``subscribe``, ``login`` and
    ``quit`` fails with LocalError("not-logged-in") while nobody is logged in, and every call that has something to
    store or to read fails with StoreFailed while the disk does not do it.
    """

    def subscribe(self, listener: Callable[[Event], None]) -> Subscription:
        """Return the state now; every later event goes to ``listener``, each a reactor turn later."""

    def login(self, name: str, registry: str, presentation: str = "") -> Deferred[Me]:
        """Lock the profile ``name``, make or read its key, register.

        ``registry`` is a join string or a client endpoint string.  Fires when the registry
        agreed, or is not there (then it is tried again for ever).  What was made for a login that fails is undone.

        Fails with LocalError("bad-name" | "bad-registry": no such address | "busy": another login is under way |
        "twin": another process has the profile | "bad-directory" | "no-lock" | "key": the profile cannot be used),
        CannotListen, StoreFailed, or Refused: the name belongs to another key.
        """

    def say(self, chat: ChatID, body: str) -> Deferred[ChatMessage]:
        """Store and send a message; fires once it is stored here.

        Fails with LocalError("too-long" | "empty" | "unknown-peer" | "blocked"), or StoreFailed.
        """

    def resend(self, chat: ChatID, n: int) -> Deferred[None]:
        """Send again a message of ours that was refused or expired: it waits, and goes out as the message it was.

        It goes to the key ``chat``, or to the one that was taken in its place, whoever uses the name now.

        Fails with LocalError("unknown-peer" | "not-failed" | "blocked"), or StoreFailed.
        """

    def history(
        self, chat: ChatID, before: int | None = None, limit: int = 100, after: int | None = None
    ) -> Deferred[HistoryPage]:
        """Return the last ``limit`` rows before row ``before`` (None: from the end).

        With ``after``, the first ones behind that row; ``more`` then says whether newer ones exist.
        """

    def search(
        self,
        text: str,
        chat: ChatID | None = None,
        since_ms: int | None = None,
        before_n: int | None = None,
        limit: int = 50,
        sender: bytes | None = None,
    ) -> Deferred[SearchPage]:
        """Return rows with all these words, in one chat or everywhere, the newest first.

        The last word may be the beginning of one; "words in quotes" stand next to each other.
        ``sender``: only what that key said.  Fails with LocalError("empty").
        """

    def export(self, chat: ChatID, file: bytes, format: str = "text") -> Deferred[Exported]:
        """Write a chat into the new file ``file``, as "text" or "json".

        Fails with LocalError("unknown-peer" | "relative-path" | "exists" | "unwritable" | "bad-format"); then there
        is no new file.
        """

    def set_tabs(self, chats: tuple[ChatID, ...]) -> Deferred[None]:
        """Save which chats are open, from the left, to be restored next time."""

    def set_draft(self, chat: ChatID, text: str) -> Deferred[None]:
        """Save the text in the input of a chat that was not sent."""

    def set_alerts(self, rules: AlertRules) -> Deferred[AlertRules]:
        """Keep what is told while the person looks elsewhere.  Fails with LocalError("too-many"), or StoreFailed."""

    def mark_read(self, chat: ChatID, n: int) -> Deferred[None]:
        """Note that rows up to ``n`` were seen by a person."""

    def connect(self, peer: bytes) -> Deferred[None]:
        """Open a link now.  Fails with LocalError("unknown-peer"), Unreachable, WrongKey or Refused."""

    def offer(self, chat: ChatID, paths: tuple[bytes, ...]) -> Deferred[Transfer]:
        """Offer files and folders; fires once the offer is stored here.

        While the person is away, or has enough unanswered offers of ours, it waits (``WAITING``), also over
        restarts, and expires like a message.  What is offered are the files as they are now: those that have
        changed or are gone by then are left out, and if all are, the transfer has failed.
        Fails with LocalError("unknown-peer" | "blocked" | "held": another key uses the name | "relative-path" |
        "no-such-file" | "unreadable" | "empty": no file in it | "too-many" | "too-large" | "too-deep" |
        "busy": the system is short of something).
        """

    def offer_text(self, chat: ChatID, text: str, name: str) -> Deferred[Transfer]:
        """Keep ``text`` as a file called ``name``, in a folder of this profile, and offer it.

        Fails with LocalError("unknown-peer" | "blocked" | "held" | "unwritable"); then the file is gone.
        """

    def accept(self, fid: bytes, directory: bytes = b"") -> Deferred[Transfer]:
        """Take an offer, into ``directory`` or the usual place.

        A ``fid`` that was told names one offer of one person as long as the program runs: whoever uses the
        same id for another offer is declined.  So this answers what was shown, or nothing.

        Fails with LocalError("unknown-transfer" | "ended": also when it is answered already | "relative-path" |
        "no-such-folder" | "no-space" | "no-inodes" | "unwritable" | "busy"); then the offer stands as before.
        """

    def offered_names(self, fid: bytes, start: int = 0, limit: int = 200) -> Deferred[OfferedNames]:
        """Return some of the files and empty folders of a transfer, from the one numbered ``start`` on.

        At most ``OFFERED_NAMES_PAGE`` of ``core.limits``; the empty folders stand behind the files.  A transfer
        that has ended without being done keeps no names.  Fails with LocalError("unknown-transfer" | "ended").
        """

    def next_renamed(self, fid: bytes, start: int = 0) -> Deferred[int | None]:
        """Return the number, from ``start`` on, of the next name that is saved here under another one, or None.

        Fails as ``offered_names`` does.
        """

    def refuse(self, fid: bytes) -> Deferred[Transfer]:
        """Do not take an offer: the one that was shown, as in ``accept``.

        Fails with LocalError("unknown-transfer" | "ended").
        """

    def cancel(self, fid: bytes) -> Deferred[Transfer]:
        """End a transfer, ours or theirs: the one that was shown, as in ``accept``; an ended one stays as it is.

        Fails with LocalError("unknown-transfer").
        """

    def pause(self, fid: bytes) -> Deferred[Transfer]:
        """Hold a transfer until ``resume``.  Fails with LocalError("unknown-transfer" | "ended" | "not-running")."""

    def resume(self, fid: bytes) -> Deferred[Transfer]:
        """Let a transfer go on, or try a broken one now.

        Fails with LocalError("unknown-transfer" | "ended" | "not-running" | "paused-there": they hold it too |
        "no-space" | "no-inodes" | "busy").
        """

    def speed_limits(self) -> Deferred[SpeedLimits]:
        """Return the speed limits of all transfers together."""

    def set_speed_limits(self, up: int | None, down: int | None) -> Deferred[SpeedLimits]:
        """Limit the bytes a second, from now on and after a restart; None: no limit.

        Fails with LocalError("too-slow").
        """

    def rule(self, peer: bytes) -> Deferred[FileRule]:
        """Return the rule for the offers of the key ``peer``.  Fails with LocalError("unknown-peer")."""

    def set_rule(self, peer: bytes, rule: FileRule) -> Deferred[FileRule]:
        """Set the rule for the offers of the key ``peer``, from the next one on, whoever uses the name.

        Fails with LocalError("unknown-peer").
        """

    def forget_ended(self) -> Deferred[None]:
        """Drop the ended transfers from the list (the chat keeps its rows)."""

    def trust(self, peer: bytes, prefix: str) -> Deferred[None]:
        """Take the new key that uses this pinned person's name; ``prefix``: its first 16 characters.

        They are the key that the person means, as they had it from the other one: 80 bits.  What was held goes
        to the new key, and so does what is said or offered in the former chat, while that is nobody else's.  The
        rule for the offers of the old key ends; who was muted stays so.
        Fails with LocalError("unknown-peer" | "no-new-key" | "wrong-prefix": another key uses the name |
        "verified": a person whose key was verified needs ``confirm`` instead).
        """

    def keep_key(self, peer: bytes, key: bytes) -> Deferred[None]:
        """Stay with the old key: the new one, ``key``, is ignored, what was held waits for the old one.

        Fails with LocalError("unknown-peer" | "no-new-key" | "another-key": not ``key`` uses the name now, but a
        third one).
        """

    def safety_number(self, peer: bytes) -> Deferred[SafetyNumber]:
        """Return 60 digits, of the person's ``compared_key``, and what they are about: for ``confirm``.

        Fails with LocalError("unknown-peer").
        """

    def check_live(self, peer: bytes) -> Deferred[str]:
        """Return six digits for two people on line; the other side hears of it by a CodeReady event.

        They are about the key ``peer``, also while another key uses the name.

        Fails with LocalError("unknown-peer" | "too-often" | "check-failed" | "check-late"), Unreachable, WrongKey or
        Refused.
        """

    def confirm(self, peer: bytes, level: VerifiedLevel, name: str, key: bytes, code: str = "") -> Deferred[None]:
        """Mark the person as verified: they read out the same safety number (BY_NUMBER), or short code (BY_CODE).

        ``name`` and ``key`` are what was compared: for BY_NUMBER those of the SafetyNumber that was shown, for
        BY_CODE the person's name and key, with ``code`` the six digits that were shown.  With a new key and
        BY_NUMBER, the new key is taken, of somebody verified also one that was not kept.  Fails with
        LocalError("unknown-peer" | "no-check" | "another-key": another one has come since, or the new one is gone |
        "another-name": the list calls the key otherwise now | "another-code": another exchange has come since).
        """

    def block(self, peer: bytes, blocked: bool) -> Deferred[None]:
        """Take nothing from the key ``peer`` any more, or again, whoever uses the name.

        The other side is told that what it sends is not taken.  Fails with LocalError("unknown-peer").
        """

    def accept_request(self, peer: bytes) -> Deferred[None]:
        """Take what somebody sent who is not known here: they are a person from now on, and are told of as such.

        Also for somebody of the registry's list, of whom more is taken then.  Writing to them, and taking
        an offer of theirs, does the same.  Fails with LocalError("no-request"), or StoreFailed.
        """

    def refuse_request(self, peer: bytes) -> Deferred[None]:
        """Delete what they sent, also from the search; they are not told, and may come again.

        Fails with LocalError("no-request"), or StoreFailed.
        """

    def clear_requests(self) -> Deferred[None]:
        """Refuse all requests.  Fails with StoreFailed."""

    def reconnect(self) -> Deferred[None]:
        """Try the registry now."""

    def take_over(self) -> Deferred[None]:
        """Be here, after another instance of our key has taken our place: sign in and dial again."""

    def quit(self) -> Deferred[None]:
        """Say goodbye and end the program."""
