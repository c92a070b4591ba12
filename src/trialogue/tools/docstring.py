"""What a docstring says about a function and its parameters.

Three styles are read, told apart by their own marks: Google (`Args:`), NumPy
(`Parameters` underlined) and Sphinx (`:param city: ...`). The first paragraph is the
description; the rest is for the people who read the source.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Docstring", "parse_docstring"]

_GOOGLE_SECTION = re.compile(
    r"(args|arguments|parameters|params|attributes|keyword args):\s*$", re.IGNORECASE
)
_NUMPY_SECTION = re.compile(
    r"(parameters|other parameters|attributes)\s*$", re.IGNORECASE
)
_ANY_SECTION = re.compile(
    r"(args|arguments|parameters|params|attributes|keyword args|returns?|yields?|"
    r"raises|examples?|notes?|warnings?|see also):?\s*$",
    re.IGNORECASE,
)
_GOOGLE_ENTRY = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")
_NUMPY_ENTRY = re.compile(r"(\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?$")
_SPHINX_ENTRY = re.compile(
    r":(?:param|parameter|arg|argument|key|ivar|var)\s+(?:[^:]*\s)?\*{0,2}(\w+)\s*:(.*)$"
)
_UNDERLINE = re.compile(r"-{3,}\s*$")


@attrs.frozen
class Docstring:
    """The parts of a docstring that a model is told.

    Attributes:
        description: the first paragraph on one line, or "".
        parameters: one line of text per documented parameter.
    """

    description: str = ""
    parameters: dict[str, str] = attrs.field(factory=dict)


def parse_docstring(text: str | None) -> Docstring:
    """Read a docstring; a docstring in no known style has a description only."""
    if not text or not text.strip():
        return Docstring()
    lines = inspect.cleandoc(text).splitlines()
    parameters: dict[str, str] = {}
    for entries in (_google(lines), _numpy(lines), _sphinx(lines)):
        for name, words in entries:
            parameters.setdefault(name, words)
    return Docstring(_description(lines), parameters)


def _description(lines: list[str]) -> str:
    paragraph: list[str] = []
    for number, line in enumerate(lines):
        if not line.strip() or line.startswith(":") or _opens_section(lines, number):
            break
        paragraph.append(line.strip())
    return " ".join(paragraph)


def _opens_section(lines: list[str], number: int) -> bool:
    line = lines[number]
    if line.rstrip().endswith(":"):
        return _ANY_SECTION.match(line) is not None
    underlined = number + 1 < len(lines) and _UNDERLINE.match(lines[number + 1])
    return bool(underlined) and _ANY_SECTION.match(line) is not None


def _google(lines: list[str]) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines):
        if _GOOGLE_SECTION.match(line):
            body = _indented_block(lines[number + 1 :])
            yield from _entries(body, _GOOGLE_ENTRY)


def _numpy(lines: list[str]) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines[:-1]):
        if _NUMPY_SECTION.match(line) and _UNDERLINE.match(lines[number + 1]):
            body = _numpy_block(lines[number + 2 :])
            for names, words in _entries(body, _NUMPY_ENTRY):
                for name in names.split(","):
                    yield name.strip().lstrip("*"), words


def _sphinx(lines: list[str]) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines):
        if found := _SPHINX_ENTRY.match(line):
            rest = _indented_block(lines[number + 1 :])
            yield found[1], _join([found[2], *_first_paragraph(rest)])


def _entries(body: list[str], entry: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Split a section into entries: each begins at the section's own indentation."""
    margin = min((_indent(line) for line in body if line.strip()), default=0)
    name, words = None, list[str]()
    for line in body:
        if not line.strip():
            continue
        found = entry.match(line.strip()) if _indent(line) == margin else None
        if found is None:
            words.append(line)
            continue
        if name is not None:
            yield name, _join(words)
        name = found[1]
        words = [found[2]] if entry.groups > 1 else []
    if name is not None:
        yield name, _join(words)


def _indented_block(lines: list[str]) -> list[str]:
    """Take the lines up to the first that stands at the margin again."""
    block: list[str] = []
    for line in lines:
        if line.strip() and _indent(line) == 0:
            break
        block.append(line)
    return block


def _numpy_block(lines: list[str]) -> list[str]:
    """Take the lines up to the next underlined heading."""
    for number, line in enumerate(lines):
        if _UNDERLINE.match(line) and number:
            return lines[: number - 1]
    return lines


def _first_paragraph(lines: list[str]) -> list[str]:
    for number, line in enumerate(lines):
        if not line.strip():
            return lines[:number]
    return lines


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _join(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())
