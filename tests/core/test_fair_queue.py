"""Sources take turns."""

from __future__ import annotations

import pytest

from chatnet.core.fair_queue import FairQueue


def drained(queue: FairQueue[str]) -> str:
    return "".join(queue.pop() for _ in range(len(queue)))


def filled(items: str) -> FairQueue[str]:
    """Each letter is an item; capitals are of one source, each small letter is a source of its own."""
    queue: FairQueue[str] = FairQueue()
    for item in items:
        queue.put(item, "many" if item.isupper() else item)
    return queue


@pytest.mark.parametrize(
    ("put", "order"),
    [("ABC", "ABC"), ("ABCx", "xABC"), ("ABxCy", "yxABC"), ("AA", "A"), ("", "")],
)
def test_the_newest_source_comes_first(put: str, order: str) -> None:
    assert drained(filled(put)) == order


def test_after_its_turn_a_source_is_behind_all_others() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in ("a1", "b1", "a2", "b2", "a3"):
        queue.put(item, item[0])
    assert [queue.pop() for _ in range(5)] == ["b1", "a1", "b2", "a2", "a3"]
    with pytest.raises(KeyError):
        queue.pop()


def test_what_was_taken_out_does_not_come() -> None:
    queue = filled("ABxC")
    for item in ("B", "x", "nobody"):
        queue.discard(item)
    assert drained(queue) == "AC"
    queue.put("B", "many")
    assert drained(queue) == "B"
