"""The responses of one connection: at most one in the conversation (protocol §9.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from trialogue.dialects.openai.wire.response import ResponseParams
from trialogue.testing.live_reply import LiveReply
from trialogue.testing.machine.conversation import BYTES_PER_MS
from trialogue.testing.machine.keeping import Keeping, Tail
from trialogue.testing.machine.outputs import Refusal
from trialogue.testing.machine.request import Request, build
from trialogue.testing.machine.response import Running
from trialogue.testing.machine.usage import text_tokens
from trialogue.testing.script import AskedBy, Brain, Reply, Turn, parts_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue.dialects.openai.wire.session import Session
    from trialogue.testing.machine.conversation import Held
    from trialogue.testing.machine.host import Host
    from trialogue.testing.machine.records import ResponseRecord

__all__ = ["Responses"]

_PLAIN: Final = ResponseParams()


class _Idle(Protocol):
    """Waits for the user when nothing is said."""

    def arm(self, playback_ms: float) -> None: ...
    def disarm(self) -> None: ...


class Responses:
    """Starts, cancels and remembers responses.

    Args:
        host: the connection's.
        brain: decides what is said.
        session: returns the session as it is now.
        index: the connection's number, for the brain.
        keeping: how much is remembered.
        hold: makes of an item of a response's own context what the server has of it.
    """

    def __init__(
        self,
        host: Host,
        brain: Brain | Callable[[Turn], Reply | LiveReply],
        session: Callable[[], Session],
        index: int,
        keeping: Keeping,
        hold: Callable[[Any], Held],
    ) -> None:
        self.records: Tail[ResponseRecord] = Tail(keeping.responses)
        self.active: Running | None = None
        self.idle: _Idle | None = None
        self._beside: dict[str, Running] = {}
        self._host = host
        self._brain = brain
        self._session = session
        self._index = index
        self._hold = hold
        self._waiting: AskedBy | None = None
        self._read = 0

    def __repr__(self) -> str:
        return f"<Responses active={self.active!r} beside={len(self._beside)}>"

    def create(self, params: ResponseParams, asked_by: AskedBy = "client") -> None:
        """Begin a response.

        Raises:
            Refusal: one is running in the conversation, or the overrides are not
                allowed.
        """
        if params.conversation != "none" and self.active is not None:
            raise Refusal(
                "conversation_already_has_active_response",
                "Conversation already has an active response in progress: "
                f"{self.active.id}. Wait until the response is finished before "
                "creating a new one.",
            )
        request = build(
            self._session(),
            params,
            self._host.conversation,
            response_id=self._host.ids.new("resp"),
            asked_by=asked_by,
            now=self._host.now,
            hold=self._hold,
        )
        self._begin(request)

    def _begin(self, request: Request) -> None:
        turn = request.turn(
            connection=self._index,
            ordinal=self.records.total,
        )
        reply = self._brain(turn)
        parts = reply if isinstance(reply, LiveReply) else parts_of(reply)
        running = Running(self._host, request, self._read // 64 * 64, self._ended)
        self.records.append(request.record)
        self._read = text_tokens(request.prefix)
        if request.record.in_conversation:
            self.active = running
            if self.idle is not None:
                self.idle.disarm()
        else:
            self._beside[running.id] = running
        running.start(parts)

    def _ended(self, running: Running) -> None:
        self._beside.pop(running.id, None)
        if self.active is not running:
            return
        self.active = None
        if self._waiting is not None:
            asked_by, self._waiting = self._waiting, None
            self.create(_PLAIN, asked_by)
        elif self.idle is not None:
            sound = sum(len(held.pcm) for held in running.held)
            self.idle.arm(sound / BYTES_PER_MS)

    def interrupt(self) -> None:
        """The user speaks: end what is being said in the conversation (§16.33).

        What waits to be answered is answered with what they say now.
        """
        self._waiting = None
        if self.active is not None:
            self.active.cancel("turn_detected")

    def answer(self, asked_by: AskedBy) -> None:
        """A turn ended: answer it, unless a response runs (§16.34)."""
        if self.active is None:
            self.create(_PLAIN, asked_by)
        elif self._host.settings.when_busy == "queue" or self.active.ending:
            self._waiting = asked_by

    def abandon(self) -> None:
        """The connection is over: whoever still makes a response of it may stop."""
        for running in (self.active, *self._beside.values()):
            if running is not None:
                running.abandon()

    def cancel(self, response_id: str | None) -> None:
        """End a response: the named one, or that of the conversation.

        Raises:
            Refusal: there is no such response.
        """
        running = self.active
        if response_id is not None and (running is None or running.id != response_id):
            running = self._beside.get(response_id)
        if running is None or running.ending:
            raise Refusal(
                "response_cancel_not_active",
                "Cancellation failed: no active response found",
            )
        running.cancel("client_cancelled")
