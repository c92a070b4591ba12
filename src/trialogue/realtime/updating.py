"""Updates: one batch, one tracker, one report; nothing outlives the wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import trio

from trialogue.conversation.edits import Create
from trialogue.conversation.items import Message
from trialogue.dialects.commands import Creation, DeleteItem
from trialogue.dialects.options import UNCHANGED, SessionOptions, Unchanged
from trialogue.errors import ConfigurationError
from trialogue.realtime.configuration import Configuration
from trialogue.realtime.requests import Request, RequestState, UpdateReport, report_on
from trialogue.realtime.syncing import Sync, followers_of_missing, plan_sync

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialogue.conversation.changes import Change
    from trialogue.conversation.context import ChatContext
    from trialogue.conversation.record import Record
    from trialogue.realtime.connection import Connection
    from trialogue.realtime.listener import Listener
    from trialogue.realtime.listening import Listening
    from trialogue.realtime.supervisor import Supervisor
    from trialogue.tools.spec import ToolSpec

__all__ = ["Updating"]


class Session(Protocol):
    """What this module needs of the session."""

    record: Record
    listening: Listening
    supervisor: Supervisor

    @property
    def connection(self) -> Connection | None: ...

    @property
    def listener(self) -> Listener: ...

    @property
    def wanted(self) -> Configuration | None: ...

    def check_open(self) -> None: ...

    def tell(self, change: Change) -> None: ...


class Updating:
    """Sends updates of one session and follows what becomes of them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def update(
        self,
        instructions: str | Unchanged,
        tools: Sequence[ToolSpec] | Unchanged,
        options: SessionOptions | None,
        chat_ctx: ChatContext | Unchanged,
        deadline: float,
    ) -> UpdateReport:
        """Convert everything, send it as one batch, and wait until `deadline`."""
        session = self._session
        session.check_open()
        connection = session.connection
        assert connection is not None
        edited = self._edited(instructions, tools, options)
        sync = Sync(())
        if chat_ctx is not UNCHANGED:
            assert connection.view is not None
            sync = plan_sync(session.record, connection.view, chat_ctx)
        requests = self._encode_update(connection, edited, sync)
        if connection.view is not None:
            sync.note(session.record, connection.view, session.tell)
        self._tell_turns(sync)
        return await self.track(connection, requests, sync, deadline)

    def _tell_turns(self, sync: Sync) -> None:
        """What the user wrote is a turn like any other."""
        for operation in sync.operations:
            item = operation.item if isinstance(operation, Create) else None
            if isinstance(item, Message) and item.role == "user":
                self._session.listener.user_turn(item.id)

    def _edited(
        self,
        instructions: str | Unchanged,
        tools: Sequence[ToolSpec] | Unchanged,
        options: SessionOptions | None,
    ) -> Configuration | None:
        wanted = self._session.wanted
        assert wanted is not None
        changes: dict[str, Any] = {}
        if instructions is not UNCHANGED:
            changes["instructions"] = instructions
        if tools is not UNCHANGED:
            changes["tools"] = tuple(tools)
        if options is not None:
            _check_formats(options, wanted.options)
            changes["options"] = wanted.options.merged(options)
        return wanted.edited(**changes) if changes else None

    def _encode_update(
        self, connection: Connection, edited: Configuration | None, sync: Sync
    ) -> list[Request]:
        commands = [
            connection.encode(command, subject="waited")
            for command in sync.commands(self._session.listening.sound_of)
        ]
        if edited is None:
            connection.post(commands)
            return commands
        return self._session.supervisor.amend(connection, edited, commands)

    async def track(
        self,
        connection: Connection,
        requests: list[Request],
        sync: Sync,
        deadline: float,
    ) -> UpdateReport:
        """Wait for the outcome of requests; leaving, in any way, removes the tracker.

        What was refused only for its predecessor is sent once more, elsewhere (S16).
        """
        order = () if connection.view is None else connection.view.ids
        with connection.ledger.expect(
            requests, lambda: self._withdraw(connection, requests)
        ) as pending:
            with trio.CancelScope(deadline=deadline):
                await pending.settled()
            held = () if connection.view is None else connection.view.ids
            again = followers_of_missing(requests, sync.operations, order, held)
        report = report_on(requests)
        if not again or not connection.live:
            return report
        # Refused only because what they followed was refused: once more, elsewhere.
        retry = Sync(again)
        resent = [
            connection.encode(command, subject="waited")
            for command in retry.commands(self._session.listening.sound_of)
        ]
        if connection.view is not None:
            session = self._session
            retry.note(session.record, connection.view, session.tell)
        connection.post(resent)
        replaced = {operation.item_id for operation in again}
        kept = tuple(r for r in report.requests if r.item_id not in replaced)
        later = await self.track(connection, resent, Sync(()), deadline)
        return UpdateReport(kept) + later

    def _withdraw(self, connection: Connection, requests: Sequence[Request]) -> None:
        connection.withdraw_requests(requests)
        for request in requests:
            if request.state is RequestState.NOT_SENT:
                self._take_back(connection, request)
            rejected = request.state is RequestState.REJECTED
            if rejected and isinstance(request.command, Creation):
                self._drop(request.command)
            pending = request.state is RequestState.PENDING
            if pending and isinstance(request.subject, Configuration):
                request.subject.unanswered = True

    def _take_back(self, connection: Connection, request: Request) -> None:
        """What never left is as if it had not been asked for."""
        if isinstance(request.subject, Configuration):
            self._session.supervisor.take_back(connection, request.subject)
        elif isinstance(request.command, Creation):
            self._drop(request.command)
        elif isinstance(request.command, DeleteItem) and connection.view is not None:
            self._session.record.delete_refused(
                connection.view, request.command.item_id
            )

    def _drop(self, command: Creation) -> None:
        self._session.tell(self._session.record.drop_local(command.item_id))


def _check_formats(options: SessionOptions, present: SessionOptions) -> None:
    """Refuse another audio format, which would never be sent (H16)."""
    for name in ("input_format", "output_format"):
        asked, held = getattr(options, name), getattr(present, name)
        if asked is not UNCHANGED and asked != ("pcm16" if held is UNCHANGED else held):
            raise ConfigurationError(
                f"{name} cannot become {asked!r}: formats are fixed once a session is "
                "open. Give them to the model, or to whatever opens the session"
            )
