"""C19: mutation of the guards.

Each mutant takes one guard out of a copy of the tree, by an exact replacement of one text in one
file.  The tests named beside it must turn red there; the same tests are green in an unchanged copy,
or their redness would say nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.campaigns.harness import Case, Figures, check, main

NAME = "c19_mutants"

ROOT = Path(__file__).parent.parent.parent
PARTS = ("chatnet", "docs", "tests", "twisted")
AT_ONCE = 2
PATIENCE_SECONDS = 120.0
ALL_PASSED, SOME_FAILED = 0, 1  # pytest's exit codes; others mean that it could not run


@dataclass(frozen=True)
class Mutant:
    """What is taken out, where, and who notices."""

    guard: str
    path: str
    text: str
    instead: str
    tests: tuple[str, ...]


MUTANTS = (
    Mutant(
        "the pin of a dialled key",
        "chatnet/net/tls.py",
        "if expected is not None and not same_id(peer, expected):",
        "if False:",
        ("tests/net/test_tls.py::test_another_key_than_the_expected_hears_nothing_and_says_nothing",),
    ),
    Mutant(
        "the cut of a refused handshake",
        "chatnet/net/link.py",
        "transport.abortConnection()",
        "transport.loseConnection()",
        ("tests/net/test_tls.py::test_a_refused_dialler_cannot_cling_to_the_connection",),
    ),
    Mutant(
        "no session tickets",
        "chatnet/net/tls.py",
        "SSL.OP_NO_TICKET | ",
        "",
        ("tests/net/test_tls.py::test_no_handshake_is_shortened_by_an_earlier_one",),
    ),
    Mutant(
        "one certificate, and no second",
        "chatnet/net/tls.py",
        "if len(connection.get_peer_cert_chain() or ()) != int(dialled):",
        "if False:",
        ("tests/net/test_tls.py::test_a_hostile_dialler_is_cut_and_what_it_wrote_is_not_delivered",),
    ),
    Mutant(
        "a certificate is demanded",
        "chatnet/net/tls.py",
        " | SSL.VERIFY_FAIL_IF_NO_PEER_CERT",
        "",
        ("tests/net/test_tls.py::test_a_hostile_dialler_is_cut_and_what_it_wrote_is_not_delivered",),
    ),
    Mutant(
        "an existing file is not replaced",
        "chatnet/peer/files/filesystem.py",
        "os.link(old, new, src_dir_fd=src, dst_dir_fd=dst, follow_symlinks=False)",
        "os.replace(old, new, src_dir_fd=src, dst_dir_fd=dst)",
        ("tests/peer/files/test_final_names.py::test_nothing_that_exists_is_replaced",),
    ),
    Mutant(
        "a message is stored before it is acknowledged",
        "chatnet/peer/messages/inbox.py",
        "        inbound.arrived.append(say)\n",
        "        inbound.arrived.append(say)\n        link.send(Ack([say.id]))\n",
        ("tests/village/test_lasting.py::test_a_receiver_with_a_full_disk_loses_nothing_and_goes_on_by_itself",),
    ),
    Mutant(
        "a link that is replaced is followed by another try",
        "chatnet/core/link_policy.py",
        "    End.REPLACED_BY_OTHER: (_IDLE, _USE_SLOW, _USE_QUICK),",
        "    End.REPLACED_BY_OTHER: (_IDLE, _IDLE, _IDLE),",
        ("tests/village/test_liveness.py::test_whatever_code_ends_a_link_what_waits_is_delivered",),
    ),
    Mutant(
        "a mute link gives way",
        "chatnet/core/link_policy.py",
        "    (Present.SAME_WAY, Proof.MUTE): Verdict.TAKE,",
        "    (Present.SAME_WAY, Proof.MUTE): Verdict.KEEP,",
        ("tests/village/test_liveness.py::test_a_half_open_link_gives_way_to_a_proven_dial",),
    ),
    Mutant(
        "a foreign exception ends no loop",
        "chatnet/net/retry.py",
        "        except Exception as error:  # a lack",
        "        except ValueError as error:  # a lack",
        ("tests/village/test_liveness.py::test_a_lack_of_descriptors_ends_no_dialling",),
    ),
    Mutant(
        "what is stored is acknowledged",
        "chatnet/peer/messages/inbox.py",
        "        self._acknowledge(link, [say.id for say, stored in zip(says, known, strict=True) if stored])\n",
        "",
        ("tests/village/test_liveness.py::test_what_is_stored_is_acknowledged_also_by_who_has_blocked_us_since",),
    ),
    Mutant(
        "the greatest frame",
        "chatnet/core/limits.py",
        "MAX_FRAME = 65_536",
        "MAX_FRAME = 6_553_600",
        ("tests/core/test_vectors.py", "tests/core/test_limits.py", "tests/net/test_link.py"),
    ),
    Mutant(
        "who breaks the protocol is left alone",
        "chatnet/core/strikes.py",
        "if len(times) < self._limits.strikes:",
        "if True:",
        ("tests/net/test_strikes.py::test_the_third_frame_that_cannot_be_shuts_the_door_in_words",),
    ),
    Mutant(
        "what may be a race is no strike",
        "chatnet/net/link.py",
        "if isinstance(error, BadFrame):",
        "if True:",
        ("tests/net/test_strikes.py::test_what_only_the_order_of_things_forbids_is_no_strike",),
    ),
    Mutant(
        "a framer that stopped stays stopped",
        "chatnet/core/framing.py",
        "        self._stopped = True\n",
        "        self._stopped = False\n",
        ("tests/core/test_framing.py::test_stop_between_two_frames_delivers_nothing_more",),
    ),
    Mutant(
        "no bidirectional control in a text",
        "chatnet/core/text.py",
        "elif category in HIDDEN or c in BLANK:",
        "elif (category in HIDDEN and c not in BIDI) or c in BLANK:",
        ("tests/core/test_text.py::test_what_becomes_of_it",),
    ),
    Mutant(
        "a key that others may read is refused",
        "chatnet/net/identity.py",
        "if facts.st_mode & 0o077:",
        "if False:",
        ("tests/net/test_identity.py::test_a_key_that_others_may_touch_is_refused_with_the_remedy",),
    ),
    Mutant(
        "the grammar of names",
        "chatnet/core/names.py",
        'NAME_PATTERN = r"^[a-z0-9](?:[a-z0-9_-]{0,30}[a-z0-9])?',
        'NAME_PATTERN = r"^[\\w](?:[\\w-]{0,30}[\\w])?',
        ("tests/core/test_names.py::test_names_that_nobody_may_have",),
    ),
    Mutant(
        "a record does not go back",
        "chatnet/core/directory/directory.py",
        "            if fields.seq < last_seq:\n",
        "            if False:\n",
        ("tests/core/directory/test_directory.py::test_a_record_does_not_go_back",),
    ),
    Mutant(
        "the token of a file link",
        "chatnet/core/transfer/transfer_machine.py",
        "hmac.compare_digest(self.run.token, token)",
        "len(token) > 0",
        ("tests/peer/transfers/test_transfers.py::test_only_the_expected_link_comes_in_and_only_once",),
    ),
    Mutant(
        "the outcome of a transfer is said on each new link until it is heard",
        "chatnet/core/transfer/transfer_machine.py",
        "        if not self.told:\n            yield from self._say_outcome()\n",
        "        yield from ()\n",
        (
            "tests/peer/transfers/test_transfers.py"
            "::test_an_outcome_is_told_on_each_link_to_who_never_asks_until_it_is_heard",
        ),
    ),
    Mutant(
        "an offer that nobody has heard is waited for",
        "chatnet/core/transfer/outgoing.py",
        "            return not self.confirmed\n",
        "            return False\n",
        ("tests/village/test_file_faults.py::test_an_offer_that_died_with_its_link_arrives",),
    ),
    Mutant(
        "what the store did not take of a transfer is saved later",
        "chatnet/core/transfer/transfer_machine.py",
        "        if self.unsaved:\n            self.unsaved = False\n            yield Persist()\n",
        "        yield from ()\n",
        ("tests/village/test_file_faults.py::test_an_ending_that_met_a_full_disk_is_written_later",),
    ),
    Mutant(
        "what a part holds counts as free",
        "chatnet/peer/files/download.py",
        "max(want.offset, self._parts.held_bytes(want.file, size))",
        "want.offset",
        ("tests/village/test_file_faults.py::test_what_a_part_holds_counts_as_free",),
    ),
    Mutant(
        "an old entry of the list changes nothing",
        "chatnet/core/directory/roster.py",
        "if known is not None and entry.seq < known.seq:",
        "if False:",
        ("tests/core/directory/test_roster.py::test_a_replayed_entry_with_a_lower_number_changes_nothing",),
    ),
    Mutant(
        "the commitment of a live code",
        "chatnet/peer/trust/short_code.py",
        "if hmac.compare_digest(short_commitment(check.value), exchange.commitment):",
        "if True:",
        ("tests/peer/trust/test_short_code.py",),
    ),
    Mutant(
        "the grammar of names on the wire",
        "chatnet/core/names.py",
        '[a-z0-9])?\\Z"',
        '[a-z0-9])?$"',
        ("tests/core/test_messages.py::test_a_listed_name_is_a_name",),
    ),
    Mutant(
        "the text of a file's name is cleaned of paths",
        "chatnet/core/text.py",
        'last = re.split(r"[/\\\\]", unicodedata.normalize("NFC", offered[:1024]))[-1]',
        'last = unicodedata.normalize("NFC", offered[:1024])',
        ("tests/core/test_text.py::test_names_by_name",),
    ),
)
SIZES = {"ci": 12, "gate": len(MUTANTS), "nightly": len(MUTANTS)}
UNIT = "mutants"
SHOWN = ("mutants live",)


@dataclass(frozen=True)
class Fate:
    """What the tests said of a mutant."""

    guard: str
    code: int
    words: str
    seconds: float


def copy_of_the_tree(place: Path) -> Path:
    for part in PARTS:
        shutil.copytree(ROOT / part, place / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", place)
    return place


def mutate(place: Path, mutant: Mutant) -> None:
    """Fails unless the text stands there exactly once."""
    path = place / mutant.path
    source = path.read_text()
    found = source.count(mutant.text)
    check(found == 1, "the guard's text does not stand there exactly once", guard=mutant.guard, found=found)
    path.write_text(source.replace(mutant.text, mutant.instead))


def pytest_in(place: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Its exit code and its last words; the tree's own modules and no others are in its way."""
    environ = os.environ | {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "--tb=line", *tests]
    ended = subprocess.run(
        command, cwd=place, env=environ, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )
    return ended.returncode, (ended.stdout + ended.stderr)[-1500:]


def fate(place: Path, mutant: Mutant) -> Fate:
    mutate(copy_of_the_tree(place), mutant)
    began = time.monotonic()
    code, words = pytest_in(place, mutant.tests)
    return Fate(mutant.guard, code, words, round(time.monotonic() - began, 1))


def judge(fates: Sequence[Fate]) -> None:
    """Failed when one of them survived, or its tests could not run."""
    for one in fates:
        check(one.code in (ALL_PASSED, SOME_FAILED), "tests could not run", guard=one.guard, words=one.words)
    alive = [one.guard for one in fates if one.code == ALL_PASSED]
    check(not alive, "mutants live", alive=alive)


def run(case: Case) -> Figures:
    chosen = MUTANTS[: case.n]
    green = copy_of_the_tree(case.directory / "unchanged")
    every = sorted({test for mutant in chosen for test in mutant.tests})
    with ThreadPoolExecutor(AT_ONCE) as pool:
        unchanged = pool.submit(pytest_in, green, every)
        places = [case.directory / str(number) for number in range(len(chosen))]
        fates = list(pool.map(fate, places, chosen))
        code, words = unchanged.result()
    check(code == ALL_PASSED, "the tests are red without any mutant", exit_code=code, words=words)
    judge(fates)
    return {"killed": len(fates), "slowest_s": max(one.seconds for one in fates), "tests": len(every)}


def control(case: Case) -> Figures:
    """A change that takes no guard away is not called killed."""
    harmless = Mutant("none", "chatnet/core/text.py", "MARKS_IN_TEXT = 4", "MARKS_IN_TEXT = 4 + 0", MUTANTS[8].tests)
    judge([fate(case.directory / "harmless", harmless)])
    return {}


if __name__ == "__main__":
    main(sys.modules[__name__])
