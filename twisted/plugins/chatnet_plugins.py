"""twistd's two commands; the programs are imported only when one of them runs."""

from typing import Any

from twisted.application.service import ServiceMaker


class Command(ServiceMaker):
    """A command that SIGHUP does not end while it starts: importing the program takes a second or more."""

    @property
    def options(self) -> Any:
        from chatnet.host.hangups import note_hangups

        note_hangups()
        return super().options


registry = Command(
    "chatnet registry",
    "chatnet.programs.registry",
    "Keep the live list of chatnet peers and push it to all of them.",
    "chatregistry",
)

peer = Command(
    "chatnet peer",
    "chatnet.programs.peer",
    "Chat with the others and send them files, directly, from this terminal.",
    "chatpeer",
)
