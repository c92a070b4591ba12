"""Whether two runs tested the same thing."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# What a test can depend on, below the project's top folder.
TESTED = ("pyproject.toml", "README.md", "examples", "src", "tests")


def fingerprint(root: Path) -> str:
    """A digest of every file that the tests of ``root`` can depend on."""
    digest = hashlib.sha256()
    for top in TESTED:
        files = [root / top] if (root / top).is_file() else (root / top).rglob("*")
        for file in sorted(files):
            if file.is_file() and "__pycache__" not in file.parts:
                content = hashlib.sha256(file.read_bytes()).hexdigest()
                digest.update(f"{file.relative_to(root)}\0{content}\n".encode())
    return digest.hexdigest()
