"""The handoff: one transition from one agent to the next, from decision to settlement.

Decide (synchronous): the epoch and the wanted configuration change. Empty: the old
scope is cancelled and awaited. Burst: one batch brings the server to the new agent.
Settle: the server's answer, within a budget. The run loop walks through it; the state
between is this object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import trio

from trialogue.agents.agent import Agent, name_of
from trialogue.agents.events import HandoffTimings
from trialogue.agents.policies import at_decision, changes_in
from trialogue.conversation.context import ChatContext
from trialogue.conversation.items import (
    AudioPending,
    AudioTranscribed,
    Item,
    Message,
)
from trialogue.errors import HandoffError
from trialogue.realtime.configuration import Configuration, must_replace
from trialogue.realtime.requests import report_on

if TYPE_CHECKING:
    from trialogue.agents.calls import CallGroup
    from trialogue.agents.preparing import Prepared
    from trialogue.realtime.session import RealtimeSession

__all__ = [
    "BUDGET",
    "MOST_WITHOUT_USER",
    "Transition",
    "configuration_of",
    "decide",
    "failure",
    "measure",
    "remedy",
    "why_fresh",
]

BUDGET = 5.0
"""Seconds for the whole agreement, any fallback to a fresh connection included."""
MOST_WITHOUT_USER = 5
"""Handoffs in a row without a word from the user; one more is a loop (H20)."""


@attrs.define(eq=False)
class Transition:
    """One entry of an agent: the first one, a handoff, or the return after a failure.

    Attributes:
        previous: what is returned to if this fails; None for the first agent.
        enters: `on_enter` is called (not after a failure: the agent never left).
        speaks: the session asks for a reply if `on_enter` does not (rule 8).
        owed: somebody is owed a reply as soon as the server agrees.
        outputs: of the calls that the old scope left open, in call order.
        snapshot: the conversation as of the decision, for the policy and for a return.
        edited: what the context policy makes of it; None for no operation.
        message: the note that the new agent finds at its end.
    """

    prepared: Prepared
    previous: Transition | None = None
    enters: bool = True
    speaks: bool = False
    owed: bool = False
    restores: bool = False
    group: CallGroup | None = None
    why_fresh: str | None = None
    config: Configuration | None = None
    outputs: list[Item] = attrs.field(factory=list)
    snapshot: ChatContext | None = None
    edited: ChatContext | None = None
    message: Message | None = None
    timings: HandoffTimings | None = None
    counters: tuple[int, int, int, float] = (0, 0, 0, 0.0)
    settled: trio.Event = attrs.field(factory=trio.Event, repr=False)
    error: HandoffError | None = None

    @property
    def agent(self) -> Agent:
        return self.prepared.agent

    @property
    def name(self) -> str:
        return self.prepared.name

    def note(self, **times: Any) -> None:
        """Write down a moment, the first time it happens."""
        if self.timings is not None:
            new = {k: v for k, v in times.items() if getattr(self.timings, k) is None}
            self.timings = attrs.evolve(self.timings, **new)

    def finish(self, error: HandoffError | None = None) -> None:
        """Settled: agreed, or failed with an error."""
        if not self.settled.is_set():
            self.error = error
            self.settled.set()
        if self.error is None:
            # What a return would need: kept, it would be a chain back to the start.
            self.previous = self.group = self.snapshot = self.edited = None
            self.prepared = attrs.evolve(self.prepared, edited=None)
            self.outputs = []


def configuration_of(
    prepared: Prepared, owner: object, *, ready: bool, deadline: float
) -> Configuration:
    """Return the configuration that an agent wants, for a scope of its own."""
    return Configuration(
        prepared.model,
        prepared.instructions,
        prepared.specs,
        prepared.options,
        owner=owner,
        ready=ready,
        deadline=deadline,
    )


def why_fresh(
    realtime: RealtimeSession, config: Configuration, edited: ChatContext | None
) -> str | None:
    """Say why a handoff needs a fresh connection; None if the present one will do.

    Without a live connection there is nothing to reuse, and nothing to decide: the
    supervisor is about to dial. One that was never configured has its model only.
    """
    connection = realtime.connection
    if connection is None or not connection.live:
        return None
    held = connection.sent_config
    if held is None:
        other = config.model != connection.model
        return "another model" if other else None
    fixed = must_replace(
        config,
        held,
        edits_context=edited is not None,
        # NB: of the snapshot; the decision takes it anyway, and it is made once.
        assistant_audio=has_assistant_audio(realtime.chat_ctx.items),
    )
    most = realtime.limits.outbox_frames // 2
    if fixed is None and edited is not None and changes_in(edited) > most:
        return "so much of the conversation changes"
    return fixed


def has_assistant_audio(items: tuple[Item, ...]) -> bool:
    """Whether an agent has been heard: from then on a voice is fixed."""
    return any(
        isinstance(item, Message)
        and item.role == "assistant"
        and any(isinstance(p, AudioPending | AudioTranscribed) for p in item.content)
        for item in items
    )


def failure(transition: Transition, cause: BaseException) -> HandoffError:
    """Return the error that says what handoff failed, and why."""
    previous = transition.previous
    before = None if previous is None else previous.name
    what = f"the handoff from {before} to {transition.name} failed"
    if transition.restores:
        what = f"{transition.name} could not be restored after a failed handoff"
    elif previous is None:
        what = f"the server did not take {transition.name}'s configuration"
    config = transition.config
    report = None if config is None else report_on(config.requests)
    error = HandoffError(
        f"{what}: {cause}", previous=before, next=transition.name, report=report
    )
    error.__cause__ = cause
    return error


def remedy(agent: Agent) -> HandoffError:
    """Return the error for a handoff that waits for the scope it is called in."""
    msg = (
        "session.handoff() inside the agent's hooks or tools would wait for itself; "
        f"return the agent ({name_of(agent)}) from the tool, or call "
        "session.handoff_soon(agent)"
    )
    return HandoffError(msg, next=name_of(agent))


def decide(
    realtime: RealtimeSession, previous: str, transition: Transition, requested: float
) -> None:
    """Step 1, synchronous: from here on the next agent's configuration is wanted."""
    handoff = transition.prepared.handoff
    now = trio.current_time()
    transition.config = configuration_of(
        transition.prepared, None, ready=False, deadline=now + BUDGET
    )
    transition.snapshot = realtime.chat_ctx
    transition.message = transition.prepared.note
    transition.edited = transition.prepared.edited
    if transition.edited is None:
        transition.edited = at_decision(handoff.context, transition.snapshot)
    transition.why_fresh = why_fresh(realtime, transition.config, transition.edited)
    transition.timings = HandoffTimings(
        previous,
        transition.name,
        requested,
        now,
        reused=transition.why_fresh is None,
        why_fresh=transition.why_fresh,
    )
    transition.counters = realtime.counters
    if handoff.speech == "cut":
        realtime.interrupt(force=True)
    realtime.supervisor.commit(
        transition.config, fresh=transition.why_fresh is not None
    )


def measure(realtime: RealtimeSession, transition: Transition) -> None:
    """Step 6: the server agreed; complete the timings."""
    config = transition.config
    assert config is not None
    if transition.timings is None:
        return
    sent, size, opened, held_back = transition.counters
    now_sent, now_size, now_opened, now_held_back = realtime.counters
    written = [t for r in config.requests if (t := r.written_at) is not None]
    transition.note(
        burst_written=min(written) if written else None,
        acknowledged=config.acknowledged_at,
    )
    transition.timings = attrs.evolve(
        transition.timings,
        messages=now_sent - sent,
        bytes=now_size - size,
        connections=now_opened - opened,
        user_audio_gap=now_held_back - held_back,
    )
