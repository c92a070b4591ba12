"""On whose behalf a reply is asked for, and asking a new agent to speak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trialogue.agents.run_context import scope_within, turn_within
from trialogue.dialects.commands import CreateResponse

if TYPE_CHECKING:
    from trialogue.agents.scope import AgentScope
    from trialogue.agents.session import AgentSession

__all__ = ["ask_to_speak", "asked_of"]


def asked_of(session: AgentSession, *, aloud: bool = True) -> dict[str, Any]:
    """Say on whose behalf the running task asks for a reply.

    Args:
        aloud: it is part of the conversation: who has just taken over has spoken then.

    Returns:
        What `RealtimeSession.reply` and `stream_reply` want to know of that.
    """
    inside = scope_within(session)
    own = inside if inside is not None and not inside.closed else None
    scope = own or session.running.current()
    scope.asked |= aloud
    return {
        # From outside it is asked of whoever is wanted: the next agent, once a
        # handoff is decided.
        "config": None if own is None else own.config,
        "within": turn_within(session),
        "silence": lambda: own is None or not own.handed_over,
    }


def ask_to_speak(session: AgentSession, scope: AgentScope) -> None:
    """The new agent asked for nothing: it is asked to speak (rule 8)."""
    scope.asked = True
    if not session.realtime.user_has_the_floor:
        command = CreateResponse(session.realtime.replying.new_key())
        session.realtime.replying.ask(
            command=command, config=scope.config, purpose="owed"
        )
