"""The watch over a scope that was left: does it become empty, and what holds it up?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trialogue.agents.events import ScopeStalled

if TYPE_CHECKING:
    from trialogue.agents.scope import AgentScope
    from trialogue.agents.session import AgentSession

__all__ = ["stack_of", "watch_emptying"]

STALLED = 1.0
"""Seconds after which a cancelled scope that is not empty is spoken of."""


async def watch_emptying(session: AgentSession, scope: AgentScope) -> None:
    """Say so if a scope that was left does not become empty."""
    # NB: shielded, for what does not end is wanted to be known most of all when
    # everything is being cancelled.
    with trio.move_on_after(STALLED, shield=True):
        await scope.emptied.wait()
    if not scope.emptied.is_set() and scope.nursery is not None:
        # Whoever waits for a tool is about to be done with it, or is at the next look.
        hooks = scope.nursery.child_tasks - {scope.calls.attending}
        for task in hooks:
            session.log.warning(
                "%s of agent %s was cancelled and does not end",
                task.name,
                scope.name,
            )
            session.publish(ScopeStalled(scope.name, task.name, stack_of(task)))


def stack_of(task: trio.lowlevel.Task) -> tuple[str, ...]:
    """Return where a task is, outermost first."""
    return tuple(
        f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{line})"
        for frame, line in task.iter_await_frames()
    )
