"""What the local server's model says in the demo.

It decides from what it heard in the caller's audio, whose instructions are in force,
and which tool output waits, as a real model would; its replies are the recorded clips.
"""

from __future__ import annotations

import re

from trialogue.demo.handing_over import RULES
from trialogue.demo.speech import CALLER_SCRIPT, LINES, clip
from trialogue.testing import Brain, Call, Rule, Rules, Say, Turn, Utterances
from trialogue.testing.serve import SCRIPTS

__all__ = ["add_demo_script", "demo_brain", "know_caller"]

_KELLY = "You are Kelly"
_SUNNY = "You are Sunny"


def _say(name: str) -> Say:
    return Say(LINES[name].text, audio=clip(name))


def _look_up(turn: Turn) -> Call:
    city = re.search(r"weather in (\w+)", turn.user_text, re.IGNORECASE)
    return Call("lookup_weather", {"location": city[1] if city else "?"})


def _tell(turn: Turn) -> Say:
    """Say the tool's words: with the recorded voice if they were recorded."""
    recorded = LINES["sunny_answer"].text
    text = turn.output or ""
    return _say("sunny_answer") if text == recorded else Say(text)


def demo_brain() -> Rules:
    """Return the model: both conversations of the demo, and those that it measures."""
    return Rules.of(
        *RULES,
        Rule(_say("kelly_goodbye"), agent=_KELLY, override="you again"),
        Rule(_say("kelly_greeting"), agent=_KELLY, override="Greet"),
        Rule(
            (_say("sunny_greeting"), _say("sunny_which_city")),
            agent=_SUNNY,
            override="Introduce",
        ),
        Rule(
            (_say("kelly_transfer"), Call("transfer_to_weather")),
            agent=_KELLY,
            user="weather",
        ),
        Rule(_tell, agent=_SUNNY, output="."),
        Rule(_look_up, agent=_SUNNY, user=r"weather in \w+"),
        Rule(
            (_say("sunny_transfer"), Call("transfer_to_greeter")),
            agent=_SUNNY,
            user="back to the greeter",
        ),
        Rule(_say("kelly_greeting"), agent=_KELLY),
        Rule(_say("sunny_which_city"), agent=_SUNNY),
    )


def know_caller(utterances: Utterances) -> None:
    """Make known what the server recognises of the caller's voice."""
    for _, name in CALLER_SCRIPT:
        if name is not None:
            utterances.add(clip(name), LINES[name].text)


def add_demo_script() -> None:
    """Let `serve` play the demo's model: `--script demo`."""

    def script(utterances: Utterances) -> Brain:
        know_caller(utterances)
        return demo_brain()

    SCRIPTS["demo"] = script
