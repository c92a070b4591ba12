"""What the model is told about each way in which a call can end."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import pathlib
import uuid
from typing import Any

import attrs
import pytest

from trialogue.tools import NoReply, ToolOutcome, failure, render
from trialogue.tools.outcome import (
    BadArguments,
    Conflict,
    Crashed,
    Denied,
    Failed,
    HandedOff,
    HandoffFailed,
    InProgress,
    Interrupted,
    Returned,
    StepLimitReached,
    TimedOut,
    Transferred,
    UnknownTool,
)


class Unit(enum.Enum):
    CELSIUS = "C"


@attrs.frozen
class Place:
    city: str
    unit: Unit = Unit.CELSIUS
    _zone: int = 3


@dataclasses.dataclass
class Visit:
    place: Place
    on: datetime.date


@pytest.mark.behaviour("T1")
@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (Failed("The airport is closed."), "The airport is closed."),
        (Crashed(ValueError("hunter2")), "the tool failed with an internal error"),
        (
            UnknownTool("fly", ("walk", "swim")),
            "there is no tool 'fly'; the tools are: walk, swim",
        ),
        (UnknownTool("fly", ()), "there is no tool 'fly'; there are no tools"),
        (
            BadArguments("$.city: expected a string, got a number"),
            "the arguments are wrong: $.city: expected a string, got a number",
        ),
        (Denied("too much"), "not approved: too much"),
        (Denied(), "not approved"),
        (
            StepLimitReached(3),
            "not run: 3 steps with tools in a row are the limit; tell the user what "
            "you know, and go on when the user has spoken",
        ),
        (TimedOut(2.5), "the tool did not finish within 2.5 s and was stopped"),
        (Interrupted(), "stopped: the user interrupted"),
        (HandedOff(), "not run: handed off"),
        (HandedOff(started=True), "stopped: handed off"),
        (Transferred("Weather"), "transferred to Weather"),
        (HandoffFailed("no answer"), "handoff failed: no answer"),
        (
            Conflict(("Weather", "Billing")),
            "no handoff: Weather and Billing were asked for at the same time; "
            "choose one and transfer to it",
        ),
        (InProgress(), "in progress: the result will follow"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_every_outcome_has_a_text(outcome: ToolOutcome, text: str) -> None:
    assert render(outcome) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("It is sunny.", "It is sunny."),
        ("", ""),
        (None, "null"),
        (True, "true"),
        (3, "3"),
        (2.5, "2.5"),
        (Unit.CELSIUS, "C"),
        (Place("Lima"), '{"city":"Lima","unit":"C","zone":3}'),
        (
            Visit(Place("Lima"), datetime.date(2026, 11, 23)),
            '{"place":{"city":"Lima","unit":"C","zone":3},"on":"2026-11-23"}',
        ),
        ([1, ("é", None)], '[1,["é",None]]'.replace("None", "null")),
        ({"b", "a"}, '["a","b"]'),
        ({Unit.CELSIUS: datetime.time(12, 30)}, '{"C":"12:30:00"}'),
        (decimal.Decimal("1.10"), "1.10"),
        (pathlib.PurePosixPath("/a"), "/a"),
        (uuid.UUID(int=0), "00000000-0000-0000-0000-000000000000"),
        (10**30, "1" + "0" * 30),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_result_is_sent_as_text_or_as_json(value: Any, text: str) -> None:
    assert render(Returned(value)) == text
    assert failure(Returned(value)) is None


def looped() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.behaviour("T1")
@pytest.mark.parametrize(
    ("value", "named"),
    [
        (object(), "object"),
        ({"a": [b"x"]}, "bytes"),
        ({1: "a"}, "int (as a key)"),
        (Visit, "type"),
        (float("nan"), "float (not a finite number)"),
        ("\ud800", "str with lone surrogates"),
        (looped(), "list"),
        (lambda: None, "function"),
        (10**5000, "int"),
    ],
    ids=["object", "bytes", "key", "class", "nan", "text", "loop", "function", "int"],
)
def test_a_value_that_cannot_be_sent_becomes_an_error_that_names_its_type(
    value: Any, named: str
) -> None:
    text = render(Returned(value))
    assert text == (
        f"the tool returned a value that cannot be sent (type {named}); "
        "return str or JSON-able data"
    )
    assert failure(Returned(value)) == text


@pytest.mark.behaviour("T2")
def test_nothing_of_an_internal_exception_reaches_the_model() -> None:
    class HunterError(Exception):
        pass

    try:
        raise HunterError("password hunter2") from KeyError("hunter2")
    except HunterError as error:
        outcome = Crashed(error)
    assert "unter" not in render(outcome)
    assert "hunter2" not in (failure(outcome) or "")
    assert "HunterError" in (failure(outcome) or "")


def test_only_what_the_author_must_repair_is_a_failure() -> None:
    for outcome in (Failed("no"), TimedOut(1), HandedOff(), UnknownTool("x", ())):
        assert failure(outcome) is None


@pytest.mark.behaviour("T1")
def test_no_reply_keeps_the_value_and_asks_for_no_words() -> None:
    quiet = Returned.of(NoReply({"saved": 1}))
    assert (render(quiet), quiet.wants_reply) == ('{"saved":1}', False)
    assert render(Returned(NoReply("ok"))) == "ok"
    assert Returned.of("x").wants_reply is True


@pytest.mark.behaviour("X3")
def test_outputs_are_bounded_in_bytes() -> None:
    assert len(render(Returned("x" * 262_144))) == 262_144
    long = Returned("é" * 200_000)
    assert "too long to be sent (400000 bytes, at most 262144)" in render(long)
    assert failure(long) == render(long)
    assert len(render(Returned("x" * 11), max_bytes=10)) < 120


@pytest.mark.behaviour("X3")
def test_a_text_that_is_too_long_is_cut_with_a_notice_and_stays_text() -> None:
    text = render(Failed("é" * 200_000))
    assert len(text.encode()) <= 262_144
    assert text.endswith("é [cut]")
    assert len(render(UnknownTool("x" * 1_000_000, ()))) < 200


def test_a_tool_error_with_lone_surrogates_can_still_be_sent() -> None:
    assert render(Failed("a\ud800")) == "a?"


def test_a_tool_error_without_words_is_not_empty() -> None:
    assert render(Failed("")) == "the tool failed"


def test_a_json_result_reads_back_as_what_it_was() -> None:
    data = {"a": [1, 2.5, None, True, "é"], "b": {"c": []}}
    assert json.loads(render(Returned(data))) == data
