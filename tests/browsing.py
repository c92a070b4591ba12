"""Opening a page in a browser without a window, where there is a browser."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["POLICY", "in_browser", "opened"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
SECONDS = 120
POLICY = "violates the following Content Security Policy directive"
"""What a browser says of what it has not done."""

in_browser = pytest.mark.skipif(
    BROWSER is None, reason=f"no browser here: none of {', '.join(BROWSERS)}"
)


def document(page: Path, profile: Path) -> subprocess.CompletedProcess[str]:
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
        [BROWSER, *root, *quiet, "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def opened(source: str, folder: Path) -> tuple[str, str]:
    """The document of a page, and what the browser complained about."""
    page = folder / "report.html"
    page.write_text(source, encoding="utf-8")
    ran = document(page, folder / "profile")
    assert ran.stdout, f"the browser gave no document: {ran.stderr[-500:]}"
    return ran.stdout, ran.stderr
