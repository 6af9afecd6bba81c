"""A question that a person answers with y or n before something is done; it takes the place of the footer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import urwid

from chatnet.console.panes.base import PaneContext
from chatnet.console.shown import Place, Subject
from chatnet.console.widgets.base import Box
from chatnet.console.widgets.text import Markup, Row, line, stack, width
from chatnet.core.limits import QUESTION_CHARS
from chatnet.core.text import quoted, safe_line

YES, NO = "y", "n"
MOST_ROWS = 6  # with the answers; the smallest window has ten
TITLE_CHARS = 40  # of a title in a question
QUESTION = Place(Subject.QUESTION)


@dataclass(frozen=True)
class Question:
    """What is asked before something is done.

    ``text`` says what would be done and to whom, with name and key; it is asked again at each drawing, so that it
    says what is so now.  ``yes`` and ``no`` are the words beside the keys, ``act`` does it.
    ``again`` is a stroke that says yes as well: the one that asked, for those who press it twice.
    ``letter`` is the letter of a list that asked: if more letters follow it, it was the beginning of a name.
    """

    text: Callable[[], str]
    yes: str
    no: str
    act: Callable[[], None]
    again: str = ""
    letter: str = ""


def asked_title(title: str) -> str:
    """Return the title of a file as a question names it, cut so that the rest of the question stays in view."""
    return quoted(safe_line(title, TITLE_CHARS))


class QuestionBar(Box):
    """Shows the question, if there is one; a click on an answer is like its key."""

    _selectable = False

    def __init__(self, scene: PaneContext, answer: Callable[[str], None]) -> None:
        super().__init__()
        self.question: Question | None = None
        self._scene, self._answer = scene, answer
        self._text = ""  # as drawn last
        self._spots: list[tuple[int, int, str]] = []  # where the answers are in the last row: from, to, key

    def ask(self, question: Question | None) -> None:
        """Show a question in the place of any other one; None: show none."""
        self.question = question
        self._scene.model.shown.changed(QUESTION)
        self.changed()

    def needed_rows(self, cols: int) -> int:
        """Return how many rows the question and the line of its answers need."""
        assert self.question is not None
        return min(MOST_ROWS, Row("", 1, safe_line(self.question.text(), QUESTION_CHARS)).canvas(cols).rows() + 1)

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        question = self.question
        assert question is not None
        text = question.text()
        if text != self._text:
            self._text = text
            self._scene.model.shown.changed(QUESTION)
        body = Row("", 1, safe_line(text, QUESTION_CHARS)).canvas(cols)
        # What is cut off was not asked: a larger window shows it whole.
        self.shows = {QUESTION: text} if body.rows() < rows else {}
        answers: list[Markup] = []
        self._spots = []
        for key, word in ((YES, question.yes), (NO, question.no)):
            answers += [" ", ("button", f"[{key} {word}]")]
            end = width(answers)
            self._spots.append((end - len(key) - len(word) - 3, end, key))
        canvas = stack([stack([body], cols, rows - 1), line(answers, cols)], cols, rows)
        canvas.fill_attr("footer.warning")
        return canvas

    def mouse(self, event: str, button: int, col: int, row: int) -> bool:
        if event != "mouse press" or button != 1 or row != self.size[1] - 1:
            return False
        for start, end, key in self._spots:
            if start <= col < end:
                self._answer(key)
                return True
        return False
