"""Who speaks, whatever happens to agents and connections.

`Asking` posts wishes, `Responding` binds what the server makes of them; what is left is
here: what becomes of both when somebody interrupts, when another agent takes over, when
a connection is lost, and when a configuration cannot be had. All of it runs in the
reader's steps or in those of whoever asks; nothing waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from trialogue.conversation.items import FunctionCall, Message
from trialogue.errors import (
    ConnectionLost,
)
from trialogue.realtime.replies import ReplyOutcome, Response
from trialogue.realtime.responding import Responding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trialogue.realtime.configuration import Configuration
    from trialogue.realtime.connection import Connection

__all__ = ["Replying"]


class Replying(Responding):
    """The replies of one session, whatever connections they are made over."""

    # --- stopping ------------------------------------------------------------

    def cut_everything(self, *, force: bool = False) -> None:
        """The user speaks, or somebody interrupts: silence at once.

        Args:
            force: also of what may not be interrupted.
        """
        self._cutting.cut_everything(force=force)

    def interrupt(self, *, force: bool = False) -> None:
        """See `RealtimeSession.interrupt`."""
        posted = self.slot.posted
        if posted is not None and (force or posted.interruptible):
            self.leave(posted, silence=True)
        self._stop_speaking(force=force)

    def stop_for_voice(self) -> None:
        """The user speaks, and the provider leaves it to the client what stops for it.

        A reply that was asked for and has not begun is stopped when it appears: under
        automatic turns the answer to what the user says then serves it.
        """
        if self._session.turns_are_automatic():
            self._stop_speaking(force=False)
        else:
            self.interrupt()

    def _stop_speaking(self, *, force: bool) -> None:
        active = self.slot.active
        if active is not None and (force or active.interruptible):
            self._cutting.cut(active)
        self.cut_everything(force=force)

    # --- changes of agent and of connection ----------------------------------

    def epoch_changed(self) -> None:
        """Another configuration is wanted from now on: nothing of the old one begins.

        What the old agent has said plays on; what it would still say is cut.
        """
        for reply in tuple(self.slot.queue):
            if self._foreign(reply.config):
                self.slot.drop(reply)
                if not self.aside.take(reply):
                    reply.finish(ReplyOutcome("interrupted"))
                    self.owed |= reply.answers_user
        posted = self.slot.posted
        if posted is not None and self._foreign(posted.config):
            posted.unwanted = True
            posted.finish(ReplyOutcome("interrupted"))
        active = self.slot.active
        if active is not None and self._stale(active) and not active.discard:
            self._leave_off(active)
        self.slot.turn = None

    def _leave_off(self, response: Response) -> None:
        """Its agent is no longer current: no more is made of what is being said.

        What was made plays to its end; if nothing was heard yet, nothing will be.
        """
        if self._hearing.reached(response):
            self._cutting.stop(response)
            response.stopped = True
        else:
            self._cutting.cut(response)
            response.discard = True

    def connection_lost(self, connection: Connection) -> None:
        """Take back what was under way; it is asked for again, or reported lost."""
        self.slot.blocked = False
        posted = self.slot.posted
        if posted is not None:
            self.slot.requeue(posted)
            if posted.unwanted:
                self.slot.drop(posted)
                self.owed |= posted.answers_user
        for reply in self._out_of_band:
            reply.fail(ConnectionLost("the connection ended before the reply did"))
        self._out_of_band.clear()
        for response in tuple(self._responses.values()):
            here = response.generation == connection.generation
            if response.running and here and response.out_of_band:
                response.lost = True  # whoever waits has been told, above
                self._session.meter.response_lost(response, self._name(response))
                self._tell_end(response)
                response.ended.set()
            elif response.running and here:
                # One whose end was never announced, with another begun since: its
                # calls still wait for the end, the user has been answered.
                response.answers_user &= response is self.slot.active
                self._lost(connection, response)
        # What only the conversation has told of was never heard, nor run.
        self._forget(self._still_unclaimed())
        self._unclaimed.clear()

    def _lost(self, connection: Connection, response: Response) -> None:
        response.lost = True
        self._session.meter.response_lost(response, self._name(response))
        self.slot.finished(response)
        listener, reply = self._session.listener, response.reply
        unheard = not response.discard and not self._hearing.reached(response)
        again = (unheard or response.discard) and not response.calls
        if again:
            listener.cut(response)
            self._forget(response.items)
        elif not response.discard:
            self._keep_what_came(connection, response)
        self._forget_unannounced(response)
        response.ended.set()
        if reply is not None and again and not reply.unwanted and not response.discard:
            if not reply.answers_user:  # else it is owed, below
                self.slot.requeue(reply)
        elif reply is not None:
            response.heard_ms = self._hearing.heard_ms(response)
            reply.finish(response.result(self.items_of(response)))
        if (again or response.stopped) and response.answers_user:
            self.owed = True
        self._tell_end(response)
        listener.response_done(response)

    def _keep_what_came(self, connection: Connection, response: Response) -> None:
        """What arrived plays on and no more will come: the words so far stand."""
        for item in self.items_of(response):
            unfinished = isinstance(item, Message) and item.status == "in_progress"
            if unfinished and connection.view is not None:
                ended = attrs.evolve(item, status="incomplete")
                record = self._session.record
                self._session.tell(record.item_done(connection.view, ended))

    def _forget_unannounced(self, response: Response) -> None:
        """A call that was not complete when its connection ended was never made.

        Nobody runs it, so nobody will answer it: it may not stand in the record.
        """
        self._forget(
            item.id
            for item in self.items_of(response)
            if isinstance(item, FunctionCall) and item.call_id not in response.calls
        )

    def _forget(self, item_ids: Iterable[str]) -> None:
        self._session.tell(self._session.record.forget(item_ids))

    def config_failed(self, config: Configuration) -> None:
        """The configuration cannot be had: nothing made under it is heard."""
        if config.amends:
            return
        for reply in tuple(self.slot.queue):
            if reply.config is config:
                self.slot.drop(reply)
                reply.finish(ReplyOutcome("interrupted"))
        posted = self.slot.posted
        if posted is not None and posted.config is config:
            # Its scope is told of the failure as a whole; here it is merely over.
            posted.unwanted = True
            posted.finish(ReplyOutcome("interrupted"))
        # One that has ended may still have much to play.
        for response in tuple(self._responses.values()):
            if response.config is config and not response.discard:
                self._cutting.cut(response)
