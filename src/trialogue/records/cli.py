"""`python -m trialogue report`: a saved report as a page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trialogue.errors import ConfigurationError
from trialogue.records.report import Report

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_DESCRIPTION = """\
Make a page of a conversation's record: a timeline, the transcript, the figures. FILE is
what `session.report().to_json()` returned. The page stands alone and fetches nothing.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page and return the exit code: 2 if the file is no report, 1 if the
    page cannot be written."""
    options = _parser().parse_args(argv)
    source: Path = options.file
    try:
        report = Report.from_json(source.read_bytes())
    except OSError as error:
        return _complain(f"cannot read {source}: {error.strerror or error}", 2)
    except ConfigurationError as error:
        return _complain(f"{source}: {error}", 2)
    target: Path = options.output or source.with_suffix(".html")
    try:
        _write(target, report.to_html())
    except OSError as error:
        return _complain(f"cannot write {target}: {error.strerror or error}", 1)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trialogue report", description=_DESCRIPTION
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the report, as JSON")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT.html",
        help="the page; - is standard output (default: FILE with .html)",
    )
    return parser


def _write(target: Path, text: str) -> None:
    if target == Path("-"):
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
        return
    target.write_bytes(text.encode())
    print(target)


def _complain(problem: str, code: int) -> int:
    print(f"trialogue report: {problem}", file=sys.stderr)
    return code
