"""The first tab: who we are, the registry, who is here, what to do, and notices."""

from __future__ import annotations

from chatnet.console.panes.base import ScrollPane
from chatnet.console.widgets.base import Block
from chatnet.console.widgets.text import Markup, Row
from chatnet.console.widgets.wording import age_text, clock_text, count_text
from chatnet.core import messages
from chatnet.core.events import NoticeLevel, RegistryPhase, RegistryState
from chatnet.core.identity import short_text
from chatnet.core.join_string import join_string
from chatnet.core.ports import REGISTRY_PORT
from chatnet.core.text import safe_line, safe_text, shown_path

THIS_MACHINE = ("127.", "localhost:", "[::1]")
USUAL_REGISTRY = f"127.0.0.1:{REGISTRY_PORT}"  # what a peer takes that was told of none
_NAMES_SHOWN = 8
_REFUSALS = frozenset({messages.BAD_RECORD, messages.BUSY, messages.STORE, messages.STRUCK})  # answers, for a while
_NEVER_FOUND: tuple[Markup, ...] = (
    ("text", "Not started yet? On its machine:"),
    ("key", "   twistd -n chatregistry"),
    ("text", "Wrong address? Quit, and start with --registry and the join string that it prints."),
)
_SMALL_BELOW = 54  # columns
_LEVELS = {NoticeLevel.INFO: "text", NoticeLevel.WARNING: "state.wait", NoticeLevel.ERROR: "state.error"}


def registry_join(registry: RegistryState) -> str:
    """Return what others give as ``--registry``; empty while the key is not known."""
    host, _, port = registry.address.rpartition(":")
    if registry.key is None or not port.isdigit():
        return ""
    return join_string(host.strip("[]"), int(port), registry.key)


def on_where(registry: RegistryState) -> str:
    """Return where the registry's address, as it is known here, can be used; as words for a sentence."""
    return "in another terminal" if registry.address.startswith(THIS_MACHINE) else "on another machine"


class NetPane(ScrollPane):
    """A greeting that stays true, then the notices."""

    def title(self) -> str:
        return "net"

    def alarm(self) -> bool:
        return self.scene.model.registry.phase in (RegistryPhase.WRONG_KEY, RegistryPhase.REFUSED)

    def count(self) -> int:
        return 1 + len(self.scene.model.notices)

    def block(self, index: int) -> Block:
        if index == 0:
            lines = [*self._me(), *self._registry(), *self._people()]
            ways = [Row(("group", f"   {word}"), 16, ("text", text)) for word, text in self._ways()]
            return [*(Row("", 1, text) for text in lines), Row("", 1, ""), *ways, Row("", 1, "")]
        notice = self.scene.model.notices[index - 1]
        sign = self.scene.signs.alarm if notice.level is not NoticeLevel.INFO else " "
        return [
            Row([("time", f" {sign} {clock_text(notice.at_ms)} ")], 9, (_LEVELS[notice.level], safe_text(notice.text)))
        ]

    def _me(self) -> list[Markup]:
        me = self.scene.model.me
        if me is None:
            return [("text", "Not logged in yet.")]
        key = short_text(me.peer)
        if self.scene.is_demo:
            return [
                [("text", f"Welcome to the demo. Here you are {me.name}, with a key of your own: "), ("key", key)],
                ("text", "It has a registry of its own, and a peer, echo, that answers whatever you write."),
            ]
        if me.new_key:
            place = shown_path(me.data_dir)
            return [[("text", f"Welcome, {me.name}. New key made: "), ("key", key), ("text", f"  ({place}, keep it)")]]
        return [[("text", f"Welcome back, {me.name}. Your key: "), ("key", key)]]

    def _registry(self) -> list[Markup]:
        registry = self.scene.model.registry
        address, reason = safe_line(registry.address), safe_text(registry.reason)
        key = short_text(registry.key) if registry.key is not None else ""
        match registry.phase:
            case RegistryPhase.CONNECTING:
                return [("text", f"Looking for the registry {address}{self.scene.signs.ellipsis}")]
            case RegistryPhase.UP:
                known = "key remembered" if registry.first_seen else "key"
                return [[("text", f"Registry {address} found, {known}: "), ("key", key)]]
            case RegistryPhase.LOST:
                refused = registry.code in _REFUSALS
                what = f"Registry {address} refused this try" if refused else f"No answer from registry {address}"
                found: list[Markup] = [("state.error", f"{what}{self._because(reason)}.")]
                if registry.key is None and not refused:
                    return [*found, ("text", self._retry()), *(() if self.scene.is_demo else _NEVER_FOUND)]
                found.append(("text", f"{self._retry()} Chats and transfers continue meanwhile."))
                return found
            case RegistryPhase.REFUSED if registry.code == "elsewhere":
                who = self.scene.model.me.name if self.scene.model.me is not None else "This key"
                return [
                    ("state.error", f"{who} also runs somewhere else, and this one has stopped trying. "),
                    ("text", "/takeover takes your place here."),
                ]
            case RegistryPhase.REFUSED:
                return [("state.error", f"The registry {address} refused{self._because(reason)}.")]
            case RegistryPhase.WRONG_KEY:
                return [
                    ("state.error", f"{address}: {reason}"),
                    (
                        "text",
                        "Usual cause: it was installed again. Then quit, and start with the join string that it prints"
                        " now (--registry chatnet:…). Or: somebody stands between. Chats and transfers continue.",
                    ),
                ]

    def _because(self, reason: str) -> str:
        return f" ({reason.rstrip('.')})" if reason else ""

    def _retry(self) -> str:
        retry_at = self.scene.model.registry.retry_at_ms
        if retry_at is None:
            return "Trying again."
        return f"Trying again in {age_text((retry_at - self.scene.now_ms()) / 1000)}; /reconnect tries now."

    def _people(self) -> list[Markup]:
        roster, registry = self.scene.model.roster, self.scene.model.registry
        online = roster.online
        if not len(online):
            if registry.phase is not RegistryPhase.UP or self.scene.model.me is None:
                return []
            if self.scene.is_demo:
                return [("text", f"echo comes in a moment{self.scene.signs.ellipsis}")]
            where = on_where(registry)
            if registry.address == USUAL_REGISTRY:
                return [
                    ("text", f"Nobody else is here yet. {where[0].upper()}{where[1:]}:"),
                    ("key", f"   {self.scene.launch.twistd} -n chatpeer --name YOU"),
                    ("text", "From another machine: with the join string that the registry printed."),
                ]
            twistd = self.scene.launch.twistd if registry.address.startswith(THIS_MACHINE) else "twistd"
            join = registry_join(registry) or registry.address
            text = f"Nobody else is here yet. {where[0].upper()}{where[1:]}:"
            command = f"   {twistd} -n chatpeer --name YOU --registry"
            if len(join) + 3 <= self.size[0]:
                return [("text", text), ("key", f"{command} \\"), ("key", f"   {join}")]
            return [
                ("text", text),
                ("key", f"{command} JOIN"),
                ("text", "JOIN is the registry's join string: /myid shows it in one row, to be copied."),
            ]
        names = ", ".join(roster.name(online[i]) for i in range(min(len(online), _NAMES_SHOWN)))
        more = f" and {len(online) - _NAMES_SHOWN} more" if len(online) > _NAMES_SHOWN else ""
        verb = "is" if len(online) == 1 else "are"
        return [("text", f"{count_text(len(online), 'person', 'people')} {verb} here: {names}{more}.")]

    def _ways(self) -> list[tuple[str, str]]:
        me = self.scene.model.me
        name = me.name if me is not None else "NAME"
        registry = self.scene.model.registry.address
        if registry != USUAL_REGISTRY:
            name += f" --registry {registry}"
        online = self.scene.model.roster.online
        who = self.scene.model.roster.name(online[0]) if len(online) else "bob"
        if self.size[0] < _SMALL_BELOW:
            return [
                ("Talk", f"/msg {who} hello, or F2 and Enter"),
                ("Send a file", f"F5, or /send {who} FILE"),
                ("Leave", "Ctrl-C twice, which deletes it all" if self.scene.is_demo else "Ctrl-C twice"),
                ("Help", "F1"),
            ]
        leave = f"Ctrl-C twice. To stay online without this window:  {self.scene.launch.twistd} chatpeer --name {name}"
        if self.scene.is_demo:
            leave = "Ctrl-C twice. The demo ends then, and its key, messages and files are deleted."
        return [
            ("Talk", f"pick a name (F2, arrows, Enter; or a double click), or type  /msg {who} hello"),
            ("Send a file", f"F5, or  /send {who} photo.jpg"),
            ("Leave", leave),
            ("Help", "F1"),
        ]
