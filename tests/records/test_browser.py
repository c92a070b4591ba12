"""The page in a browser, where there is one: its lanes, read from the document (M6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from browsing import POLICY, in_browser, opened
from pages import lanes_told, read_page

if TYPE_CHECKING:
    from pathlib import Path

    from reported import Held


@in_browser
@pytest.mark.behaviour("M6")
def test_the_lanes_are_in_the_document_of_a_browser(held: Held, tmp_path: Path) -> None:
    dom, complaints = opened(held.report.to_html(), tmp_path)
    page = read_page(dom)
    found = {
        name: sorted((b for b in bars if b.kind != "outage"), key=attrs.astuple)
        for name, bars in page.lanes.items()
    }

    assert found == lanes_told(held.report)
    assert page.lanes == read_page(held.report.to_html()).lanes
    assert page.problems == []
    # Its policy allows its own style, and it has asked for nothing else.
    assert POLICY not in complaints


@in_browser
@pytest.mark.behaviour("M5")
def test_the_browser_obeys_the_policy_of_the_page(held: Held, tmp_path: Path) -> None:
    """What somebody smuggled in all the same would neither run nor be fetched."""
    smuggled = (
        "<main><script>document.title='ran'</script>"
        "<img src='http://127.0.0.1:9/seen.png'><p style='color:red'>red</p>"
    )
    source = held.report.to_html().replace("<main>", smuggled, 1)
    dom, complaints = opened(source, tmp_path)

    assert "<title>Conversation with Kelly, Sunny and Consent</title>" in dom
    assert complaints.count(POLICY) == 3
