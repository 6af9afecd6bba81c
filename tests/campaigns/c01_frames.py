"""C1: fuzzed frames into every state of a link, in chunks of any size.

Only RemoteError may come out of framer and decoder, and memory stays bounded.
"""

from __future__ import annotations

import random
import sys
from collections import Counter

from chatnet.core import messages
from chatnet.core.errors import RemoteError
from chatnet.core.framing import Framer, frame
from chatnet.core.limits import MAX_FRAME, MAX_FRAME_HELLO
from tests.campaigns.harness import Case, Figures, check, main, memory_kb
from tests.core.test_fuzz import damaged

NAME = "c01_frames"
SIZES = {"ci": 100_000, "gate": 1_000_000, "nightly": 50_000_000}

GROWTH_KB = 16 * 1024


def lying(chance: random.Random, body: bytes) -> bytes:
    """A frame whose length may lie."""
    whole = frame(body or b"\0")
    if chance.random() < 0.05:
        return chance.choice((0, 1, len(body) + 7, MAX_FRAME, MAX_FRAME + 1, 2**32 - 1)).to_bytes(4, "big") + body
    return whole


def run(case: Case) -> Figures:
    states = sorted(messages.type_of_frames)
    outcomes: Counter[str] = Counter()
    chance, before = case.chance, 0
    fed = 0
    while fed < case.n:
        state = chance.choice(states)
        framer = Framer(MAX_FRAME_HELLO if state.startswith("from-") and "registry" not in state else MAX_FRAME)
        batch = [lying(chance, damaged(chance)) for _ in range(20)]
        stream, at = b"".join(batch), 0
        fed += len(batch)
        try:
            while at < len(stream):
                step = chance.choice((1, 3, 17, 400, 9000))
                framer.feed(stream[at : at + step])
                at += step
                while (body := framer.next_frame()) is not None:
                    try:
                        messages.decode(state, body)
                        outcomes["taken"] += 1
                    except RemoteError:
                        outcomes["refused"] += 1
        except RemoteError:
            outcomes["length refused"] += 1
        if fed == 20_000:
            before = memory_kb()
    growth = memory_kb() - before if before else 0
    check(growth <= GROWTH_KB, "memory grew", growth_kb=growth)
    check(outcomes["refused"] > case.n // 10, "hardly anything was refused: the mutations are too mild", **outcomes)
    return {"outcomes": dict(outcomes), "growth_kb": growth}


if __name__ == "__main__":
    main(sys.modules[__name__])
