"""The console with a scripted peer, to look at: ``python -m tests.support.show_console [--login] [--ascii]``.

Say ``lost``, ``up``, ``offer``, ``crowd`` or ``boom`` to echo to see what then happens.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import globalLogBeginner, textFileLogObserver

from chatnet.console.app import Console, LoginDefaults
from chatnet.core.events import ChatMessage, RegistryPhase
from chatnet.core.identity import ChatID
from tests.support.scripted_peer import ScriptedPeer, furnished, key_of, somebody


class ShownPeer(ScriptedPeer):
    """Ends the program on quit, and follows a few words."""

    def quit(self) -> Deferred[None]:
        done = super().quit()
        self.clock.callLater(0, self.clock.stop)
        return done

    def say(self, chat: ChatID, body: str) -> Deferred[ChatMessage]:
        match body.strip():
            case "lost":
                self.put_registry(RegistryPhase.LOST, "connection refused", "refused-connection", 8)
            case "up":
                self.put_registry(RegistryPhase.UP)
            case "offer":
                self.offered(chat, "photo\u202egpj.exe", 52_428_800)
            case "crowd":
                self.put_people(*(somebody(f"guest{i:05d}", self.now_ms()) for i in range(10_000)))
            case "boom":
                raise RuntimeError("as asked")
        return super().say(chat, body)


def main(arguments: list[str]) -> None:
    run: Any = reactor
    logged_in = "--login" not in arguments
    scripted = furnished(run)
    peer = ShownPeer(run, "carol" if logged_in else "", "/tmp")
    peer.people, peer.rows, peer.transfers = scripted.people, scripted.rows, scripted.transfers
    peer.read_n, peer.notices, peer._n = scripted.read_n, scripted.notices, scripted._n
    log = open("/tmp/show_console.log", "a")  # noqa: SIM115 (open as long as the program runs)
    globalLogBeginner.beginLoggingTo([textFileLogObserver(log)], redirectStandardIO=False)
    for i in range(5_000):
        peer.stored(key_of("echo"), f"line {i}", at_ms=peer.now_ms() - (5_000 - i) * 60_000)
    console = Console(
        peer,
        run,
        login=None if logged_in else LoginDefaults("carol", "127.0.0.1:9900"),
        ascii_only="--ascii" in arguments,
    )
    console.startService()
    run.addSystemEventTrigger("before", "shutdown", console.stopService)
    run.run()


if __name__ == "__main__":
    main(sys.argv[1:])
