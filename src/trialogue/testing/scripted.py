"""The model that an agent is tested with: it does what the test says, or complains.

A brain (see `script`) that is given its replies turn by turn, with rules behind them,
and that takes nothing it was not told for granted: a response that nobody scripted is
an error that says what the model saw.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

import attrs

from trialogue.testing.script import (
    Brain,
    Call,
    Part,
    Pause,
    Reply,
    Rule,
    Rules,
    Say,
    Turn,
    parts_of,
)

__all__ = ["Answer", "ScriptError", "ScriptedModel", "shown_reply"]

Answer: TypeAlias = Reply | Brain
"""One response of the model: its parts, or a function that makes them of the `Turn`."""

_STUCK: Final = 86_400.0
_SHOWN: Final = 8
_WIDTH: Final = 200


class ScriptError(AssertionError):
    """The script of a test does not fit what its agent does; the text says how."""


@attrs.define(eq=False, repr=False)
class ScriptedModel:
    """A brain with replies in order for what comes next, and rules for all else.

    Attributes:
        rules: a brain of one's own, or rules, for what no reply was given for.
        agent_of: tells the name of the agent that asks.
        on_trouble: is called once something does not fit; the response that asked then
            stays unanswered.
        asked: everything the model was asked, in order.
        parts: what it answered, by the response's id.
        trouble: what does not fit, the first such error.
    """

    rules: Brain | Sequence[Rule]
    agent_of: Callable[[Turn], str | None]
    on_trouble: Callable[[], None]
    asked: list[Turn] = attrs.field(factory=list, init=False)
    parts: dict[str, tuple[Part, ...]] = attrs.field(factory=dict, init=False)
    trouble: Exception | None = attrs.field(default=None, init=False)
    _next: deque[Answer] = attrs.field(factory=deque, init=False)

    def __repr__(self) -> str:
        return f"<ScriptedModel asked={len(self.asked)} next={len(self._next)}>"

    def expect(self, answers: Iterable[Answer]) -> None:
        """These are the next replies in the conversation, one for each response."""
        self._next.extend(answers)

    def check_all_given(self) -> None:
        """Demand that each reply was asked for.

        Raises:
            ScriptError: some were not; they are forgotten.
        """
        left, self._next = list(self._next), deque()
        if left:
            shown = "\n".join(f"  {shown_reply(answer)}" for answer in left)
            msg = f"the model was not asked for what the script has it reply:\n{shown}"
            raise ScriptError(msg)

    def __call__(self, turn: Turn) -> Reply:
        """Answer; whatever goes wrong is kept for the test, and not the server's."""
        turn = attrs.evolve(turn, agent=self.agent_of(turn))
        self.asked.append(turn)
        try:
            parts = self._answer(turn)
        except Exception as error:
            if self.trouble is None:
                self.trouble = error
            self.on_trouble()
            parts = (Pause(_STUCK),)
        self.parts[turn.response_id] = parts
        return parts

    def _answer(self, turn: Turn) -> tuple[Part, ...]:
        # What is beside the conversation comes in no order that a test could state.
        if self._next and turn.in_conversation:
            answer = self._next.popleft()
            parts = parts_of(answer(turn) if callable(answer) else answer)
            _check_calls(parts, turn)
            return parts
        if callable(self.rules):
            return parts_of(self.rules(turn))
        return parts_of(Rules(tuple(self.rules), self._unscripted)(turn))

    def _unscripted(self, turn: Turn) -> Reply:
        lines = [
            "nothing in the script says what the model replies here:",
            *_seen(turn),
            "give it with the user's turn, run.say(words, reply, …), or by a rule:",
            f"  {_rule_for(turn)}",
        ]
        if not callable(self.rules) and self.rules:
            lines += ["of these none applies:", *map(_shown_rule, self.rules)]
        raise ScriptError("\n".join(lines))


def _check_calls(parts: Iterable[Part], turn: Turn) -> None:
    """A model cannot call what it was not given."""
    for call in (part for part in parts if isinstance(part, Call)):
        if call.name not in turn.tools or turn.tool_choice == "none":
            why = "has not been given it"
            if call.name in turn.tools:
                why = "may not call anything"
            lines = [
                f"the script has the model call {call.name}, but it {why}:",
                *_seen(turn),
            ]
            raise ScriptError("\n".join(lines))


def shown_reply(answer: Answer) -> str:
    """Return a reply as a test would write it, shortened."""
    if callable(answer):
        return getattr(answer, "__name__", repr(answer))
    shown = [_shown_part(part) for part in parts_of(answer)]
    return shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"


def _shown_part(part: Part) -> str:
    match part:
        case Say(text=text):
            return repr(_short(text))
        case Call(name=name, arguments=arguments):
            return f"Call({name!r}, {_short(arguments)})"
        case _:
            return repr(part)


def _shown_rule(rule: Rule) -> str:
    conditions = {
        "agent": rule.agent,
        "user": rule.user and rule.user.pattern,
        "output": rule.output and rule.output.pattern,
        "override": rule.override,
        "asked_by": rule.asked_by,
    }
    given = "".join(f", {k}={v!r}" for k, v in conditions.items() if v is not None)
    return f"  Rule({shown_reply(rule.reply)}{given})"


def _rule_for(turn: Turn) -> str:
    """The line that is missing."""
    agent = "" if turn.agent is None else f", agent={turn.agent!r}"
    if turn.output is not None:
        return f"Rule(reply{agent}, output={_short(turn.output, 40)!r})"
    if turn.user_text and turn.override is None:
        return f"Rule(reply{agent}, user={_short(turn.user_text, 40)!r})"
    return f"Rule(reply{agent})"


def _seen(turn: Turn) -> list[str]:
    """What the model saw, a line each."""
    lines = [
        f"  agent         {turn.agent or 'unknown'}",
        f"  instructions  {_short(turn.instructions)}",
        f"  tools         {', '.join(turn.tools) or 'none'}",
        f"  asked by      {turn.asked_by}",
    ]
    said = [f"{role}: {_short(text)}" for role, text in turn.said[-_SHOWN:]]
    left_out = len(turn.said) - len(said)
    if left_out:
        said.insert(0, f"… {left_out} items before")
    labels = ["  conversation  ", *["                "] * len(said)]
    return lines + [
        a + b for a, b in zip(labels, said or ["nothing yet"], strict=False)
    ]


def _short(text: str, width: int = _WIDTH) -> str:
    """One line of a text, cut if it is long."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"
