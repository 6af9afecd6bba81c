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
        (
            "tests/core/test_link_policy.py",
            "tests/village/test_liveness.py::test_a_half_open_link_gives_way_to_a_proven_dial",
        ),
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
        "somebody known takes the place of a stranger",
        "chatnet/core/link_places.py",
        "victim = self._victim(who) if _SHARED.issuperset(lacking) else None",
        "victim = None",
        ("tests/village/test_places.py",),
    ),
    Mutant(
        "strangers do not take the places of known sources",
        "chatnet/core/admission.py",
        "        if host in self._known:",
        "        if False:",
        ("tests/core/test_admission.py", "tests/net/test_entrance.py"),
    ),
    Mutant(
        "frames that do nothing have a rate",
        "chatnet/net/link.py",
        "        if rest_seconds > 0:",
        "        if False:",
        ("tests/net/test_link.py::test_frames_that_do_nothing_hold_the_reading_up",),
    ),
    Mutant(
        "the number of an entry counts on its link only",
        "chatnet/core/directory/roster.py",
        "told = known.seq if known is not None and peer in self._told else 0",
        "told = known.seq if known is not None else 0",
        ("tests/core/directory/test_roster.py::test_a_number_orders_the_entries_of_one_link_and_one_snapshot_only",),
    ),
    Mutant(
        "the last names are for networks that have none",
        "chatnet/core/directory/directory.py",
        "if left <= self._limits.claims // NAMES_KEPT_PART and network",
        "if left < 0 and network",
        ("tests/core/directory/test_directory.py", "tests/registry/test_service.py"),
    ),
    Mutant(
        "a network has a sum of its own",
        "chatnet/core/budgets.py",
        "Level.NETWORK: 2, Level.SITE: 4",
        "Level.NETWORK: 256, Level.SITE: 65536",
        ("tests/core/test_admission.py", "tests/core/test_source_rates.py", "tests/core/test_link_places.py"),
    ),
    Mutant(
        "a foreign page reads no metrics",
        "chatnet/host/metrics.py",
        """quiet_site({b"metrics": Page()}, own_host)""",
        """quiet_site({b"metrics": Page()})""",
        ("tests/host/test_metrics.py::test_a_foreign_page_is_told_nothing",),
    ),
    Mutant(
        "no core dump",
        "chatnet/host/core_dumps.py",
        "prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)",
        "prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)",
        ("tests/host/test_core_dumps.py",),
    ),
    Mutant(
        "what strangers send first is bounded",
        "chatnet/peer/messages/inbox.py",
        "        elif says and self._roster.is_stranger(link.peer):\n",
        "        elif says and self._roster is None:\n",
        ("tests/village/test_requests.py::test_somebody_of_the_list_is_shown_at_once_and_counted_until_answered",),
    ),
    Mutant(
        "who stands in no list makes a request",
        "chatnet/core/directory/roster.py",
        "        return Standing.LISTED if peer in self.listed or peer in self._pinned_name else Standing.REQUESTER\n",
        "        return Standing.LISTED\n",
        ("tests/village/test_requests.py::test_a_stranger_makes_a_request_and_nothing_else_that_is_told",),
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
        "return REPLACEMENT if category in HIDDEN or c in BLANK else c",
        "return REPLACEMENT if (category in HIDDEN and c not in BIDI) or c in BLANK else c",
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
        "a lost key is not replaced",
        "chatnet/net/identity.py",
        "if database is not None and os.path.lexists(database):",
        "if False:",
        ("tests/net/test_identity.py::test_a_key_that_is_gone_is_not_replaced_while_its_history_is_there",),
    ),
    Mutant(
        "a removed lock file lets no second process in",
        "chatnet/host/profile_lock.py",
        "taken += self._lock_directory()",
        "taken += []",
        ("tests/host/test_profile_lock.py::test_a_lock_file_that_was_removed_lets_no_second_process_in",),
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
        "an empty folder of an offer is empty",
        "chatnet/core/transfer/offers.py",
        "if not self.summary.are_empty(paths):",
        "if False:",
        ("tests/core/transfer/test_offers.py::test_an_empty_folder_is_empty",),
    ),
    Mutant(
        "unanswered offers are charged to their sums",
        "chatnet/peer/transfers/held_offers.py",
        "self._budgets.offers.take(holder, who, size_bytes)",
        "None",
        ("tests/peer/transfers/test_held_offers.py::test_what_does_not_fit_is_declined_when_its_page_comes",),
    ),
    Mutant(
        "an offer whose next page is late is dropped",
        "chatnet/peer/transfers/offers.py",
        "            asker.overdue = asker.assembly.fid\n            self._give_up(asker)\n",
        "            asker.overdue = b''\n",
        ("tests/peer/transfers/test_held_offers.py::test_an_offer_whose_next_page_never_comes_is_dropped",),
    ),
    Mutant(
        "offers that are declined unasked leave so many rows a minute",
        "chatnet/peer/transfers/offers.py",
        "if self._told_rate.take(peer, self._clock.seconds()):",
        "if True:",
        ("tests/peer/transfers/test_transfers.py::test_of_offers_that_a_rule_refuses_so_many_are_told_a_minute",),
    ),
    Mutant(
        "so many who left the list are remembered",
        "chatnet/core/directory/roster.py",
        "if len(self._remembered) > PEOPLE_REMEMBERED:",
        "if False:",
        ("tests/core/directory/test_roster.py::test_so_many_are_remembered_and_the_longest_gone_goes",),
    ),
    Mutant(
        "what other transfers may still write is not free",
        "chatnet/peer/files/free_space.py",
        "others, mine = self._account.promised(self._device, self), self._room()",
        "others, mine = Room(0, 0), self._room()",
        ("tests/peer/files/test_free_space.py::test_transfers_together_never_go_below_the_reserve",),
    ),
    Mutant(
        "an old entry of the list changes nothing",
        "chatnet/core/directory/roster.py",
        "        if self._is_older(entry):\n            return\n",
        "",
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
        "the digits that were compared are those of the key that is verified",
        "chatnet/peer/trust/keys.py",
        "if key != compared:",
        "if False:",
        ("tests/village/test_decisions.py::test_sixty_digits_of_one_key_do_not_verify_the_next_one",),
    ),
    Mutant(
        "an id that was shown names no other offer",
        "chatnet/peer/transfers/offers.py",
        "return fid in self._table or self._table.former_peer(fid) is not None",
        "return fid in self._table",
        ("tests/village/test_decisions.py::test_a_fid_that_was_shown_never_names_another_offer",),
    ),
    Mutant(
        "a key answers what has stood on the screen",
        "chatnet/console/shown.py",
        "return self.unsettled(now).isdisjoint(places)",
        "return True",
        ("tests/console/test_decisions.py",),
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
    Mutant(
        "of a long message not all rows are laid out",
        "chatnet/console/widgets/text.py",
        "islice(rows, limits.MESSAGE_ROWS)",
        "islice(rows, None)",
        ("tests/console/widgets/test_text.py::test_the_rows_that_are_left_out_are_counted_and_the_end_stays",),
    ),
    Mutant(
        "drawing is spaced",
        "chatnet/console/app.py",
        "wait = max(limits.DRAW_SECONDS, self._loop.wait_seconds())",
        "wait = limits.DRAW_SECONDS",
        ("tests/console/test_console.py::test_drawing_takes_a_fifth_of_the_time_and_half_for_keys",),
    ),
    Mutant(
        "events are told in shares of a turn",
        "chatnet/host/event_feed.py",
        "if self._clock.seconds() - began > TURN_SHARE_SECONDS:",
        "if False:",
        ("tests/host/test_event_feed.py::test_events_that_are_costly_to_make_are_made_a_few_in_each_turn",),
    ),
    Mutant(
        "an export is harmless in a terminal",
        "chatnet/peer/messages/search_and_export.py",
        'json_escaped(json.dumps(fields, ensure_ascii=False, separators=(",", ":")))',
        'json.dumps(fields, ensure_ascii=False, separators=(",", ":"))',
        ("tests/village/test_lasting.py::test_export_writes_all_and_overwrites_nothing",),
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
