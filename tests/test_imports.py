"""The arrows between the rooms: who may import whom (docs/architecture.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "chatnet").rglob("*.py"))

# core: values in, values out. No file, socket, clock or random; os only for os.path's words.
CORE_LIBRARY = (
    {"__future__", "abc", "base64", "bisect", "collections", "contextlib", "copy", "dataclasses", "enum"}
    | {"functools", "hashlib", "heapq", "hmac", "ipaddress", "itertools", "math", "operator", "os", "re"}
    | {"string", "struct", "types", "typing", "unicodedata"}
)
CORE_PACKAGES = frozenset({"msgspec", "cryptography", "wcwidth", "blake3"})

# What each room may have of ours. The tap modules put a program together and see everything.
ROOMS = {
    "chatnet.core": ("chatnet.core",),
    "chatnet.net": ("chatnet.core", "chatnet.net"),
    "chatnet.registry": ("chatnet.core", "chatnet.net", "chatnet.registry"),
    "chatnet.peer": ("chatnet.core", "chatnet.net", "chatnet.peer"),
    "chatnet.console": ("chatnet.core", "chatnet.peer.api", "chatnet.console"),
    "chatnet.demo": ("chatnet.core", "chatnet.net", "chatnet.peer"),
}

# A module that no test needs to import, and why.
WITHOUT_TESTS = {
    "__init__": "empty",
    "api": "an interface",
    "interfaces": "interfaces",
    "tap": "tried by tests/live as twistd starts it",
    "errors": "classes without behaviour",
    "events": "plain data",
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


def faults(source: str, module: str) -> list[str]:
    """What ``source`` may not do as ``module``, with its lines."""
    found: list[str] = []
    room = next((room for room in ROOMS if within(module, room)), None)
    if room is None or module.endswith(".tap"):
        return found
    for line, name in imports_of(source, module):
        top = name.split(".")[0]
        if top == "chatnet":
            if name != "chatnet.__version__" and not any(within(name, allowed) for allowed in ROOMS[room]):
                found.append(f"{module}:{line} may not import {name}")
        elif room == "chatnet.core" and top not in CORE_LIBRARY | CORE_PACKAGES:
            found.append(f"{module}:{line} may not import {name}")
    if room == "chatnet.core":
        found += [
            f"{module}:{node.lineno} may not use os.{node.attr}"
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "os"
            and node.attr != "path"
        ]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_no_forbidden_arrow(path: Path) -> None:
    assert faults(path.read_text(), module_of(path)) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("chatnet.core.text", "import time"),
        ("chatnet.core.text", "import os\nos.getcwd()"),
        ("chatnet.core.text", "from twisted.internet import defer"),
        ("chatnet.core.text", "from chatnet.net import link"),
        ("chatnet.net.link", "from chatnet.peer.api import PeerApi"),
        ("chatnet.registry.service", "import chatnet.peer.address"),
        ("chatnet.peer.service", "def f():\n    from chatnet.registry import options"),
        ("chatnet.peer.service", "from chatnet.console.app import Console"),
        ("chatnet.console.app", "from chatnet.peer.service import PeerService"),
        ("chatnet.console.app", "from chatnet.net.logs import ProgramLog"),
        ("chatnet.console.app", "from ..net import logs"),
    ],
)
def test_a_forbidden_arrow_is_seen(module: str, source: str) -> None:
    assert len(faults(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("chatnet.core.text", "import os\nos.path.splitext('a')"),
        ("chatnet.console.app", "import urwid\nfrom chatnet.peer.api import PeerApi\nfrom chatnet.core import text"),
        ("chatnet.net.options", "from chatnet import __version__"),
        ("chatnet.peer.tap", "from chatnet.console.app import Console"),
    ],
)
def test_a_good_arrow_is_let_through(module: str, source: str) -> None:
    assert faults(source, module) == []


def test_every_room_is_known() -> None:
    packages = {module_of(path) for path in (ROOT / "chatnet").glob("*/__init__.py")}
    assert packages <= set(ROOMS)


def test_the_plugin_file_imports_nothing_of_ours() -> None:
    plugin = ROOT / "twisted" / "plugins" / "chatnet_plugins.py"
    assert [name for _, name in imports_of(plugin.read_text())] == ["twisted.application.service.ServiceMaker"]
    assert not (plugin.parent / "__init__.py").exists()
    assert not (plugin.parent.parent / "__init__.py").exists()


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


@pytest.mark.parametrize("path", [path for path in SOURCES if path.stem not in WITHOUT_TESTS], ids=module_of)
def test_each_module_is_tried(path: Path) -> None:
    """A rule of core by a test of its own; the shells at least by a test of what they belong to."""
    module = module_of(path)
    if within(module, "chatnet.core"):
        assert any(within(name, module) for name in DIRECT)
    else:
        assert module in REACHED
