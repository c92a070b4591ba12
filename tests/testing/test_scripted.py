"""The scripted model: what it answers, and what it keeps; no clock, no server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trialogue.testing import Call, Fail, Pause, Rule, Say, ScriptError, Turn
from trialogue.testing.scripted import ScriptedModel, shown_reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialogue.testing import Answer, Brain


class Troubled:
    """Counts how often it was told of trouble."""

    def __init__(
        self, rules: Brain | Sequence[Rule] = (), agent: str = "Kelly"
    ) -> None:
        self.told = 0
        self.model = ScriptedModel(rules, lambda turn: agent, self.tell)

    def tell(self) -> None:
        self.told += 1


def test_replies_come_in_order_and_before_rules() -> None:
    model = Troubled([Rule("By rule.")]).model
    model.expect(["First.", [Say("Second."), "Third."]])

    assert model(Turn()) == (Say("First."),)
    assert model(Turn()) == (Say("Second."), Say("Third."))
    assert model(Turn()) == (Say("By rule."),)
    model.check_all_given()


def test_what_is_beside_the_conversation_is_for_rules() -> None:
    model = Troubled([Rule("By rule.")]).model
    model.expect(["In order."])

    assert model(Turn(in_conversation=False)) == (Say("By rule."),)
    assert model(Turn()) == (Say("In order."),)


def test_turns_are_kept_with_the_agents_name() -> None:
    model = Troubled([Rule("Hello.", agent="Kelly"), Rule("No.")]).model

    assert model(Turn(response_id="r1", instructions="Sunny")) == (Say("Hello."),)
    assert [turn.agent for turn in model.asked] == ["Kelly"]


@pytest.mark.behaviour("M21")
def test_trouble_is_kept_for_the_test_and_not_raised_in_the_server() -> None:
    """And what asked stays without an answer."""
    troubled = Troubled()

    (part,) = list(troubled.model(Turn(user_text="Hi")))  # type: ignore[arg-type]
    assert isinstance(part, Pause)
    assert part.seconds > 3600
    assert troubled.told == 1
    assert isinstance(troubled.model.trouble, ScriptError)


@pytest.mark.behaviour("M21")
@pytest.mark.parametrize(
    ("turn", "line"),
    [
        (Turn(user_text="Hi there"), "Rule(reply, agent='Kelly', user='Hi there')"),
        (Turn(output="7"), "Rule(reply, agent='Kelly', output='7')"),
        (Turn(override="Greet.", user_text="Hi"), "Rule(reply, agent='Kelly')"),
        (Turn(), "Rule(reply, agent='Kelly')"),
    ],
)
def test_the_line_that_is_missing_is_offered(turn: Turn, line: str) -> None:
    model = Troubled().model
    model(turn)

    assert str(model.trouble).endswith(f"\n  {line}")


@pytest.mark.behaviour("M21")
def test_a_call_needs_a_tool_that_may_be_called() -> None:
    for turn, why in (
        (Turn(tools=("other",)), "it has not been given it"),
        (Turn(tools=("look_up",), tool_choice="none"), "it may not call anything"),
    ):
        model = Troubled().model
        model.expect([Call("look_up")])
        model(turn)
        assert f"has the model call look_up, but {why}:" in str(model.trouble)


def test_long_conversations_are_shown_from_near_their_end() -> None:
    model = Troubled().model
    model(Turn(said=tuple(("user", f"line {n}") for n in range(20))))

    shown = str(model.trouble)
    assert "… 12 items before" in shown
    assert "line 11" not in shown
    assert "line 12" in shown


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("Hi.", "'Hi.'"),
        (Call("a", {"b": 1}), "Call('a', {\"b\": 1})"),
        (["Hi.", Fail("quota")], "['Hi.', Fail(code='quota',"),
        (len, "len"),
    ],
)
def test_replies_are_shown_as_a_test_would_write_them(
    answer: Answer, shown: str
) -> None:
    assert shown_reply(answer).startswith(shown)
