"""Every event that a session can publish is exported, and stands on its page."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

import trialogue.events

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "trialogue"
PAGE = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
ENTRY = re.compile(r"^`(\w+)\(([\w, ]+)\)`\n: ", re.MULTILINE)
PUBLISHERS = {"publish", "_publish"}
FORWARDERS = {"publish"}
"""Functions that hand on what they are given; their callers are looked at."""


@attrs.frozen
class Publication:
    """A place in the source where something is published."""

    place: str
    expression: str
    classes: tuple[type, ...]


def sources() -> Iterator[tuple[Any, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if re.search(r"publish\(", text):
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            yield importlib.import_module(".".join(parts)), ast.parse(text)


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def name_of_call(call: ast.Call) -> str:
    called = call.func
    return called.attr if isinstance(called, ast.Attribute) else ast.unparse(called)


def classes_of(expression: ast.expr, function: ast.AST, module: Any) -> list[type]:
    """What an expression makes: a class of ours, or what a function is said to."""
    if isinstance(expression, ast.Call) and isinstance(expression.func, ast.Name):
        made = getattr(module, expression.func.id, None)
        if inspect.isclass(made):
            return [made]
        returned = inspect.signature(made).return_annotation if made else None
        found = getattr(trialogue.events, str(returned), None)
        return [found] if inspect.isclass(found) else []
    if not isinstance(expression, ast.Name):
        return []
    assigned = [
        classes_of(node.value, function, module)
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        and any(ast.unparse(t) == expression.id for t in node.targets)
    ]
    told = [
        getattr(trialogue.events, ast.unparse(a.annotation), None)
        for node in ast.walk(function)
        if isinstance(node, ast.arguments)
        for a in node.args
        if a.arg == expression.id and a.annotation is not None
    ]
    return [c for found in assigned for c in found] + [c for c in told if c is not None]


@cache
def publications() -> tuple[Publication, ...]:
    found = []
    for module, tree in sources():
        for function in functions(tree):
            for node in ast.walk(function):
                published = (
                    isinstance(node, ast.Call)
                    and name_of_call(node) in PUBLISHERS
                    and function.name not in FORWARDERS
                )
                if isinstance(node, ast.Call) and published:
                    [what] = node.args
                    place = f"{module.__name__}:{node.lineno}"
                    classes = tuple(classes_of(what, function, module))
                    found.append(Publication(place, ast.unparse(what), classes))
    return tuple(found)


def published() -> list[type]:
    classes = {c.__name__: c for p in publications() for c in p.classes}
    return [classes[name] for name in sorted(classes)]


def entries() -> dict[str, list[str]]:
    """The events of the page, with the fields that it gives them."""
    return {name: re.findall(r"\w+", fields) for name, fields in ENTRY.findall(PAGE)}


def test_it_is_known_what_is_published_where() -> None:
    """Else the tests below would pass over an event."""
    unknown = [f"{p.place} {p.expression}" for p in publications() if not p.classes]

    assert unknown == []
    assert len(published()) > 25


@pytest.mark.parametrize("event", published(), ids=lambda event: event.__name__)
def test_each_event_is_exported_and_stands_on_the_page(event: type) -> None:
    """Under its own name, with its fields in order."""
    fields = [field.name for field in attrs.fields(event)]

    assert event.__name__ in trialogue.events.__all__
    assert getattr(trialogue.events, event.__name__) is event
    assert entries().get(event.__name__) == fields
    assert event.__setattr__ is not object.__setattr__, "an event is immutable"


def test_the_page_names_no_event_that_is_never_published() -> None:
    """Nor does it name one twice."""
    named = [name for name, _ in ENTRY.findall(PAGE)]

    assert sorted(named) == [event.__name__ for event in published()]


def test_what_events_carry_is_on_the_page_too() -> None:
    """The timings of a handoff, field by field."""
    fields = [field.name for field in attrs.fields(trialogue.events.HandoffTimings)]
    listed = ", ".join(fields)

    assert f"HandoffTimings({listed})" in " ".join(PAGE.split())
