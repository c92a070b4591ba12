"""What the user and the agent are doing: two state machines, as tables.

No waiting and no tasks in here. `States` is shown what there is to see whenever
something has changed, and says which states changed with it; a transition that is in no
table cannot happen (U5).
"""

from __future__ import annotations

import enum
import math
from typing import Final, Literal, TypeAlias

import attrs

__all__ = [
    "AGENT_TRANSITIONS",
    "USER_TRANSITIONS",
    "AgentEvent",
    "AgentState",
    "Seen",
    "StateChange",
    "States",
    "UserEvent",
    "UserState",
]

UserState: TypeAlias = Literal["listening", "speaking", "away"]
"""listening: silent, and there. speaking: a turn of the user's is open. away: neither
side has said or done anything for `away_after` seconds."""

AgentState: TypeAlias = Literal["initializing", "listening", "thinking", "speaking"]
"""initializing: no agent has begun, or the last one has ended. listening: it says and
does nothing. thinking: a reply is wanted or being made, or tools run, and nothing is
heard. speaking: it is heard."""


class UserEvent(enum.Enum):
    """What can become of the user."""

    BEGAN = "a turn began"
    ENDED = "the turn ended"
    ACTED = "the user wrote something"
    QUIET = "nobody did anything until the deadline"


class AgentEvent(enum.Enum):
    """What can become of the agent."""

    READY = "it is current and agreed upon"
    WORKS = "a reply or a tool is under way, and nothing is heard"
    HEARD = "its words are heard"
    RESTS = "nothing is under way"
    LEFT = "no agent is current any more"


USER_TRANSITIONS: Final[dict[tuple[UserState, UserEvent], UserState]] = {
    ("listening", UserEvent.BEGAN): "speaking",
    ("listening", UserEvent.QUIET): "away",
    ("speaking", UserEvent.ENDED): "listening",
    ("away", UserEvent.BEGAN): "speaking",
    ("away", UserEvent.ACTED): "listening",
}

AGENT_TRANSITIONS: Final[dict[tuple[AgentState, AgentEvent], AgentState]] = {
    ("initializing", AgentEvent.READY): "listening",
    ("listening", AgentEvent.WORKS): "thinking",
    ("listening", AgentEvent.HEARD): "speaking",
    ("listening", AgentEvent.LEFT): "initializing",
    ("thinking", AgentEvent.HEARD): "speaking",
    ("thinking", AgentEvent.RESTS): "listening",
    ("thinking", AgentEvent.LEFT): "initializing",
    ("speaking", AgentEvent.WORKS): "thinking",
    ("speaking", AgentEvent.RESTS): "listening",
    ("speaking", AgentEvent.LEFT): "initializing",
}


@attrs.frozen
class Seen:
    """What there is to see in one moment.

    Attributes:
        user_speaks: a turn of the user's is open.
        current: an agent is current.
        ready: it is agreed upon, or already heard.
        works: a reply is wanted or being made, or tools run.
        heard: words of an agent have begun to be played and have not ended.
    """

    user_speaks: bool = False
    current: bool = False
    ready: bool = False
    works: bool = False
    heard: bool = False


@attrs.frozen
class StateChange:
    """One of the two went from one state into another."""

    who: Literal["user", "agent"]
    old: UserState | AgentState
    new: UserState | AgentState


class States:
    """The states of one conversation.

    Args:
        away_after: seconds in which neither does anything after which the user is away;
            None for never.

    Attributes:
        user, agent: the states as they are.
    """

    def __init__(self, away_after: float | None) -> None:
        self.user: UserState = "listening"
        self.agent: AgentState = "initializing"
        self._away_after = math.inf if away_after is None else away_after
        self._quiet_since: float | None = None

    def __repr__(self) -> str:
        return f"<States user={self.user} agent={self.agent}>"

    @property
    def timer(self) -> float:
        """When the user is away unless something happens before; inf for never."""
        if self._quiet_since is None:
            return math.inf
        return self._quiet_since + self._away_after

    def acted(self, now: float) -> list[StateChange]:
        """The user did something that is no speech: the deadline begins anew."""
        changes = self._user(UserEvent.ACTED)
        self._quiet_since = None
        self._watch(now)
        return changes

    def look(self, seen: Seen, now: float) -> list[StateChange]:
        """Take in what there is to see; return what changed, in order."""
        began = UserEvent.BEGAN if seen.user_speaks else UserEvent.ENDED
        changes = self._user(began)
        if seen.current and seen.ready:
            changes += self._agent(AgentEvent.READY)
        changes += self._agent(_agent_event(seen))
        if changes:
            self._quiet_since = None
        self._watch(now)
        if now >= self.timer:
            changes += self._user(UserEvent.QUIET)
            self._watch(now)
        return changes

    def _watch(self, now: float) -> None:
        """The deadline runs while both are there and neither does anything."""
        if self.user != "listening" or self.agent != "listening":
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = now

    def _user(self, event: UserEvent) -> list[StateChange]:
        old = self.user
        self.user = USER_TRANSITIONS.get((old, event), old)
        return [] if self.user == old else [StateChange("user", old, self.user)]

    def _agent(self, event: AgentEvent) -> list[StateChange]:
        old = self.agent
        self.agent = AGENT_TRANSITIONS.get((old, event), old)
        return [] if self.agent == old else [StateChange("agent", old, self.agent)]


def _agent_event(seen: Seen) -> AgentEvent:
    if not seen.current:
        return AgentEvent.LEFT
    if seen.heard:
        return AgentEvent.HEARD
    return AgentEvent.WORKS if seen.works else AgentEvent.RESTS
