"""The page about testing an agent: its tests pass, and fail as it shows."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import trio

from trialogue import Agent, function_tool
from trialogue.testing import (
    Call,
    ScriptError,
    TurnUnfinished,
    in_virtual_time,
    run_agent,
)

PAGE = (Path(__file__).parents[1] / "docs" / "testing.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def names_of_the_page() -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "test_desk"}
    for source in blocks("python"):
        exec(compile(source, "docs/testing.md", "exec", dont_inherit=True), names)
    return names


NAMES = names_of_the_page()
TESTS = [name for name in NAMES if name.startswith("test_")]


def test_the_page_has_its_worked_examples() -> None:
    assert len(TESTS) == 6


@pytest.mark.behaviour("M20")
@pytest.mark.parametrize("name", TESTS)
def test_each_test_of_the_page_passes(name: str) -> None:
    test = NAMES[name]
    if inspect.iscoroutinefunction(test):
        in_virtual_time(test)(None)
    else:
        test()


def shown(beginning: str) -> str:
    """The text of the page that begins so."""
    (text,) = [text for text in blocks("text") if text.startswith(beginning)]
    return text.rstrip()


@pytest.mark.behaviour("M21", "M22", "M23")
@in_virtual_time
async def test_failures_read_as_the_page_shows_them() -> None:
    async with run_agent(NAMES["Desk"]()) as run:
        turn = await run.say(
            "Where is order seven?", Call("look_up", {"order": 7}), "It is on its way."
        )
        with pytest.raises(AssertionError) as failed:
            turn.called("look_up", order=9)
        assert str(failed.value) == shown("look_up(order=9)")

    async with run_agent(NAMES["Desk"]()) as run:
        with pytest.raises(ScriptError) as script:
            await run.say("Are you open?")
        assert str(script.value) == shown("nothing in the script")

    class Desk(Agent):
        instructions = "You never find anything."

        @function_tool
        async def look_up(self, order: int) -> None:
            """Search for ever."""
            await trio.sleep_forever()

    async with run_agent(Desk()) as run:
        with pytest.raises(TurnUnfinished) as late:
            await run.say("Order seven?", Call("look_up", {"order": 7}))
        first, second, *_ = str(late.value).splitlines()
        head, tail = shown("the turn has not").splitlines()
        pattern = re.escape(tail).replace(re.escape("(…)"), r"\(.+\)")
        pattern = pattern.replace(re.escape("59.9"), r"\d+\.\d")
        assert first == head
        # The class is a local one here.
        assert re.fullmatch(pattern, re.sub(r"in \S+\.Desk", "in Desk", second))
