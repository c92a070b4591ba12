"""Scripts: which rule answers which turn."""

from __future__ import annotations

from typing import Any

import pytest

from trialogue.testing.script import (
    Call,
    Rule,
    Rules,
    Say,
    Turn,
    echo,
    parts_of,
)

GREETER = Rules.of(
    Rule("Over to Sunny.", output="transferred"),
    Rule((Say("One moment."), Call("transfer")), agent="Kelly", user="weather|rain"),
    Rule("I am Kelly.", agent="Kelly", asked_by="client"),
    Rule(lambda turn: Say(f"Sunny in {turn.user_text}."), agent="Sunny"),
)


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        (
            {"instructions": "Kelly", "user_text": "Weather?", "tools": ("transfer",)},
            "One moment.",
        ),
        ({"instructions": "Kelly", "user_text": "weather"}, "I am Kelly."),
        (
            {
                "instructions": "Kelly",
                "user_text": "weather",
                "tools": ("transfer",),
                "tool_choice": "none",
            },
            "I am Kelly.",
        ),
        (
            {
                "instructions": "Kelly",
                "user_text": "weather",
                "tools": ("transfer",),
                "output": "transferred",
            },
            "Over to Sunny.",
        ),
        ({"instructions": "Sunny", "user_text": "Lima"}, "Sunny in Lima."),
        ({"instructions": "Kelly", "asked_by": "vad"}, "Hello."),
    ],
)
def test_the_first_rule_that_holds_and_can_be_done_answers(
    turn: dict[str, Any], said: str
) -> None:
    first = parts_of(GREETER(Turn(**turn)))[0]
    assert isinstance(first, Say)
    assert first.text == said


def test_an_override_is_matched_apart_from_the_instructions() -> None:
    rules = Rules.of(Rule("Ave.", override="Latin"))
    assert rules(Turn(instructions="Latin", override="Speak Latin")) == (Say("Ave."),)
    assert rules(Turn(instructions="Latin")) == Say("Hello.")


def test_replies_may_be_text_one_part_or_many() -> None:
    assert parts_of("hi") == parts_of(Say("hi")) == parts_of([Say("hi")])
    assert parts_of(echo(Turn(user_text="x"))) == (Say("You said: x"),)


def test_arguments_are_json_or_exactly_what_is_given() -> None:
    assert Call("f", {"a": 1}).arguments == '{"a": 1}'
    assert Call("f", "{broken").arguments == "{broken"
