"""The calls of one scope: taken, decided on, and each answered exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trialogue.agents.calls import CallGroup, OpenCall
from trialogue.agents.events import (
    HandoffDiscarded,
    ToolFailed,
    ToolFinished,
    ToolNoted,
)
from trialogue.agents.handoff import Transition
from trialogue.agents.tool_runs import ToolRuns
from trialogue.conversation.items import (
    FunctionCallOutput,
    Message,
    TextContent,
)
from trialogue.tools import failure as tool_failure
from trialogue.tools import render
from trialogue.tools.outcome import Blocked, Crashed, HandedOff, InProgress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialogue.agents.scope import AgentScope
    from trialogue.conversation.items import FunctionCall, Item
    from trialogue.realtime.replies import Response
    from trialogue.realtime.session import RealtimeSession

__all__ = ["Answering", "deliver_note", "leave_outputs"]

UNDECIDED = 3.0
"""Seconds for which a decided handoff waits for siblings that may hand off as well."""


class Answering:
    """Answers the calls of one agent while it is current, or decides on a handoff."""

    def __init__(self, scope: AgentScope) -> None:
        self._scope = scope
        self._session = scope.session
        self._runs = ToolRuns(scope, self._finished)
        self._groups: dict[str, CallGroup] = {}

    @property
    def open(self) -> list[OpenCall]:
        """The calls without an output, in order."""
        groups = self._groups.values()
        return [call for group in groups for call in group.calls if not call.answered]

    @property
    def attending(self) -> trio.lowlevel.Task | None:
        """The task of the agent's that waits for the tools, if any runs."""
        return self._runs.attending

    def runs_in(self, task: trio.lowlevel.Task) -> bool:
        """Whether a task is a tool's that ends with the agent."""
        return any(call.task is task and not call.detached for call in self.open)

    def withdraw(self) -> None:
        """The agent is left: nothing that is not approved by now will be run."""
        for call in self.open:
            if call.started_at is None and call.running:
                call.settle(HandedOff())
                self._session.approving.withdraw(call)

    def stop(self, response: Response) -> None:
        """A reply is refused as a whole: its tools that have not begun are not run."""
        group = self._groups.get(response.id)
        for call in () if group is None else group.calls:
            if call.started_at is None and call.running:
                call.settle(Blocked("reply"))
                self._session.approving.withdraw(call)

    def dispatch(self, response: Response, call: FunctionCall) -> None:
        """A call is complete: run its tool. Synchronous, from the reader's step."""
        group = self._groups.get(response.id)
        if group is None:
            turn = self._session.realtime.replying.slot.open_turn(response)
            ended = response.ended.is_set()  # a call can come late
            group = CallGroup(response, turn, complete=ended)
            self._groups[response.id] = group
            if not self._scope.leaving:
                group.beyond = self._session.step_limit.take()
        opened = OpenCall(call, self._scope.tools.get(call.name))
        group.calls.append(opened)
        if self._scope.leaving:
            opened.tool = None
            return
        if self._session.guarding.stopped(response):
            opened.settle(Blocked("reply"))
        else:
            self._runs.start(group, opened)
        self._move_on(group)

    def response_done(self, response: Response) -> None:
        """A response of this scope ended: all of its calls are known."""
        group = self._groups.get(response.id)
        if group is not None:
            group.complete = True
            self._move_on(group)

    def agreed(self) -> None:
        """The server has agreed with the agent, or it is back: it may go on."""
        for group in tuple(self._groups.values()):
            self._move_on(group)

    def has_ended(self, call: FunctionCall) -> bool:
        """Whether a call's tool has returned and its response is complete."""
        for group in self._groups.values():
            for opened in group.calls:
                if opened.call.call_id == call.call_id:
                    return group.complete and not opened.running
        return True

    def put_off(self) -> list[Item]:
        """Answer the open calls "in progress", for a model that cannot have them open.

        Returns the outputs; what comes of the calls follows as notes.
        """
        outputs: list[Item] = []
        text = render(InProgress())
        for opened in self.open:
            if not opened.put_off:
                opened.put_off = True
                item_id = self._session.realtime.new_item_id("out")
                outputs.append(FunctionCallOutput(item_id, opened.call.call_id, text))
        return outputs

    def user_interrupted(self) -> None:
        """The user speaks: tools that asked for it are cancelled."""
        for call in self.open:
            tool = call.tool
            if tool is None or tool.options.on_interrupt != "cancel":
                continue
            if call.running and call.returned_at is None:
                call.interrupted = True
                call.stop("the user interrupted")

    def close(self) -> None:
        """Settle each open call, in the very step in which the scope is over."""
        slot = self._session.realtime.replying.slot
        for group in self._groups.values():
            slot.close_turn(group.turn)
        decision, delegation = self._scope.decision, self._scope.delegation
        outputs: list[Item] = []
        self.withdraw()
        for call in self.open:
            call.close(None if decision is None else decision.name)
            outputs.append(self._answer(call))
        if decision is not None:
            decision.outputs += outputs
        elif delegation is not None:
            delegation.outputs += outputs
        else:
            leave_outputs(self._session.realtime, outputs)
        self._session.changed.pulse()

    def _finished(self, group: CallGroup, opened: OpenCall) -> None:
        problem = (
            None
            if opened.outcome is None
            else tool_failure(opened.outcome, max_bytes=self._most)
        )
        if problem is not None and not isinstance(opened.outcome, Crashed):
            call = opened.call
            failed = ToolFailed(self._scope.name, call.name, call.call_id, problem)
            self._session.publish(failed)
        late = self._scope.closed or self._scope.leaving
        if opened.target is not None and late:
            self._session.publish(HandoffDiscarded(opened.target.name))
        if opened.noted:
            opened.miss()
            held = self._session.running.active and not self._session.ending.asked
            text = deliver_note(
                self._session.realtime, opened, reply=held and opened.wants_reply
            )
            self._session.publish(
                ToolNoted(
                    self._scope.name,
                    opened.call.name,
                    opened.call.call_id,
                    type(opened.outcome).__name__,
                    text,
                    opened.seconds or 0.0,
                )
            )
        else:
            self._move_on(group)
        self._session.changed.pulse()

    def _move_on(self, group: CallGroup) -> None:
        """Decide, or answer, as soon as the response and its tools allow it."""
        if self._scope.leaving or self._scope.suspended or group.answered:
            return
        if not group.complete:
            return
        if group.targets() and group.may_still_hand_off and not group.waiting:
            # Two targets are seen only if both are waited for (core rule 20).
            group.waiting = True
            assert self._scope.nursery is not None
            self._scope.nursery.start_soon(self._wait_for_siblings, group)
        elif not (group.targets() and group.may_still_hand_off):
            self._decide_or_answer(group)

    async def _wait_for_siblings(self, group: CallGroup) -> None:
        with trio.move_on_after(UNDECIDED):
            await self._session.changed.until(lambda: not group.may_still_hand_off)
        # It may be decided by then, but not before the scope itself is agreed upon.
        scope = self._scope
        await self._session.changed.until(
            lambda: scope.transition.settled.is_set() and not scope.suspended
        )
        self._decide_or_answer(group)

    def _decide_or_answer(self, group: CallGroup) -> None:
        if self._scope.leaving or group.answered:
            return
        standing = group.agree()
        if standing is not None and standing.target is not None:
            if not self._scope.transition.settled.is_set():
                return  # a second handoff waits for the first to settle
            requested = standing.returned_at or trio.current_time()
            transition = Transition(
                standing.target,
                previous=self._scope.transition,
                speaks=standing.target.handoff.reply == "auto",
                group=group,
            )
            self._scope.decide(transition, requested)
        elif not group.running:
            self._answer_group(group)

    def _answer_group(self, group: CallGroup) -> None:
        group.answered = True
        del self._groups[group.response.id]
        outputs: list[Item] = [
            self._answer(call) for call in group.calls if not call.answered
        ]
        reply = group.wants_reply() and not self._session.ending.asked
        reply = reply and not self._session.guarding.replaced(group.response)
        if group.beyond == 1:
            self._session.log.warning("the limit of tool steps is reached")
        elif group.beyond:
            reply = False  # it was told, and calls on all the same
        if not reply:
            self._session.step_limit.reset()
        self._session.realtime.answer(
            outputs,
            turn=group.turn,
            reply=reply,
            required=group.requires_reply(),
            use_tools=not group.beyond,
        )

    @property
    def _most(self) -> int:
        return self._session.realtime.limits.max_output_bytes

    def _answer(self, call: OpenCall) -> Item:
        item_id = self._session.realtime.new_item_id("out")
        output = call.output(item_id, max_bytes=self._most)
        assert call.outcome is not None
        self._session.publish(
            ToolFinished(
                self._scope.name,
                call.call.name,
                call.call.call_id,
                type(call.outcome).__name__,
                output.output,
                call.seconds,
            )
        )
        return note_of(self._session.realtime, call) if call.put_off else output


def leave_outputs(realtime: RealtimeSession, outputs: Sequence[Item]) -> None:
    """A scope ends without a successor: its calls are answered all the same."""
    if outputs and realtime.failure is None:
        realtime.add_outputs(outputs)


def deliver_note(realtime: RealtimeSession, opened: OpenCall, *, reply: bool) -> str:
    """A detached tool has finished under another agent: its result is a note.

    Args:
        reply: ask for a reply about it, of whoever is current.

    Returns:
        The text of the note.
    """
    note = note_of(realtime, opened)
    required = opened.reply == "required"
    realtime.answer([note], turn=None, reply=reply, required=required)
    return note.text


def note_of(realtime: RealtimeSession, opened: OpenCall) -> Message:
    """Return the result of a call whose output was "in progress", as a message."""
    assert opened.outcome is not None
    limits, about = realtime.limits, f"Result of {opened.call.name}: "
    # The message as a whole is an item like any other.
    most = min(limits.max_output_bytes, limits.max_item_chars - len(about))
    text = about + render(opened.outcome, max_bytes=most)
    return Message(realtime.new_item_id("msg"), "system", (TextContent(text),))
