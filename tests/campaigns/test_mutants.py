"""The list of mutants of C19 fits the present tree: without this, it would rot between two runs of the campaign."""

from __future__ import annotations

import ast

import pytest

from tests.campaigns.c19_mutants import MUTANTS, ROOT, Mutant


def names_in(path: str) -> set[str]:
    """The names of the test functions in a file."""
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guard)
def test_the_text_of_a_mutant_stands_exactly_once_in_its_file(mutant: Mutant) -> None:
    assert (ROOT / mutant.path).read_text().count(mutant.text) == 1


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guard)
def test_the_tests_of_a_mutant_exist(mutant: Mutant) -> None:
    assert mutant.tests
    for test in mutant.tests:
        path, _, name = test.partition("::")
        assert (ROOT / path).is_file()
        assert not name or name in names_in(path)


def test_a_test_that_does_not_exist_is_noticed() -> None:
    path = "tests/campaigns/test_mutants.py"
    assert "test_a_test_that_does_not_exist_is_noticed" in names_in(path)
    assert "test_that_was_renamed" not in names_in(path)
