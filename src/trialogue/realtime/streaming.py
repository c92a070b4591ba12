"""A reply while it is made: its messages, words, sound and calls, as they arrive.

The reader of the connection puts in what comes and never waits; whoever iterates takes
it out. What was taken out of `audio()` is what was heard, unless the program knows
better (`ReplyStream.heard`).
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Generic, Literal, Protocol, TypeVar

import attrs
import trio

from trialogue.errors import ConfigurationError, SubscriberLagged
from trialogue.realtime.input_ring import SAMPLE_RATE
from trialogue.realtime.notices import ErrorNotice
from trialogue.realtime.reply_content import Part, ReplyContent
from trialogue.realtime.reply_log import Cursor
from trialogue.realtime.signal import Signal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from trialogue.conversation.items import FunctionCall
    from trialogue.dialects.events import Usage
    from trialogue.realtime.replies import Reply, ReplyOutcome, Tap
    from trialogue.realtime.replying import Replying

__all__ = [
    "DEFAULT_LIMITS",
    "MessageStream",
    "ReplyReader",
    "ReplyStream",
    "StreamLimits",
    "streamed",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@attrs.frozen
class StreamLimits:
    """How much of a reply is held for whoever has not read it yet.

    Attributes:
        audio_seconds: of sound; the default holds the longest answer there can be.
        text_chars: of text and transcript.
        on_overflow: "drop_oldest" counts what was dropped in `ReplyReader.missed`;
            "raise" raises `SubscriberLagged` in the iteration that missed it.
    """

    audio_seconds: float = 300.0
    text_chars: int = 200_000
    on_overflow: Literal["drop_oldest", "raise"] = "drop_oldest"

    def __attrs_post_init__(self) -> None:
        if self.audio_seconds <= 0 or self.text_chars < 1:
            msg = (
                "a reply's stream holds some audio and some text, not "
                f"{self.audio_seconds} s and {self.text_chars} characters"
            )
            raise ConfigurationError(msg)


DEFAULT_LIMITS = StreamLimits()

MOST_AT_ONCE: Final = 16
"""Pieces that an iteration gives out before another task gets its turn."""


class _Source(Protocol[T_co]):
    """Where a reader takes from; nothing here waits."""

    @property
    def missed(self) -> float: ...

    def ready(self) -> bool: ...

    def over(self) -> bool: ...

    def take(self) -> T_co: ...


class _Listed(Generic[T]):
    """Messages, or calls: few, and none is ever dropped."""

    missed = 0.0

    def __init__(self, content: ReplyContent, items: Callable[[], list[T]]) -> None:
        self._content = content
        self._items = items
        self._taken = 0

    def ready(self) -> bool:
        return self._taken < len(self._items())

    def over(self) -> bool:
        return self._content.ended

    def take(self) -> T:
        self._content.reached = True
        self._taken += 1
        return self._items()[self._taken - 1]


class _Words:
    """The words of a message, or of all."""

    def __init__(self, content: ReplyContent, part: Part | None) -> None:
        self._content = content
        self._part = part
        self._cursor = Cursor(content.words, None if part is None else part.item_id)

    @property
    def missed(self) -> float:
        return self._cursor.missed

    def ready(self) -> bool:
        return self._cursor.peek() is not None

    def over(self) -> bool:
        return self._content.ended or (self._part is not None and self._part.ended)

    def take(self) -> str:
        piece = self._cursor.take()
        assert piece is not None
        return self._content.take_words(piece)


class _Sound:
    """The sound of a message, or of all."""

    def __init__(self, content: ReplyContent, part: Part | None) -> None:
        self._content = content
        self._part = part
        self._cursor = Cursor(content.sound, None if part is None else part.item_id)

    @property
    def missed(self) -> float:
        return self._cursor.missed / SAMPLE_RATE

    def ready(self) -> bool:
        return not self._content.silenced and self._cursor.peek() is not None

    def over(self) -> bool:
        part_ended = self._part is not None and self._part.sound_ended
        return self._content.ended or self._content.silenced or part_ended

    def take(self) -> bytes:
        piece = self._cursor.take()
        assert piece is not None
        return self._content.take_sound(piece)


class ReplyReader(Generic[T]):
    """One iteration over a reply's content; several may go on at once.

    It ends with what it reads, after everything that had arrived, and stays ended.
    Cancelling it loses nothing: iterating again goes on behind what was last taken.

    Raises, in the iteration:
        ResponseFailed, ServerError, ConnectionLost, ResponseBusy: the reply failed.
        SubscriberLagged: with `on_overflow="raise"`, some was dropped unread.
    """

    def __init__(self, stream: ReplyStream, source: _Source[T]) -> None:
        self._stream = stream
        self._source = source
        self._told = 0.0
        self._at_once = 0

    def __aiter__(self) -> ReplyReader[T]:
        return self

    @property
    def missed(self) -> float:
        """What was dropped before it was read: characters, or seconds of audio."""
        return self._source.missed

    async def __anext__(self) -> T:
        source, stream = self._source, self._stream
        if self._at_once < MOST_AT_ONCE and source.ready():
            self._at_once += 1
            await trio.lowlevel.checkpoint_if_cancelled()
            found = True
        else:
            if self._at_once >= MOST_AT_ONCE:
                await trio.lowlevel.checkpoint()
            self._at_once = 0
            await stream._changed.until(lambda: source.ready() or source.over())
            found = source.ready()
        if stream._limits.on_overflow == "raise":
            self._raise_lag()
        if not found:
            stream._raise_failure()
            raise StopAsyncIteration
        return source.take()

    def _raise_lag(self) -> None:
        missed = self.missed
        if missed > self._told:
            lost, self._told = missed - self._told, missed
            msg = (
                f"{lost:g} characters or seconds of this reply were dropped unread; "
                "read faster, or hold more of it (StreamLimits)"
            )
            raise SubscriberLagged(msg, missed=max(1, round(lost)))


class MessageStream:
    """One message of a reply, while it is made.

    Attributes:
        item_id: the id of its item in the conversation.
    """

    def __init__(self, stream: ReplyStream, part: Part) -> None:
        self.item_id = part.item_id
        self._stream = stream
        self._part = part

    def __repr__(self) -> str:
        return f"<MessageStream {self.item_id} ended={self._part.ended}>"

    @property
    def heard_ms(self) -> int:
        """How much of its sound counts as heard; see `ReplyStream.heard`."""
        return self._stream._content.heard_of(self._part)

    def text(self) -> ReplyReader[str]:
        """Iterate over its words as they come: text, or the transcript of its sound."""
        return self._stream._read_words(self._part)

    def audio(self) -> ReplyReader[bytes]:
        """Iterate over its sound as it comes: PCM16 24 kHz mono, in whole samples."""
        return self._stream._read_sound(self._part)


class ReplyStream:
    """One reply, while it is made; see `RealtimeSession.open_reply`."""

    def __init__(self, limits: StreamLimits) -> None:
        self._limits = limits
        self._changed = Signal()
        self._content = ReplyContent(
            limits.audio_seconds, limits.text_chars, self._changed.pulse
        )
        self._messages: dict[str, MessageStream] = {}
        self._told = False
        self._reply: Reply

    def __repr__(self) -> str:
        return f"<ReplyStream {self.response_id} {self._content!r}>"

    @property
    def response_id(self) -> str | None:
        """The id of its response, once that was created."""
        response = self._reply.response
        return None if response is None else response.id

    @property
    def usage(self) -> Usage | None:
        """The tokens it took, once it has ended."""
        response = self._reply.response
        done = None if response is None else response.done
        return None if done is None else done.usage

    @property
    def heard_ms(self) -> int:
        """How much of its sound counts as heard, over all its messages."""
        return self._content.heard_ms

    def heard(self, ms: float) -> None:
        """Say how much of its sound a loudspeaker has played, from its beginning.

        Without a word from the program, what was taken out of `audio()` counts as
        heard. A program that buffers says what was really played, as often as it likes:
        the last word counts when the reply is cut. More than has come is taken for all
        that has come. Where agents speak, their playout decides, and this changes
        nothing.

        Args:
            ms: milliseconds since the beginning of the reply, over all its messages.
        """
        self._content.played(int(ms))

    def messages(self) -> ReplyReader[MessageStream]:
        """Iterate over its messages in order, each as soon as it begins."""
        return ReplyReader(self, _Listed(self._content, self._begun))

    def text(self) -> ReplyReader[str]:
        """Iterate over the words of all its messages: text, or transcript of sound."""
        return self._read_words(None)

    def audio(self) -> ReplyReader[bytes]:
        """Iterate over the sound of all its messages: PCM16 24 kHz mono."""
        return self._read_sound(None)

    def calls(self) -> ReplyReader[FunctionCall]:
        """Iterate over its calls in order, each as soon as it is complete (R11).

        Without agents the program answers each: `session.send_tool_output`.
        """
        return ReplyReader(self, _Listed(self._content, lambda: self._content.calls))

    async def outcome(self) -> ReplyOutcome:
        """Wait until it has ended, and return how; with that it counts as received.

        Raises:
            ResponseFailed, ServerError, ConnectionLost, ResponseBusy: it failed.
        """
        reply, content = self._reply, self._content
        await self._changed.until(reply.settled.is_set)
        self._raise_failure()
        content.reached = content.accepted = True
        await trio.lowlevel.cancel_shielded_checkpoint()
        assert reply.outcome is not None
        if content.cut_short and reply.outcome.outcome == "completed":
            # Complete when the user spoke, and not yet heard to its end.
            return attrs.evolve(
                reply.outcome, outcome="interrupted", heard_ms=content.heard_ms
            )
        return reply.outcome

    # --- for its parts -------------------------------------------------------

    def _begun(self) -> list[MessageStream]:
        for part in self._content.parts:
            known = self._messages.get(part.item_id)
            if known is None or known._part is not part:
                self._messages[part.item_id] = MessageStream(self, part)
        return [self._messages[part.item_id] for part in self._content.parts]

    def _read_words(self, part: Part | None) -> ReplyReader[str]:
        return ReplyReader(self, _Words(self._content, part))

    def _read_sound(self, part: Part | None) -> ReplyReader[bytes]:
        self._content.listened = True
        return ReplyReader(self, _Sound(self._content, part))

    def _raise_failure(self) -> None:
        if self._reply.error is not None:
            self._told = True
            raise self._reply.error


class Session(Protocol):
    """What this module needs of the session."""

    @property
    def replying(self) -> Replying: ...

    def check_open(self) -> None: ...

    def publish(self, event: object) -> None: ...


@asynccontextmanager
async def streamed(
    session: Session,
    ask: Callable[[Tap], Reply],
    limits: StreamLimits,
    silence: Callable[[], bool] = lambda: True,
) -> AsyncIterator[ReplyStream]:
    """Ask for a reply and stream it; see `RealtimeSession.open_reply`.

    Args:
        ask: asks, with the tap that is to be given what comes.
        silence: whether leaving early also stops what is being said.
    """
    await trio.lowlevel.checkpoint()
    session.check_open()
    stream = ReplyStream(limits)
    stream._reply = reply = ask(stream._content)
    stream._raise_failure()  # it could not even be asked for
    try:
        yield stream
    except BaseException:
        session.replying.left(reply, silence=silence())
        if reply.error is not None and not stream._told:
            # The block has its own reason to fail; this one is told nevertheless.
            code = getattr(reply.error, "code", None)
            session.publish(ErrorNotice(str(reply.error), code))
        raise
    session.replying.left(reply, silence=silence())
    if not stream._told:
        stream._raise_failure()
