"""What the README promises is what the project does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from quality.rows import load_rows

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
START = "python3 -m venv .venv && .venv/bin/pip install -q 'nox[uv]' && .venv/bin/nox"


def blocks(language: str) -> list[str]:
    """The README's fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_both_commands_start_from_nothing_but_python_and_pip() -> None:
    assert blocks("console") == [f"{START} -s demo\n", f"{START}\n"]


def test_ci_runs_the_test_command_of_the_readme() -> None:
    """The script takes the command by a pattern, which has to find exactly that one."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    found = re.search(r"sed -n 's/(\^.+?\$)/", script)
    assert found is not None
    pattern = found[1].replace(r"\(", "(").replace(r"\)", ")")

    assert re.findall(pattern, README, re.MULTILINE) == [START]


def test_the_example_is_one_program() -> None:
    (example,) = blocks("python")

    compile(example, "README.md", "exec")


def test_the_interpreters_of_the_classifiers_start_at_the_required_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    versions = [
        found[1]
        for line in project["project"]["classifiers"]
        if (found := re.search(r"Python :: (3\.\d+)", line))
    ]

    assert project["project"]["requires-python"] == f">={versions[0]}"
    assert versions == ["3.11", "3.12", "3.13", "3.14"]


@pytest.mark.parametrize("kind", ["covered", "mutated"])
def test_an_expected_row_stands_once(kind: str) -> None:
    expected = getattr(load_rows(ROOT), kind)

    assert len(expected) == len(set(expected))
