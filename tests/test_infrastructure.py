"""The checks that hold the tests: behaviour rows, marks, mutants and their runners.

Each test builds a small project of its own and runs the real runner on it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import attrs
import pytest

from quality.rows import UnknownRowError, load_rows

TESTS = Path(__file__).parent
ROOT = TESTS.parent

PROJECT = {
    "pyproject.toml": """
        [tool.pytest]
        strict = true
        testpaths = ["tests"]
        pythonpath = ["tests", "."]
        markers = ["behaviour(*ids): rows"]
        """,
    "tests/behaviours.toml": """
        [expected]
        covered = ["A1"]
        mutated = ["A1"]
        [groups.A.rows]
        A1 = "Two and two are four."
        A2 = "Sums are positive."
        [groups.B.rows]
        B1 = "Nothing is divided by zero."
        """,
    "sums.py": """
        class Sum:
            def __init__(self, *terms):
                super().__init__()
                self.terms = terms

            @property
            def total(self):
                return sum(self.terms) + 0
        """,
    "tests/mutants.py": """
        from quality.mutation import Patch, mutant

        @mutant("A1", "sums are one too large")
        def one_too_large(patch: Patch) -> None:
            patch.source("sums:Sum.total", "+ 0", "+ 1")
        """,
    "tests/test_sums.py": """
        import pytest
        from sums import Sum

        @pytest.mark.behaviour("A1")
        def test_two_and_two():
            assert Sum(2, 2).total == 4
        """,
}


@attrs.frozen
class Project:
    """A throw-away project with one module, one mutant and one test."""

    root: Path

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(dedent(text))

    def run(self, program: str, *arguments: str) -> tuple[int, str]:
        """The exit status and the output of one of the runners."""
        script = TESTS / "quality" / f"{program}.py"
        return self._python(str(script), "--root", str(self.root), *arguments)

    def pytest(self, *arguments: str) -> tuple[int, str]:
        """The exit status and the output of pytest."""
        return self._python("-m", "pytest", "-p", "no:cacheprovider", *arguments)

    def _python(self, *arguments: str) -> tuple[int, str]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(TESTS),
            "PYTEST_PLUGINS": "quality.plugin",
            # Nothing else is needed, and loading it takes most of the time.
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    for path, text in PROJECT.items():
        made.write(path, text)
    return made


def test_a_covered_row_satisfies_the_runner(project: Project) -> None:
    status, output = project.run("behaviours", "A1")

    assert status == 0, output
    assert "1 of 1 behaviours are covered" in output


def test_an_unmarked_row_is_named(project: Project) -> None:
    status, output = project.run("behaviours", "A")

    assert status == 1
    assert "UNCOVERED A2: Sums are positive." in output
    assert "no passing test covers A2" in output


def test_a_failing_or_skipped_test_covers_nothing(project: Project) -> None:
    project.write(
        "tests/test_more.py",
        """
        import pytest

        @pytest.mark.behaviour("A2")
        def test_failing():
            assert False

        @pytest.mark.behaviour("B1")
        def test_skipped():
            pytest.skip("not here")
        """,
    )

    status, output = project.run("behaviours", "A2", "B")

    assert status == 1
    assert "(failed tests/test_more.py::test_failing)" in output
    assert "(skipped tests/test_more.py::test_skipped)" in output
    assert "no passing test covers A2 B1" in output


def test_without_arguments_only_expected_rows_are_owed(project: Project) -> None:
    status, output = project.run("behaviours")

    assert status == 0, output
    assert "1 of 3 behaviours are covered" in output
    assert "not yet B1: Nothing is divided by zero." in output


def test_an_unknown_row_is_refused_with_the_groups_there_are(project: Project) -> None:
    status, output = project.run("behaviours", "Z9")

    assert status == 2
    assert "no behaviour 'Z9'" in output
    assert "A, B" in output


def test_a_wrong_mark_fails_the_collection(project: Project) -> None:
    project.write(
        "tests/test_more.py",
        """
        import pytest

        @pytest.mark.behaviour("A7")
        def test_of_no_row():
            pass

        @pytest.mark.behaviour("A1", "A2", "B1", "A1", "A2")
        def test_of_five_rows():
            pass
        """,
    )

    status, output = project.pytest()

    assert status == pytest.ExitCode.USAGE_ERROR
    assert "::test_of_no_row: tests/behaviours.toml has no behaviour 'A7'" in output
    assert "::test_of_five_rows: covers 5 behaviours" in output


def test_a_noticed_mutant_is_killed(project: Project) -> None:
    status, output = project.run("kill")

    assert status == 0, output
    assert "killed     A1   one_too_large" in output
    assert "test_two_and_two: assert 5 == 4" in output


def test_a_surviving_mutant_is_reported(project: Project) -> None:
    project.write(
        "tests/test_sums.py",
        """
        import pytest
        from sums import Sum

        @pytest.mark.behaviour("A1")
        def test_total():
            assert Sum(2, 2).total
        """,
    )

    status, output = project.run("kill", "A1")

    assert status == 1
    assert "SURVIVED   A1   one_too_large" in output
    assert "not killed: one_too_large" in output


def test_a_mutant_is_not_tried_while_its_tests_fail_without_it(
    project: Project,
) -> None:
    project.write("sums.py", "class Sum: pass")

    status, output = project.run("kill")

    assert status == 2
    assert "without a mutant, no passing test covers A1" in output


def test_a_mutant_without_its_target_is_an_error(project: Project) -> None:
    patches = {
        "patch.source('sums:Sum.total', 'x + 0', '')": "'x + 0' 0 times",
        "patch.source('sums:Sum.total', 'return', 'return return')": "no Python",
        "patch.source('sums:Sum.gone', '', '')": "its target is gone",
        "patch.replace('gone:Sum', None)": "its target is gone",
    }
    text = "from quality.mutation import Patch, mutant\n"
    for number, patch in enumerate(patches):
        text += f"""
@mutant("A1", "nothing that is there")
def aims_at_nothing_{number}(patch: Patch) -> None:
    {patch}
"""
    project.write("tests/mutants.py", text)

    status, output = project.run("kill")

    assert status == 1
    for line, complaint in zip(output.splitlines(), patches.values(), strict=False):
        assert line.startswith("NO VERDICT A1   aims_at_nothing_")
        assert complaint in line


def test_a_hanging_test_has_noticed_nothing(project: Project) -> None:
    project.write(
        "tests/mutants.py",
        """
        from quality.mutation import Patch, mutant

        @mutant("A1", "the total never comes")
        def never_comes(patch: Patch) -> None:
            patch.source("sums:Sum.total", "return", "import time; time.sleep(60);")
        """,
    )

    status, output = project.run("kill", "--limit", "1")

    assert status == 1
    assert "NO VERDICT A1   never_comes" in output
    assert "did not end within 1 s" in output


def test_a_row_asked_for_by_its_id_needs_a_mutant(project: Project) -> None:
    status, output = project.run("kill", "A1", "B1")

    assert status == 1
    assert "no mutant for B1" in output


def test_a_replaced_object_is_replaced_where_it_is_used(project: Project) -> None:
    project.write(
        "tests/mutants.py",
        """
        from quality.mutation import Patch, mutant

        @mutant("A1", "initial terms are lost")
        def lost_terms(patch: Patch) -> None:
            patch.source("sums:Sum.__init__", "= terms", "= ()")
            patch.replace("sums:sum", max)
        """,
    )
    project.write("sums.py", "sum = sum\n" + dedent(PROJECT["sums.py"]))

    status, output = project.run("kill")

    assert status == 0, output
    assert "lost_terms" in output


def test_the_rows_of_this_project_are_complete() -> None:
    """No number is missing in a group, and what is expected has a row."""
    rows = load_rows(ROOT)

    for letter, count in zip("SRTHUCAX", (22, 13, 11, 23, 6, 13, 4, 4), strict=True):
        assert rows.select([letter]) == [f"{letter}{n + 1}" for n in range(count)]
    with pytest.raises(UnknownRowError, match="H99"):
        rows.select(["H99"])


def test_the_last_run_is_taken_while_the_tree_is_the_same(project: Project) -> None:
    report = project.root / "last-run.json"
    project.pytest("--behaviours-report", str(report))

    same = project.run("behaviours", "A1", "--last", str(report))
    project.write("tests/test_sums.py", "")
    changed = project.run("behaviours", "A1", "--last", str(report))

    assert same[0] == 0
    assert "no tests ran" not in same[1]
    assert changed[0] == 1
    assert "no tests ran" in changed[1]


def test_a_checker_sees_each_file_once_whatever_the_shares(tmp_path: Path) -> None:
    """And one share that fails fails the run."""
    script = TESTS / "quality" / "shares.py"
    files = [tmp_path / f"{number}.txt" for number in range(7)]
    for number, file in enumerate(files):
        file.write_text("x" * number)
    checker = tmp_path / "checker.py"
    checker.write_text(
        "import pathlib, sys\n"
        "for file in sys.argv[1:]: pathlib.Path(file + '.seen').touch(exist_ok=False)\n"
        "sys.exit(any(file.endswith('6.txt') for file in sys.argv[1:]))\n"
    )

    def run(*given: Path) -> int:
        command: list[str | Path] = [sys.executable, script, sys.executable, checker]
        return subprocess.run([*command, "--", *given], check=False).returncode

    assert run(*files) == 1
    assert len(list(tmp_path.glob("*.seen"))) == 7
    for file in tmp_path.glob("*.seen"):
        file.unlink()
    assert run(*files[:-1]) == 0
