"""What a session does on behalf of whoever owns its agents.

All of it takes effect in the step in which it is called, whole or not at all; the layer
above relies on that where it must not be cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs

from trialogue.conversation.edits import Delete
from trialogue.conversation.items import (
    FunctionCall,
    FunctionCallOutput,
    Item,
)
from trialogue.dialects.commands import (
    CreateItem,
    CreateResponse,
)
from trialogue.realtime.core import SessionCore
from trialogue.realtime.interrupting import check_may_stay
from trialogue.realtime.streaming import DEFAULT_LIMITS, StreamLimits, streamed
from trialogue.realtime.syncing import (
    Sync,
    apply_here,
    plan_sync,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from trialogue.conversation.context import ChatContext
    from trialogue.realtime.configuration import Configuration
    from trialogue.realtime.replies import Reply, ReplyOutcome, Tap, Turn
    from trialogue.realtime.requests import Request
    from trialogue.realtime.streaming import ReplyStream
    from trialogue.realtime.wishes import Wish

__all__ = ["Hosting"]


class Hosting(SessionCore):
    """The session as agents use it: bursts, outputs, replies under a configuration."""

    def add_items(self, items: Sequence[Item]) -> list[Request]:
        """Append items in this very step; they survive a change of connection.

        Raises:
            ConversionError: an item has no form in the protocol, or is beyond the
                limits; none was added.
        """
        for item in items:
            self.limits.check_item(item)
        connection = self.connection
        configured = connection is not None and connection.sent_config is not None
        requests: list[Request] = []
        if connection is not None and connection.live and configured:
            requests = [connection.encode(CreateItem(item)) for item in items]
        for item in items:
            self._intake.tell(self.record.add_local(item))
        if connection is not None and requests:
            connection.post(requests)
        return requests

    def add_outputs(self, items: Sequence[Item]) -> None:
        """Append what was made of calls, unless an edit has deleted the call."""
        self.add_items([item for item in items if not self._was_taken_out(item)])

    def edit_here(self, edited: ChatContext) -> None:
        """Apply an edit to the record alone, for the next connection to be given."""
        apply_here(self.record, edited, self.tell)

    def stream_reply(
        self,
        wish: Wish,
        *,
        config: Configuration | None = None,
        if_busy: Literal["wait", "skip", "raise"] = "wait",
        within: Turn | None = None,
        silence: Callable[[], bool] = lambda: True,
        limits: StreamLimits = DEFAULT_LIMITS,
    ) -> AbstractAsyncContextManager[ReplyStream]:
        """Stream a reply on behalf of a configuration; see `open_reply`."""

        def ask(tap: Tap) -> Reply:
            return self._ask(wish, config, if_busy=if_busy, within=within, tap=tap)

        return streamed(self, ask, limits, silence)

    async def reply(
        self,
        wish: Wish,
        *,
        config: Configuration | None = None,
        if_busy: Literal["wait", "skip", "raise"] = "wait",
        within: Turn | None = None,
        silence: Callable[[], bool] = lambda: True,
    ) -> ReplyOutcome:
        """Ask for a reply on behalf of a configuration; see `generate_reply`."""
        self.check_open()
        reply = self._ask(wish, config, if_busy=if_busy, within=within)
        try:
            await reply.settled.wait()
        finally:
            self.replying.leave(reply, silence=silence())
        return self._result(reply)

    def _ask(self, wish: Wish, config: Configuration | None, **how: Any) -> Reply:
        config = config or self.wanted
        if not wish.allow_interruptions:
            options = self.model.options if config is None else config.options
            check_may_stay(options.turn_detection)
        return self.replying.ask(
            command=wish.command,
            config=config,
            add_instructions=wish.add_instructions,
            interruptible=wish.allow_interruptions,
            **how,
        )

    @staticmethod
    def _result(reply: Reply) -> ReplyOutcome:
        if reply.error is not None:
            raise reply.error
        assert reply.outcome is not None
        return reply.outcome

    def activate(
        self,
        config: Configuration,
        items: Sequence[Item] = (),
        edited: ChatContext | None = None,
        last: Item | None = None,
    ) -> None:
        """Bring the session to a configuration, in this very step.

        One batch: the update, then `items` (tool outputs, in call order), then the
        operations of an edit of the conversation, then the `last` item of it. Where no
        connection serves, or a fresh one is on its way, all of it is kept for that one.
        """
        connection = self.connection
        reuse = (
            connection is not None
            and connection.live
            and connection.sent_config is not None
            and not self.supervisor.replacing
        )
        sync = Sync(())
        items = [item for item in items if not self._was_taken_out(item)]
        if edited is not None and reuse:
            assert connection is not None
            assert connection.view is not None
            sync = plan_sync(self.record, connection.view, edited)
            items = [item for item in items if not self._falls_with_call(item, sync)]
        ending = () if last is None else (last,)
        commands = (
            *(CreateItem(item) for item in items),
            *sync.commands(self.listening.sound_of),
            *(CreateItem(item) for item in ending),
        )
        for item in items:
            self._intake.tell(self.record.add_local(item))
        if reuse:
            assert connection is not None
            assert connection.view is not None
            sync.note(self.record, connection.view, self.tell)
        elif edited is not None:
            apply_here(self.record, edited, self.tell)
        for item in ending:
            self.tell(self.record.add_local(item))
        self.supervisor.activate(config, commands if reuse else ())

    def _falls_with_call(self, item: Item, sync: Sync) -> bool:
        """Whether an output's call is deleted by the same batch."""
        if not isinstance(item, FunctionCallOutput):
            return False
        deleted = {o.item_id for o in sync.operations if isinstance(o, Delete)}
        calls = (self.record.get(item_id) for item_id in deleted)
        return any(
            isinstance(call, FunctionCall) and call.call_id == item.call_id
            for call in calls
        )

    def replace_connection(self) -> None:
        """Have a fresh connection take over from the present one."""
        self.supervisor.replace()

    def answer(
        self,
        items: Sequence[Item],
        *,
        turn: Turn | None,
        reply: bool,
        required: bool = False,
        use_tools: bool = True,
    ) -> None:
        """Post tool outputs in this very step, and the follow-up they call for.

        Args:
            turn: the turn that ends with it, if one does.
            reply: whether they call for one.
            required: it has to come, although the user is answered meanwhile.
            use_tools: False has it made without tools, where the model can do that.
        """
        self.add_outputs(items)
        if turn is not None:
            self.replying.slot.close_turn(turn)
        wanted = self.wanted
        model_replies = self.model.capabilities.auto_tool_reply_generation
        if reply and wanted is not None and not model_replies:
            command = CreateResponse(self.new_id())
            if not use_tools and self.model.capabilities.per_response_tool_choice:
                command = attrs.evolve(command, tool_choice="none")
            self.replying.ask(
                command=command, config=wanted, purpose="tools", required=required
            )
        else:
            self.replying.advance()

    def _was_taken_out(self, item: Item) -> bool:
        """Whether it answers a call that an edit has deleted: no server takes it."""
        return isinstance(item, FunctionCallOutput) and not any(
            isinstance(call, FunctionCall) and call.call_id == item.call_id
            for call in self.record.items
        )

    @property
    def counters(self) -> tuple[int, int, int, float]:
        """What there was so far.

        Control messages sent, their bytes, connections opened, and seconds in which the
        microphone was held back.
        """
        traffic, opened = self.traffic, self.supervisor.opened
        return traffic.messages, traffic.bytes, opened, self.listening.held_back
