"""The documents name files, tests, functions and settings that exist, and the tree has every module."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatnet.host.options import ProgramOptions
from chatnet.peer.options import PeerOptions
from chatnet.registry.options import RegistryOptions

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "chatnet"  # `core/text.py` is short for `chatnet/core/text.py`
HISTORY = {"benchmarks.md", "campaigns.md"}  # they name files as they were called at the time
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
DOCUMENTS += sorted(path for path in (ROOT / "docs").glob("*.md") if path.name not in HISTORY)
ARCHITECTURE = ROOT / "docs" / "architecture.md"
NO_PATHS = {"chatnet/1"}  # the protocol
NOT_OURS = {"Deferred.fromCoroutine"}

QUOTED = re.compile(r"`([^`\n]+)`")
LINKED = re.compile(r"\]\(([^)#\s]+)")
PATH = re.compile(r"[\w.*/-]+")
FILE = re.compile(r"[\w.*/-]+\.(?:py|md|c|toml|json|jsonl|service)")


def folders(place: Path) -> set[str]:
    return {path.name for path in place.iterdir() if path.is_dir() and path.name not in (".git", ".venv")}


FOLDERS = folders(ROOT) | folders(PACKAGE)


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def named(text: str) -> Iterator[str]:
    """The paths in backticks, without the test behind ``::``."""
    for quoted in QUOTED.findall(text):
        path = quoted.partition("::")[0]
        in_tree = "/" in path and path.partition("/")[0] in FOLDERS and PATH.fullmatch(path)
        if (in_tree or FILE.fullmatch(path)) and path[0] not in "/~" and path not in NO_PATHS and "NN" not in path:
            yield path


def exists(path: str, beside: Path) -> bool:
    return any(any(place.glob(path.rstrip("/"))) for place in (ROOT, PACKAGE, beside))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_in_backticks_exists(document: Path) -> None:
    paths = sorted(set(named(text_of(document))))
    assert [path for path in paths if not exists(path, document.parent)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_leads_there(document: Path) -> None:
    links = sorted(set(LINKED.findall(QUOTED.sub("", text_of(document)))))
    local = [link for link in links if not re.match(r"[a-z]+:|\.\./\.\./", link)]  # not to a page of the repository
    assert [link for link in local if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_is_named_exists(document: Path) -> None:
    tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text_of(document))
    assert [name for path, name in tests if f"def {name}(" not in text_of(ROOT / path)] == []


# --- architecture.md ----------------------------------------------------------------------------


def in_the_tree(text: str) -> list[str]:
    """The modules in the tree of ``architecture.md``: folders by their indentation, modules below."""
    tree = text.partition("```\nchatnet/\n")[2].partition("```")[0]
    found: list[str] = []
    place: list[str] = []
    for line in tree.splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2 - 1
        if name.endswith("/"):
            place = [*place[:depth], name.rstrip("/")]
        else:
            found.append("/".join([*place[:depth], name]))
    return found


def functions_of(path: Path) -> set[str]:
    """``function``, ``Class`` and ``Class.method`` of a module."""
    found: set[str] = set()
    for node in ast.parse(text_of(path)).body:
        if isinstance(node, ast.ClassDef):
            kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
            found |= {node.name} | {f"{node.name}.{item.name}" for item in node.body if isinstance(item, kinds)}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
    return found


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
FUNCTIONS = {str(path.relative_to(PACKAGE)): functions_of(path) for path in MODULES}


def test_the_tree_has_every_module_once() -> None:
    assert sorted(in_the_tree(text_of(ARCHITECTURE))) == sorted(FUNCTIONS)


def test_every_function_of_the_walks_is_where_they_say() -> None:
    text = " ".join(text_of(ARCHITECTURE).split())
    pairs = re.findall(r"`([a-z_/]+\.py)` `(\w+(?:\.\w+)?)`", text)
    assert len(pairs) > 60
    assert [(path, name) for path, name in pairs if name not in FUNCTIONS.get(path, ())] == []
    methods = set(re.findall(r"`([A-Z]\w+\.[a-z_]\w*)`", text))
    assert methods - NOT_OURS - set().union(*FUNCTIONS.values()) == set()


# --- settings -----------------------------------------------------------------------------------


def test_every_environment_variable_is_in_the_readme() -> None:
    used = {name for path in MODULES for name in re.findall(r"\bCHATNET_[A-Z_]+\b", text_of(path))}
    listed = set(re.findall(r"^\| `(CHATNET_[A-Z_]+)` \|", text_of(ROOT / "README.md"), re.MULTILINE))
    assert listed == used


@pytest.mark.parametrize("options", [PeerOptions, RegistryOptions], ids=lambda options: options.section)
def test_every_key_of_the_configuration_is_in_its_example(options: type[ProgramOptions]) -> None:
    example = text_of(ROOT / "etc" / "config.toml").partition(f"[{options.section}]")[2]
    section = example.partition("\n[")[0]
    assert sorted(re.findall(r"^#(\w+) = ", section, re.MULTILINE)) == sorted(options.file_keys)
