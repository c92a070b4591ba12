"""The page for newcomers: done as it says, in a project of its own, it works."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "offline.md").read_text(encoding="utf-8")
INSTALLED = any(one.name == "trialogue" for one in entry_points(group="pytest11"))


def files() -> dict[str, str]:
    """What the page has its reader save; a block without a name goes on."""
    found: dict[str, str] = {}
    name = ""
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        first = re.match(r"# (\w+\.py)\n", block)
        name = first[1] if first else name
        found[name] = f"{found[name]}\n\n{block}" if name in found else block
    return found


def run(project: Path, *command: str) -> str:
    """Run Python there, and return what it says."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, source in files().items():
        (tmp_path / name).write_text(source, encoding="utf-8")
    return tmp_path


def test_all_of_it_passes_and_fails_as_the_page_says(project: Path) -> None:
    """In few processes, for each takes its time to start."""
    plugin = [] if INSTALLED else ["-p", "pytest_trialogue"]
    pytest_q = ("-m", "pytest", "-q", *plugin, "-p", "no:trio", "-p", "no:anyio")
    strict = ("--strict-markers", "-W", "error")

    assert run(project, "record_talk.py") == ""
    everything = run(project, *pytest_q, *strict)
    assert re.search(r"^12 passed", everything, re.MULTILINE), everything

    shop = project / "shop.py"
    shop.write_text(
        shop.read_text().replace("You give money back.", "You keep the money.")
    )
    changed = run(project, *pytest_q, "test_talk.py", "test_orders.py", "--trio-seed=3")
    (shown,) = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in shown.splitlines():
        assert line.strip() in changed
    assert re.search(r"^1 failed, 1 passed", changed, re.MULTILINE), changed
