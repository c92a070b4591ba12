"""The page of rules and the tests named after them are about the same rules."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs" / "server_rules.md"


def rules() -> dict[int, str]:
    """Return the rules of the page, by number."""
    found = re.findall(
        r"^(\d+)\. (.*(?:\n {2,}.*)*)", PAGE.read_text("utf-8"), re.MULTILINE
    )
    return {int(number): " ".join(text.split()) for number, text in found}


def covered() -> dict[int, list[str]]:
    """Return the names of the tests of each rule."""
    named: dict[int, list[str]] = {}
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                number = re.match(r"test_rule_(\d+)_", node.name)
                if number:
                    named.setdefault(int(number[1]), []).append(node.name)
    return named


def test_each_of_the_68_rules_has_a_test() -> None:
    assert list(rules()) == list(range(1, 69))
    assert sorted(covered()) == list(rules())
