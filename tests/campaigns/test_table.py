"""The document of the campaigns says what their lines say."""

from __future__ import annotations

from tests.campaigns.table import DOCUMENT, RECORD, document, lines_of, table

HELD = {"campaign": "c05_herd", "control": False, "seed": 3, "n": 1_000, "unit": "peers", "commit": "abc1234"}
HELD |= {"tries": {"first": 2, "second": 3}, "stall_own_ms": 4.5, "seconds": 33.4, "peak_kb": 9, "verdict": "held"}
SHOWN = HELD | {"control": True, "why": "they came in one wave", "verdict": "shown"}
FAILED = HELD | {"campaign": "c04_slowloris", "why": "an honest peer waited", "verdict": "failed"}


def test_the_document_is_made_of_the_record() -> None:
    text = DOCUMENT.read_text()
    assert document(text, lines_of(RECORD)) == text


def test_a_row_says_size_figures_and_verdict_and_a_control_stands_below_its_run() -> None:
    _, _, failed, held, shown = table([SHOWN, HELD, FAILED]).splitlines()
    assert failed.startswith("| C4 slowloris | 3 | abc1234 | 1,000 peers | an honest peer waited: ")
    assert failed.endswith("| 33 s | **failed** |")
    assert "| tries (first 2, second 3), longest turn in ms 4.5 | 33 s | held |" in held
    assert shown.startswith("| C5 herd, control: without chance in the waiting")
    assert "| they came in one wave, tries" in shown
