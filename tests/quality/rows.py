"""The rows of ``tests/behaviours.toml``: ids, texts, and what is expected of them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

BEHAVIOURS_FILE = Path("tests") / "behaviours.toml"


class UnknownRowError(ValueError):
    """An id or a group letter that stands in no row."""


@attrs.frozen
class Rows:
    """Every behaviour, in the order of the file.

    ``covered`` are the ids that a passing test must cover, ``mutated`` those that must
    have a mutant, when nothing else is asked for.
    """

    texts: dict[str, str]
    covered: tuple[str, ...] = ()
    mutated: tuple[str, ...] = ()

    def select(self, names: Iterable[str]) -> list[str]:
        """The ids that ``names`` stand for, each an id (S5) or a group letter (H).

        Raises:
            UnknownRowError: a name is neither.
        """
        wanted: set[str] = set()
        for name in names:
            ids = {name} & self.texts.keys() or self._group(name)
            if not ids:
                known = ", ".join(sorted({row[0] for row in self.texts}))
                raise UnknownRowError(
                    f"no behaviour {name!r}: give an id such as S5, "
                    f"or one of the groups {known}"
                )
            wanted |= ids
        return [row for row in self.texts if row in wanted]

    def _group(self, letter: str) -> set[str]:
        return {row for row in self.texts if row.rstrip("0123456789") == letter}


def load_rows(root: Path) -> Rows:
    """Read the behaviours of the project whose top folder is ``root``."""
    data = tomllib.loads((root / BEHAVIOURS_FILE).read_text(encoding="utf-8"))
    texts = {
        row: text
        for group in data["groups"].values()
        for row, text in group["rows"].items()
    }
    expected = data.get("expected", {})
    rows = Rows(
        texts,
        covered=tuple(expected.get("covered", ())),
        mutated=tuple(expected.get("mutated", ())),
    )
    rows.select((*rows.covered, *rows.mutated))
    return rows
