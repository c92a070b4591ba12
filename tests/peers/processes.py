"""A contestant and the server, each in a process of its own on a core of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Failed", "measured"]

HERE = Path(__file__).resolve().parent
SECONDS = 120.0


class Failed(Exception):
    """A program did not do what it was asked; the text says which, and what it said."""


def _pinned(core: int) -> Callable[[], None] | None:
    """Return what keeps a process on one core, where that can be done."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))
    return lambda: os.sched_setaffinity(0, {cores[core % len(cores)]})


def measured(
    python: str, program: str, what: str, arguments: Mapping[str, Any], **server: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Have a contestant do one thing with a fresh server; return what both have seen.

    Args:
        python: the interpreter of the contestant's environment.
        program: its file, in this folder.
        what: a method of `driving.Stage`, and its arguments.
        server: the options of `neutral.py`.

    Raises:
        Failed: it did not come to an end, or not to a good one.
    """
    serve = [sys.executable, str(HERE / "neutral.py"), json.dumps(server)]
    with subprocess.Popen(
        serve,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=_pinned(0),
    ) as neutral:
        try:
            assert neutral.stdout is not None
            url = f"ws://127.0.0.1:{int(neutral.stdout.readline())}/v1/realtime"
            own = _run([python, str(HERE / program), url, what, json.dumps(arguments)])
            seen, _ = neutral.communicate(timeout=SECONDS)
        finally:
            neutral.kill()
    return own, json.loads(seen)


def _run(command: list[str]) -> dict[str, Any]:
    try:
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
            preexec_fn=_pinned(1),
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{command[1:]} was not through in {SECONDS:g} s") from None
    if ended.returncode or not ended.stdout:
        raise Failed(f"{command[1:]} failed: {ended.stderr[-2000:]}")
    last: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return last
