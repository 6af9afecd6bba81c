"""What happens to a transfer (inputs), and what is to be done about it (effects).

The machines are ``OutgoingTransfer`` and ``IncomingTransfer``; who owns one hands it every input that
concerns its transfer, and carries out the effects in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from chatnet.core.messages import Message, Want


class Timer(Enum):
    """The timers of one transfer; each gives its own input when it fires."""

    LINK = "the file link is late"
    RETRY = "another try"
    ASK = "ask how it stands"
    SPACE = "look for space"
    LOOK = "the look at its files is late"


class Leave(Enum):
    """How a file link is left."""

    WAIT = "we spoke last: wait until the other side closes, for a few seconds"
    BYE = "say goodbye"
    CUT = "cut"


# --- inputs -----------------------------------------------------------------------------------


class Input:
    """Something that happened to one transfer."""

    __slots__ = ()


# From a person.


@dataclass(frozen=True, slots=True)
class PersonAccepts(Input):
    """Take the offer."""


@dataclass(frozen=True, slots=True)
class PersonRefuses(Input):
    """Do not take the offer."""


@dataclass(frozen=True, slots=True)
class PersonCancels(Input):
    """End it."""


@dataclass(frozen=True, slots=True)
class PersonPauses(Input):
    """Hold it."""


@dataclass(frozen=True, slots=True)
class PersonResumes(Input):
    """Let it go on, or try again now."""


@dataclass(frozen=True, slots=True)
class PersonShuns(Input):
    """The person wants nothing of this peer any more."""


# From the chat link.


@dataclass(frozen=True, slots=True)
class HeardAccept(Input):
    """All pages of an ACCEPT."""

    token: bytes
    wants: Sequence[Want] = ()


@dataclass(frozen=True, slots=True)
class HeardDecline(Input):
    code: str


@dataclass(frozen=True, slots=True)
class HeardDialMe(Input):
    """The sender cannot dial."""


@dataclass(frozen=True, slots=True)
class HeardCancel(Input):
    code: str


@dataclass(frozen=True, slots=True)
class HeardPause(Input):
    code: str


@dataclass(frozen=True, slots=True)
class HeardResume(Input):
    """The other side asks how it stands, and does not hold it."""


@dataclass(frozen=True, slots=True)
class HeardVerified(Input):
    """The receiver has everything."""


@dataclass(frozen=True, slots=True)
class ChatUp(Input):
    """A new chat link is open."""


@dataclass(frozen=True, slots=True)
class ChatDown(Input):
    """The chat link is gone; ``in_order`` when it was closed by a goodbye, so that nothing was lost with it."""

    in_order: bool


@dataclass(frozen=True, slots=True)
class WordHeard(Input):
    """The other side has processed what was said of the open transfer: the offer's pages, the question about it."""


@dataclass(frozen=True, slots=True)
class OutcomeHeard(Input):
    """The other side has processed the word that says how it ended."""


# From the file link.


@dataclass(frozen=True, slots=True)
class FileLinkOpened(Input):
    """A link with the right token is open."""


@dataclass(frozen=True, slots=True)
class FileLinkLost(Input):
    """It has ended; ``decided`` when the run knows its outcome already and only clears up."""

    code: str
    by_remote: bool = False
    decided: bool = False


@dataclass(frozen=True, slots=True)
class FileDialFailed(Input):
    """The dial for a file link came to nothing."""


# From the run and the disk.


@dataclass(frozen=True, slots=True)
class RunBegan(Input):
    """The first file is on its way."""


@dataclass(frozen=True, slots=True)
class RunComplete(Input):
    """The last byte was sent, or has come."""


@dataclass(frozen=True, slots=True)
class RunVerified(Input):
    """Every file stands under its final name at the receiver."""


@dataclass(frozen=True, slots=True)
class RunFailed(Input):
    """Something here ends it."""

    code: str


@dataclass(frozen=True, slots=True)
class RunHindered(Input):
    """Something here stands in its way that may pass."""

    code: str


@dataclass(frozen=True, slots=True)
class RunRefused(Input):
    """The receiver's REJECT."""

    code: str


@dataclass(frozen=True, slots=True)
class RunMismatched(Input):
    """Files of before were not the same after all: they are wanted whole."""


@dataclass(frozen=True, slots=True)
class RunRested(Input):
    """No thread works for the run any more, and its files are closed."""


@dataclass(frozen=True, slots=True)
class DownloadOpened(Input):
    """The folders are open; ``missing`` tells whether anything is still wanted."""

    missing: bool


@dataclass(frozen=True, slots=True)
class DownloadFailed(Input):
    """The files cannot be written here."""

    code: str


@dataclass(frozen=True, slots=True)
class DownloadHindered(Input):
    """They cannot be written at present."""

    code: str


@dataclass(frozen=True, slots=True)
class SpaceSeen(Input):
    """How much is free was looked up."""

    enough: bool


# From its owner.


@dataclass(frozen=True, slots=True)
class TurnGranted(Input):
    """Its turn has come.  ``token`` is fresh: what a file link for an acceptance has to show."""

    token: bytes


@dataclass(frozen=True, slots=True)
class OfferGranted(Input):
    """There is room for it among the unanswered offers to this peer."""


@dataclass(frozen=True, slots=True)
class FilesSeen(Input):
    """Its files were looked at.  ``code`` says why none of them can be sent; empty if one can."""

    code: str


@dataclass(frozen=True, slots=True)
class Overdue(Input):
    """It has waited for longer than any transfer may wait."""


@dataclass(frozen=True, slots=True)
class LinkLate(Input):
    """Timer.LINK has fired."""


@dataclass(frozen=True, slots=True)
class RetryDue(Input):
    """Timer.RETRY has fired."""


@dataclass(frozen=True, slots=True)
class AskDue(Input):
    """Timer.ASK has fired."""


@dataclass(frozen=True, slots=True)
class SpaceDue(Input):
    """Timer.SPACE has fired."""


@dataclass(frozen=True, slots=True)
class LookLate(Input):
    """Timer.LOOK has fired."""


@dataclass(frozen=True, slots=True)
class Recalled(Input):
    """It was read from the store by a new process.

    ``expired``: it is older than anything is waited for, or cannot be taken up again.
    """

    expired: bool = False


@dataclass(frozen=True, slots=True)
class Unsaved(Input):
    """The store did not take the last change."""


@dataclass(frozen=True, slots=True)
class StoreBack(Input):
    """The store writes again."""


@dataclass(frozen=True, slots=True)
class Stopping(Input):
    """The program ends."""


INPUT_OF_TIMER: dict[Timer, Input] = {
    Timer.LINK: LinkLate(),
    Timer.RETRY: RetryDue(),
    Timer.ASK: AskDue(),
    Timer.SPACE: SpaceDue(),
    Timer.LOOK: LookLate(),
}
TIMER_OF_INPUT: dict[type[Input], Timer] = {type(event): timer for timer, event in INPUT_OF_TIMER.items()}
INPUTS: tuple[type[Input], ...] = tuple(
    kind
    for kind in tuple(globals().values())
    if isinstance(kind, type) and issubclass(kind, Input) and kind is not Input
)


# --- effects ----------------------------------------------------------------------------------


class Effect:
    """Something to be done for one transfer."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Send(Effect):
    """Say it on the chat link, which is open."""

    message: Message


@dataclass(frozen=True, slots=True)
class LetOffer(Effect):
    """Give ``OfferGranted`` to the next transfer that waits to be offered to this peer, once there is room for it."""


@dataclass(frozen=True, slots=True)
class LookAtFiles(Effect):
    """Look whether its files can be sent still; gives ``FilesSeen``, however late.

    A look that has not come to its end goes on in the place of another one.
    """


@dataclass(frozen=True, slots=True)
class SendOffer(Effect):
    """Say all pages of the offer on the chat link, then give ``WordHeard`` when they are processed there."""


@dataclass(frozen=True, slots=True)
class SendAccept(Effect):
    """Say all pages of the acceptance on the chat link."""

    token: bytes


@dataclass(frozen=True, slots=True)
class Confirm(Effect):
    """Give ``heard`` when the other side has processed everything that was said on the present chat link so far."""

    heard: WordHeard | OutcomeHeard


@dataclass(frozen=True, slots=True)
class SayVerified(Effect):
    """Say VERIFIED on the file link."""


@dataclass(frozen=True, slots=True)
class DialFile(Effect):
    """Dial a file link, for at most so many seconds; a failure gives ``FileDialFailed``."""

    token: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class StartSending(Effect):
    """Begin to send over the file link."""


@dataclass(frozen=True, slots=True)
class StartReceiving(Effect):
    """Take what comes over the file link."""


@dataclass(frozen=True, slots=True)
class StopRun(Effect):
    """Give back what runs or is open: dial, download, work.  ``keep`` what the disk has, for another time."""

    keep: bool


@dataclass(frozen=True, slots=True)
class LeaveLink(Effect):
    """Part with the file link."""

    how: Leave


@dataclass(frozen=True, slots=True)
class RefuseLink(Effect):
    """Close the file link that has just opened: nobody waits for it."""


@dataclass(frozen=True, slots=True)
class OpenDownload(Effect):
    """Look what the disk has of it; gives ``DownloadOpened``, ``DownloadFailed`` or ``DownloadHindered``."""


@dataclass(frozen=True, slots=True)
class RemoveParts(Effect):
    """Remove what has no final name; nothing works there."""


@dataclass(frozen=True, slots=True)
class LookForSpace(Effect):
    """Look, beside the reactor, whether ``code`` stands in the way still: ``SpaceSeen``.

    It is ``no-space``, ``no-inodes`` or ``store``.
    """

    code: str


@dataclass(frozen=True, slots=True)
class Arm(Effect):
    """Start a timer, or start it again."""

    timer: Timer
    seconds: float


@dataclass(frozen=True, slots=True)
class Retry(Effect):
    """Start Timer.RETRY with the wait after so many failures in a row."""

    failures: int


@dataclass(frozen=True, slots=True)
class Disarm(Effect):
    """Stop a timer that runs."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class Persist(Effect):
    """Save it; a failure gives ``Unsaved``.  Then, saved or not, carry out ``then``."""

    then: tuple[Effect, ...] = ()


@dataclass(frozen=True, slots=True)
class Tell(Effect):
    """Show how it stands."""


@dataclass(frozen=True, slots=True)
class AskTurn(Effect):
    """Give ``TurnGranted`` when its turn has come."""


@dataclass(frozen=True, slots=True)
class FreeTurn(Effect):
    """It needs no turn any more."""


@dataclass(frozen=True, slots=True)
class Contact(Effect):
    """Something waits for this peer: see that there is a chat link."""


@dataclass(frozen=True, slots=True)
class Objection(Effect):
    """What the person asked for cannot be.

    ``code``: ``ended``, ``answered``, ``own-offer``, ``not-running`` or ``paused-there``.
    """

    code: str


EFFECTS: tuple[type[Effect], ...] = tuple(
    kind
    for kind in tuple(globals().values())
    if isinstance(kind, type) and issubclass(kind, Effect) and kind is not Effect
)
