"""The arrows between the rooms: who may import whom (docs/architecture.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "chatnet").rglob("*.py"))

# core: values in, values out. No file, socket, clock or random.
CORE_LIBRARY = (
    {
        "__future__",
        "abc",
        "array",
        "base64",
        "bisect",
        "collections",
        "contextlib",
        "copy",
        "dataclasses",
        "difflib",
        "enum",
        "errno",
    }
    | {"functools", "hashlib", "heapq", "hmac", "ipaddress", "itertools", "math", "operator", "posixpath", "re"}
    | {"string", "struct", "types", "typing", "unicodedata", "zlib"}
)
CORE_PACKAGES = frozenset({"msgspec", "cryptography", "wcwidth", "blake3"})

# What each room may import of ours beside itself.  The longest name that fits a module is its room, so
# `chatnet.peer` itself holds only what stands directly in chatnet/peer.  `chatnet.programs` sees everything.
CORE = ("chatnet.core",)
SHELL = (*CORE, "chatnet.net", "chatnet.host")
PEER_STORE = (*SHELL, "chatnet.peer.store")
PEER_FILES = (*PEER_STORE, "chatnet.peer.files")
PEER_TRANSFERS = (*PEER_FILES, "chatnet.peer.directory", "chatnet.peer.transfers")
PEER_LINKS = (*PEER_TRANSFERS, "chatnet.peer.links")
PEER_MESSAGES = (*PEER_LINKS, "chatnet.peer.messages")
PEER_TRUST = (*PEER_MESSAGES, "chatnet.peer.trust")
FRONT = (*CORE, "chatnet.peer.api")
CONSOLE_TABLES = (
    *FRONT,
    "chatnet.console.shown",
    "chatnet.console.people_order",
    "chatnet.console.model",
    "chatnet.console.keymap",
    "chatnet.console.commands",
    "chatnet.console.disk",
)
CONSOLE_PANES = (*CONSOLE_TABLES, "chatnet.console.widgets", "chatnet.console.panes")
CONSOLE_OVERLAYS = (*CONSOLE_PANES, "chatnet.console.overlays")
CONSOLE_WINDOW = (
    *CONSOLE_OVERLAYS,
    "chatnet.console.coach",
    "chatnet.console.window",
    "chatnet.console.completion",
)

TERMINAL_OUTPUT = "chatnet.host.local_output"  # the one thing that a console wants of the machine itself

ROOMS: dict[str, tuple[str, ...]] = {
    "chatnet.core": CORE,
    "chatnet.net": (*CORE, "chatnet.net"),
    "chatnet.host": SHELL,
    "chatnet.registry": (*SHELL, "chatnet.registry"),
    "chatnet.peer.api": CORE,
    "chatnet.peer.notices": CORE,
    "chatnet.peer.metering": FRONT,
    "chatnet.peer.store": PEER_STORE,
    "chatnet.peer.files": PEER_FILES,
    "chatnet.peer.directory": (*PEER_STORE, "chatnet.peer.directory"),
    "chatnet.peer.transfers": PEER_TRANSFERS,
    "chatnet.peer.links": PEER_LINKS,
    "chatnet.peer.messages": PEER_MESSAGES,
    "chatnet.peer.trust": PEER_TRUST,
    "chatnet.peer": (*PEER_TRUST, "chatnet.peer"),
    "chatnet.console.shown": CORE,
    "chatnet.console.people_order": (*CORE, "chatnet.console.shown"),
    "chatnet.console.model": (*CORE, "chatnet.console.people_order", "chatnet.console.shown"),
    "chatnet.console.keymap": CORE,
    "chatnet.console.commands": CORE,
    "chatnet.console.disk": (*CORE, "chatnet.console.commands"),
    "chatnet.console.alerts": (*CORE, "chatnet.console.widgets"),
    "chatnet.console.terminal": (*CORE, TERMINAL_OUTPUT),
    "chatnet.console.coach": CONSOLE_TABLES,
    "chatnet.console.completion": CONSOLE_TABLES,
    "chatnet.console.widgets": (*CORE, "chatnet.console.widgets"),
    "chatnet.console.panes": CONSOLE_PANES,
    "chatnet.console.overlays": CONSOLE_OVERLAYS,
    "chatnet.console.window": CONSOLE_WINDOW,
    "chatnet.console.actions": (*CONSOLE_WINDOW, "chatnet.console.actions"),
    "chatnet.console": (*FRONT, TERMINAL_OUTPUT, "chatnet.console"),
    "chatnet.programs": ("chatnet",),
}

# A module that no test needs to import, and why.
WITHOUT_TESTS = {
    "chatnet.peer.api": "an interface",
    "chatnet.net.interfaces": "the machine's own interfaces",
    "chatnet.programs.registry": "tried by tests/live as twistd starts it",
    "chatnet.programs.peer": "tried by tests/live as twistd starts it",
    "chatnet.core.errors": "classes without behaviour",
    "chatnet.core.events": "plain data",
    "chatnet.core.ports": "numbers",
}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(source: str, module: str = "") -> Iterator[tuple[int, str]]:
    """``(line, whole name)`` of every import, also inside functions and ``if TYPE_CHECKING``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module.rsplit(".", node.level)[0] + "." if node.level else ""
            yield from ((node.lineno, f"{package}{node.module or ''}.{alias.name}") for alias in node.names)


def within(name: str, allowed: str) -> bool:
    return name == allowed or name.startswith(f"{allowed}.")


def room_of(module: str) -> str | None:
    """The room with the longest name that ``module`` is or lies in."""
    return max((room for room in ROOMS if within(module, room)), key=len, default=None)


def faults(source: str, module: str) -> list[str]:
    """What ``source`` may not do as ``module``, with its lines."""
    found: list[str] = []
    room = room_of(module)
    if room is None:
        return found
    for line, name in imports_of(source, module):
        top = name.split(".")[0]
        if top == "chatnet":
            if name != "chatnet.__version__" and not any(within(name, allowed) for allowed in ROOMS[room]):
                found.append(f"{module}:{line} may not import {name}")
        elif room == "chatnet.core" and top not in CORE_LIBRARY | CORE_PACKAGES:
            found.append(f"{module}:{line} may not import {name}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_no_forbidden_arrow(path: Path) -> None:
    assert faults(path.read_text(), module_of(path)) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("chatnet.core.text", "import time"),
        ("chatnet.core.text", "import os"),
        ("chatnet.core.text", "from twisted.internet import defer"),
        ("chatnet.core.text", "from chatnet.net import link"),
        ("chatnet.core.directory.roster", "import random"),
        ("chatnet.net.link", "from chatnet.peer.api import PeerApi"),
        ("chatnet.net.link", "from chatnet.host.paths import Roots"),
        ("chatnet.registry.service", "import chatnet.peer.directory.registry_address"),
        ("chatnet.registry.tap", "from chatnet.console.app import Console"),
        ("chatnet.peer.service", "def f():\n    from chatnet.registry import options"),
        ("chatnet.peer.service", "from chatnet.console.app import Console"),
        ("chatnet.peer.files.download", "from chatnet.peer.transfers.table import TransferTable"),
        ("chatnet.peer.store.pins", "from chatnet.peer.directory.people import People"),
        ("chatnet.peer.directory.people", "from chatnet.peer.links.chat_links import ChatLinks"),
        ("chatnet.peer.transfers.manager", "from chatnet.peer.messages.outbox import Outbox"),
        ("chatnet.peer.messages.outbox", "from chatnet.peer.trust.keys import Trust"),
        ("chatnet.peer.trust.keys", "from chatnet.peer.node import Node"),
        ("chatnet.console.app", "from chatnet.peer.service import PeerService"),
        ("chatnet.console.app", "from chatnet.host.logging import ProgramLog"),
        ("chatnet.console.app", "from ..net import logs"),
        ("chatnet.console.panes.bars", "from chatnet.console.actions.base import ActionBase"),
        ("chatnet.console.widgets.text", "from chatnet.console.model import ConsoleModel"),
        ("chatnet.console.overlays.help", "from chatnet.console.window import Window"),
    ],
)
def test_a_forbidden_arrow_is_seen(module: str, source: str) -> None:
    assert len(faults(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("chatnet.core.text", "from posixpath import splitext"),
        ("chatnet.console.app", "import urwid\nfrom chatnet.peer.api import PeerApi\nfrom chatnet.core import text"),
        ("chatnet.host.options", "from chatnet import __version__"),
        ("chatnet.programs.peer", "from chatnet.console.app import Console"),
        ("chatnet.peer.node", "from chatnet.peer.trust.keys import Trust"),
    ],
)
def test_a_good_arrow_is_let_through(module: str, source: str) -> None:
    assert faults(source, module) == []


def test_every_module_has_a_room() -> None:
    assert [module for module in map(module_of, SOURCES) if module != "chatnet" and room_of(module) is None] == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_exists(room: str) -> None:
    place = ROOT.joinpath(*room.split("."))
    assert place.is_dir() or place.with_suffix(".py").is_file()


def test_the_plugin_file_imports_nothing_of_ours_but_what_notes_hangups() -> None:
    plugin = ROOT / "twisted" / "plugins" / "chatnet_plugins.py"
    names = {name for _, name in imports_of(plugin.read_text())}
    assert names == {"typing.Any", "twisted.application.service.ServiceMaker", "chatnet.host.hangups.note_hangups"}
    assert not (plugin.parent / "__init__.py").exists()
    assert not (plugin.parent.parent / "__init__.py").exists()


def test_what_the_plugin_file_imports_first_imports_nothing_else() -> None:
    """It is there so that SIGHUP is noted before anything that takes its time."""
    names = {name.partition(".")[0] for _, name in imports_of((ROOT / "chatnet/host/hangups.py").read_text())}
    assert names <= {"__future__", "collections", "os", "signal", "types", "typing"}


def direct() -> set[str]:
    """Our modules that some test imports."""
    paths = (path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))
    return {name for path in paths for _, name in imports_of(path.read_text())}


def reached() -> set[str]:
    """Those, and what they import in turn: what runs at all while the tests do."""
    imported = {module_of(path): {name for _, name in imports_of(path.read_text())} for path in SOURCES}
    seen: set[str] = set()
    waiting = direct()
    while waiting:
        name = waiting.pop()
        for module in imported:
            if within(name, module) and module not in seen:
                seen.add(module)
                waiting |= imported[module]
    return seen


DIRECT, REACHED = direct(), reached()


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if path.stem != "__init__" and module_of(path) not in WITHOUT_TESTS],
    ids=module_of,
)
def test_each_module_is_tried(path: Path) -> None:
    """A rule of core by a test of its own; the shells at least by a test of what they belong to."""
    module = module_of(path)
    if within(module, "chatnet.core"):
        assert any(within(name, module) for name in DIRECT)
    else:
        assert module in REACHED
