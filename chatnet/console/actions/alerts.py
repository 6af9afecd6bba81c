"""/notify and /mute: what is told while the person looks elsewhere."""

from __future__ import annotations

import msgspec

from chatnet.console.actions.subjects import SubjectActions
from chatnet.console.commands import AUTO
from chatnet.core.events import AlertContent, AlertRules

CONTENTS = {
    AlertContent.OFF: "nothing is told",
    AlertContent.BELL: "the bell rings",
    AlertContent.COUNT: "the bell rings, and a notice says how many messages came",
    AlertContent.NAME: "the bell rings, and a notice says from whom",
    AlertContent.TEXT: "the bell rings, and a notice says who wrote what",
}


class AlertActions(SubjectActions):
    """They are kept with the profile."""

    def cmd_notify(self, rest: str) -> None:
        word, rules = rest.strip().lower(), self._model.alerts
        if not word:
            self._tell_alerts(rules)
        elif word in (*AlertContent, AUTO):
            content = None if word == AUTO else AlertContent(word)
            self._ask(self._api.set_alerts, msgspec.structs.replace(rules, content=content), then=self._content_chosen)
        else:
            self._usage("notify")

    def _content_chosen(self, rules: AlertRules) -> None:
        self._alert_content.choose(rules.content)
        self._tell_alerts(rules)

    def _tell_alerts(self, rules: AlertRules) -> None:
        choice = self._alert_content
        content, after = choice.value, ""
        if not choice.lasts:
            after = " This holds until you quit: --notify or CHATNET_NOTIFY says something else at each start."
        elif choice.kept is content:
            after = f" /notify {AUTO} gives the choice back."
        muted = ", ".join(map(self._model.roster.name, rules.muted[:10]))
        silent = f" Never of: {muted}." if muted else ""
        self.view.say(f"While you look elsewhere, {CONTENTS[content]} (/notify {content}).{silent}{after}")

    def cmd_mute(self, rest: str) -> None:
        self._mute("mute", rest, True)

    def cmd_unmute(self, rest: str) -> None:
        self._mute("unmute", rest, False)

    def _mute(self, command: str, rest: str, is_muted: bool) -> None:
        who = rest.strip()
        person = self._somebody(who) if who else self._person_here(lambda: self._usage(command))
        if person is None:
            return
        others = tuple(peer for peer in self._model.alerts.muted if peer != person.peer)
        rules = msgspec.structs.replace(self._model.alerts, muted=(*others, person.peer) if is_muted else others)
        name = person.name
        done = f"Notices tell of {name} again."
        if is_muted:
            done = f"No notice tells of {name} any more. /unmute {name} ends that."
        self._ask(self._api.set_alerts, rules, then=lambda _: self.view.say(done))
