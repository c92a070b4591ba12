"""The example with three agents, a server's tools and two safeguards, and its page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from browsing import in_browser, opened
from pages import Page, read_page

pytest.importorskip("mcp", reason="the MCP server of the example needs the extra")

EXAMPLE = Path(__file__).parents[2] / "examples" / "bookshop.py"
SECONDS = 120
AGENTS = ["agent:Reception", "agent:Clerk", "agent:Cashier"]
LINES = (
    "Reception: One moment.",
    "Clerk: Emma is on shelf 4.",
    "Clerk: The cashier will see to it.",
    '  (refund {"title": "Ulysses", "euros": 30}?)',
    "Cashier: 30 euros for Ulysses are on their way.",
    "  (no_promises: a promise)",
    "Cashier: I cannot be certain.",
)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """What the example printed, and the page that it wrote."""
    page = tmp_path_factory.mktemp("bookshop") / "report.html"
    ended = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE, page],
        stdout=subprocess.PIPE,
        timeout=SECONDS,
        check=True,
        text=True,
    )
    return ended.stdout.splitlines(), page


@pytest.mark.behaviour("G1", "G10", "G23")
def test_each_customer_gets_what_they_should(told: tuple[list[str], Path]) -> None:
    """A server's tool is called, a refund is approved, and a promise is cut short."""
    lines, _ = told
    # What the clerk says, and what the shop is asked, go on beside each other.
    assert sorted(set(LINES) & set(lines)) == sorted(LINES)
    cut = [line for line in lines if line.endswith("[cut]")]
    assert [line.split(":")[0] for line in cut] == ["Cashier"]
    assert lines[-1] == LINES[-1]


def _check(page: Page) -> None:
    assert page.problems == []
    lanes = page.lanes
    assert [name for name in lanes if name.startswith("agent:")] == AGENTS
    counted = {name: len(lanes[name]) for name in lanes if name not in AGENTS}
    # Three turns, all answered; the guardrail, and the approval as asked and as given.
    assert counted == {
        "user": 3,
        "reply": 3,
        "handoffs": 2,
        "tools": 4,
        "connections": 1,
        "notes": 3,
    }
    text = " ".join(element.text for element in page.of("main"))
    assert "find_book" in text
    assert "no_promises" in text
    assert "approved" in text


@pytest.mark.behaviour("M6")
def test_its_page_has_a_lane_for_everyone(told: tuple[list[str], Path]) -> None:
    _check(read_page(told[1].read_text(encoding="utf-8")))


@in_browser
@pytest.mark.behaviour("M6")
def test_its_page_has_them_in_a_browser(
    told: tuple[list[str], Path], tmp_path: Path
) -> None:
    dom, _ = opened(told[1].read_text(encoding="utf-8"), tmp_path)
    _check(read_page(dom))
