"""The page in a browser, where there is one: its lanes, read from the document (M6)."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import attrs
import pytest

from pages import lanes_told, read_page

if TYPE_CHECKING:
    from pathlib import Path

    from reported import Held
    from trialogue import Report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
SECONDS = 120

in_browser = pytest.mark.skipif(
    BROWSER is None, reason=f"no browser here: none of {', '.join(BROWSERS)}"
)


def document(
    page: Path, profile: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    """Open a page without a window, and return its document as the browser has it."""
    assert BROWSER is not None
    root = ("--no-sandbox",) if getattr(os, "geteuid", lambda: 1)() == 0 else ()
    quiet = (
        *("--headless", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update"),
        *("--disable-sync", "--disable-dev-shm-usage", "--enable-logging=stderr"),
        f"--user-data-dir={profile}",
    )
    return subprocess.run(
        [BROWSER, *root, *quiet, *options, "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def opened(report: Report, folder: Path, *options: str) -> tuple[str, str]:
    """The document of a report's page, and what the browser complained about."""
    page = folder / "report.html"
    page.write_text(report.to_html(), encoding="utf-8")
    ran = document(page, folder / "profile", *options)
    assert ran.stdout, f"the browser gave no document: {ran.stderr[-500:]}"
    return ran.stdout, ran.stderr


@in_browser
@pytest.mark.behaviour("M6")
def test_the_lanes_are_in_the_document_of_a_browser(held: Held, tmp_path: Path) -> None:
    dom, complaints = opened(held.report, tmp_path)
    page = read_page(dom)
    found = {
        name: sorted((b for b in bars if b.kind != "outage"), key=attrs.astuple)
        for name, bars in page.lanes.items()
    }

    assert found == lanes_told(held.report)
    assert page.lanes == read_page(held.report.to_html()).lanes
    assert page.problems == []
    # Its policy allows its own style, and it has asked for nothing else.
    assert "Content Security Policy" not in complaints
    assert "Refused to" not in complaints
