"""Runs a checker that uses one core on every core: ``COMMAND... -- FILE...``.

The files are dealt out by size, so that the shares take about as long as each other.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["dealt", "main"]


def dealt(files: list[str], hands: int) -> list[list[str]]:
    """Deal files out, the largest first, each to whoever has the least by then."""
    shares: list[list[str]] = [[] for _ in range(hands)]
    sizes = [0] * hands
    for file in sorted(files, key=lambda name: -Path(name).stat().st_size):
        least = sizes.index(min(sizes))
        shares[least].append(file)
        sizes[least] += Path(file).stat().st_size
    return [share for share in shares if share]


def main(arguments: list[str]) -> int:
    """Run the command once for each share; return how many of the runs failed."""
    at = arguments.index("--")
    command, files = arguments[:at], arguments[at + 1 :]

    def run(share: list[str]) -> int:
        return subprocess.run([*command, *share], check=False).returncode

    shares = dealt(files, os.cpu_count() or 1)
    with ThreadPoolExecutor(len(shares)) as pool:
        return sum(code != 0 for code in pool.map(run, shares))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
