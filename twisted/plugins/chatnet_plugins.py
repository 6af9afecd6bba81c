"""twistd's two commands; the programs are imported only when one of them runs."""

from twisted.application.service import ServiceMaker

registry = ServiceMaker(
    "chatnet registry",
    "chatnet.programs.registry",
    "Keep the live list of chatnet peers and push it to all of them.",
    "chatregistry",
)

peer = ServiceMaker(
    "chatnet peer",
    "chatnet.programs.peer",
    "Chat with the others and send them files, directly, from this terminal.",
    "chatpeer",
)
