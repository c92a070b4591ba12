"""The commands of a session, beside updates and replies: each sent once, and tracked.

docs/commands.md says what becomes of each when its connection is lost meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import trio

from trialogue.conversation.edits import Delete
from trialogue.conversation.items import (
    AudioPending,
    Content,
    FunctionCall,
    FunctionCallOutput,
    ImageContent,
    Item,
    Message,
    Role,
    TextContent,
)
from trialogue.dialects.commands import (
    ClearAudio,
    Command,
    CommitAudio,
    CreateItem,
    CreateUserAudio,
    DeleteItem,
    SendRaw,
    TruncateItem,
)
from trialogue.errors import ConnectionLost, ConversionError, ServerError
from trialogue.realtime.requests import (
    Request,
    RequestReport,
    RequestState,
    UpdateReport,
    item_of,
    report_on,
)
from trialogue.realtime.syncing import Sync

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialogue.conversation.changes import Change
    from trialogue.conversation.record import Record
    from trialogue.dialects.events import ErrorReported
    from trialogue.realtime.connection import Connection
    from trialogue.realtime.listener import Listener
    from trialogue.realtime.listening import Listening
    from trialogue.realtime.model import RealtimeModel
    from trialogue.realtime.signal import Signal
    from trialogue.realtime.updating import Updating

__all__ = ["Commanding", "MessageContent"]

MessageContent: TypeAlias = "str | bytes | Sequence[str | bytes | Content]"
"""Text, pictures in any mix with it, or one piece of audio (PCM16 24 kHz mono)."""


class Session(Protocol):
    """What this module needs of the session."""

    record: Record
    listening: Listening
    listener: Listener
    changed: Signal

    @property
    def over(self) -> bool: ...

    @property
    def model(self) -> RealtimeModel: ...

    @property
    def connection(self) -> Connection | None: ...

    def check_open(self) -> None: ...

    async def agreement(self, deadline: float) -> bool: ...

    def turns_are_automatic(self) -> bool: ...

    def add_items(self, items: Sequence[Item]) -> list[Request]: ...

    def new_item_id(self, prefix: str) -> str: ...

    def tell(self, change: Change) -> None: ...


class Commanding:
    """Sends the commands of one session."""

    def __init__(self, session: Session, updating: Updating) -> None:
        self._session = session
        self._updating = updating

    # --- audio ---------------------------------------------------------------

    async def commit_audio(self, patience: float) -> UpdateReport:
        """See `RealtimeSession.commit_audio`."""
        report, error = await self._about_audio(CommitAudio(), patience)
        if error is not None and not self._session.turns_are_automatic():
            raise ServerError(error.message, code=error.code)
        return report

    async def clear_audio(self, patience: float) -> UpdateReport:
        """See `RealtimeSession.clear_audio`."""
        report, _ = await self._about_audio(ClearAudio(), patience)
        return report

    async def _about_audio(
        self, command: Command, patience: float
    ) -> tuple[UpdateReport, ErrorReported | None]:
        upto = self._session.listening.ring.end
        deadline = trio.current_time() + patience
        if not await self._session.agreement(deadline):
            return _not_sent(command), None
        connection = self._serving()
        request = connection.encode(command, subject=upto)
        connection.post([request], after_audio=upto)
        report = await self._updating.track(connection, [request], Sync(()), deadline)
        return report, request.error

    # --- items ---------------------------------------------------------------

    async def truncate(self, command: TruncateItem, patience: float) -> UpdateReport:
        """See `RealtimeSession.truncate`."""
        deadline = trio.current_time() + patience
        if not await self._session.agreement(deadline):
            return _not_sent(command)
        connection = self._serving()
        request = connection.encode(command, subject="waited")
        connection.post([request])
        return await self._updating.track(connection, [request], Sync(()), deadline)

    async def delete(self, item_ids: Sequence[str], patience: float) -> UpdateReport:
        """See `RealtimeSession.delete_items`."""
        sync = Sync(tuple(Delete(item_id) for item_id in dict.fromkeys(item_ids)))
        deadline = trio.current_time() + patience
        if not await self._session.agreement(deadline):
            return _not_sent(*map(DeleteItem, dict.fromkeys(item_ids)))
        connection, record = self._serving(), self._session.record
        assert connection.view is not None
        view = connection.view
        # What this server was never given is forgotten here; nobody has to be asked.
        nowhere = [
            one.item_id
            for one in sync.operations
            if one.item_id in record
            and one.item_id not in view
            and not record.is_local(one.item_id)
        ]
        asked = tuple(o for o in sync.operations if o.item_id not in nowhere)
        sync = Sync(asked, tuple(nowhere))
        requests = [
            connection.encode(DeleteItem(one.item_id), subject="waited")
            for one in asked
        ]
        sync.note(record, view, self._session.tell)
        connection.post(requests)
        return await self._updating.track(connection, requests, sync, deadline)

    async def send_message(
        self, content: MessageContent, role: Role, patience: float
    ) -> UpdateReport:
        """See `RealtimeSession.send_message`."""
        session, deadline = self._session, trio.current_time() + patience
        item_id = session.new_item_id("msg")
        command = _message(item_id, content, role)
        session.model.dialect().encode(command, event_id="")  # raises if it has no form
        if not await session.agreement(deadline):
            return _not_sent(command)
        connection = self._serving()
        request = connection.encode(command, subject="waited")
        if isinstance(command, CreateUserAudio):
            session.listening.keep(item_id, command.pcm)
        session.tell(session.record.add_local(_recorded(command)))
        connection.post([request])
        if role == "user":
            session.listener.user_turn(item_id)
        return await self._updating.track(connection, [request], Sync(()), deadline)

    async def send_tool_output(
        self, call: FunctionCall | str, output: str, patience: float
    ) -> UpdateReport:
        """See `RealtimeSession.send_tool_output`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        session, deadline = self._session, trio.current_time() + patience
        session.check_open()
        call_id = call if isinstance(call, str) else call.call_id
        item = FunctionCallOutput(session.new_item_id("out"), call_id, output)
        session.model.dialect().encode(CreateItem(item), event_id="")
        requests = self._missing_call(call_id) + session.add_items([item])
        connection = session.connection
        with trio.CancelScope(deadline=deadline):
            if requests and connection is not None:
                # NB: never withdrawn. What a tool found out is not to be lost.
                with connection.ledger.expect(requests, lambda: None) as pending:
                    await pending.settled()
            if not _answered(requests):
                await session.changed.until(
                    lambda: not session.record.is_local(item.id)
                )
        return self._reported(item, requests)

    def _missing_call(self, call_id: str) -> list[Request]:
        """Give the server the call it is about, if it was replaced since.

        A fresh connection is not given calls that nobody has answered.
        """
        connection, record = self._session.connection, self._session.record
        if connection is None or not connection.live or connection.view is None:
            return []
        calls = [
            item
            for item in record.open_calls()
            if item.call_id == call_id
            and item.id not in connection.view
            and not record.is_local(item.id)
        ]
        requests = [connection.encode(CreateItem(call)) for call in calls]
        connection.post(requests)
        return requests

    def _reported(self, item: Item, requests: Sequence[Request]) -> UpdateReport:
        record = self._session.record
        if _refused(requests):
            self._session.tell(record.drop_local(item.id))
        elif not _answered(requests) and not record.is_local(item.id):
            # The next connection has it: its server was given it with all the rest.
            taken = RequestReport("CreateItem", RequestState.IMPLIED, item.id)
            return UpdateReport((taken,))
        return report_on(requests) if requests else _not_sent(CreateItem(item))

    # --- raw -----------------------------------------------------------------

    def send_raw(self, event: Any) -> str:
        """See `RealtimeSession.send_raw`."""
        session = self._session
        session.check_open()
        connection = session.connection
        if connection is None or not connection.live:
            msg = "no connection serves now; a raw event is for one that does"
            raise ConnectionLost(msg)
        request = connection.encode(SendRaw(event))
        connection.post([request])
        named = event.get("event_id") if isinstance(event, dict) else event.event_id
        return named if isinstance(named, str) else request.event_id

    def _serving(self) -> Connection:
        connection = self._session.connection
        assert connection is not None
        return connection


def _not_sent(*commands: Command) -> UpdateReport:
    """No connection served in time: nothing was sent."""
    return UpdateReport(
        tuple(
            RequestReport(type(one).__name__, RequestState.NOT_SENT, item_of(one))
            for one in commands
        )
    )


def _answered(requests: Sequence[Request]) -> bool:
    silent = {RequestState.PENDING, RequestState.LOST, RequestState.NOT_SENT}
    return bool(requests) and not any(r.state in silent for r in requests)


def _refused(requests: Sequence[Request]) -> bool:
    return bool(requests) and requests[-1].state is RequestState.REJECTED


def _recorded(command: CreateItem | CreateUserAudio) -> Item:
    if isinstance(command, CreateItem):
        return command.item
    sound = AudioPending(duration_ms=len(command.pcm) // 48)
    return Message(command.item_id, "user", (sound,))


def _message(
    item_id: str, content: MessageContent, role: Role
) -> CreateItem | CreateUserAudio:
    parts = [content] if isinstance(content, str | bytes) else list(content)
    if any(isinstance(part, bytes) for part in parts):
        return _audio_message(item_id, parts, role)
    return CreateItem(Message(item_id, role, tuple(map(_part, parts))))


def _audio_message(item_id: str, parts: list[Any], role: Role) -> CreateUserAudio:
    if len(parts) > 1 or role != "user":
        msg = (
            "audio is a message of its own, of role 'user'; send text and pictures in "
            "another message"
        )
        raise ConversionError(msg)
    if len(parts[0]) % 2:
        msg = f"{len(parts[0])} bytes of PCM16 end within a sample; give whole samples"
        raise ConversionError(msg)
    return CreateUserAudio(item_id, parts[0])


def _part(part: Any) -> Content:
    match part:
        case str():
            return TextContent(part)
        case TextContent() | ImageContent():
            return part
        case _:
            msg = (
                f"a message holds text, pictures or audio, not {type(part).__name__}: "
                "give str, TextContent, ImageContent, or bytes alone"
            )
            raise ConversionError(msg)
