"""What a session measures of itself, and the one snapshot of it."""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import trio

from trialogue.dialects.events import Usage
from trialogue.realtime.input_ring import SAMPLE_RATE
from trialogue.realtime.notices import (
    ConnectionOpened,
    MalformedFrame,
    OpenReason,
    UserStartedSpeaking,
    UserStoppedSpeaking,
)
from trialogue.realtime.requests import RequestState

if TYPE_CHECKING:
    from trialogue.dialects.events import ResponseDone
    from trialogue.realtime.broadcast import Broadcast
    from trialogue.realtime.connection import Connection, Traffic
    from trialogue.realtime.listening import Listening
    from trialogue.realtime.replies import Response
    from trialogue.realtime.replying import Replying
    from trialogue.realtime.requests import Request

__all__ = [
    "Durations",
    "Metrics",
    "ResponseMetrics",
    "SubscriberMetrics",
    "TranscriptionUsage",
]

KEPT = 512
"""The newest durations of a kind that median and 95th percentile are taken from."""
PENDING = 64
"""Responses that were heard and have not ended; more of them are forgotten."""


@attrs.frozen
class Durations:
    """How long something took, in seconds on Trio's clock.

    `count` and `mean` are over all of them, `p50` and `p95` over the newest 512. All
    but the count are None while there was none.
    """

    count: int = 0
    last: float | None = None
    mean: float | None = None
    p50: float | None = None
    p95: float | None = None


@attrs.frozen
class TranscriptionUsage:
    """What the provider charged for transcribing the user, as far as it said so.

    Some models are charged by tokens, others by seconds of audio.
    """

    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    audio_tokens: int = 0
    seconds: float = 0.0


@attrs.frozen
class SubscriberMetrics:
    """One subscriber that is there now: what it missed, and what it has yet to read."""

    kinds: tuple[str, ...]
    missed: int
    unread: int


@attrs.frozen
class Metrics:
    """What a session has done up to now; take one whenever you like.

    Attributes:
        seconds: since the session's block began.
        usage: the tokens of all responses, by modality, cached and cancelled included.
        transcription: what transcribing the user has cost.
        responses: how many ended, by outcome: "completed", "interrupted", "incomplete",
            "failed", "lost" (with their connection).
        first_audio: from the moment a reply's request was written to its first audio.
        turn_to_audio: from the end of the user's turn to the answer's first audio. The
            end is where the provider found it, behind the silence it waits for.
        connections: how many served, by reason: "first", "reconnect", "rotation", …
        connect: from dialling to the provider's first event, of those that served.
        requests: from written to answered, by kind of command ("UpdateSession", …).
        late_answers: answers that nobody waited for any more.
        messages, bytes: control messages sent, over all connections; audio aside.
        malformed: frames that could not be read.
        dropped_audio: seconds of microphone audio that nobody could take.
        dropped_events: events that subscribers missed, those that have left included.
        subscribers: those that are there.
    """

    seconds: float = 0.0
    usage: Usage = attrs.field(factory=Usage)
    transcription: TranscriptionUsage = attrs.field(factory=TranscriptionUsage)
    responses: dict[str, int] = attrs.field(factory=dict)
    first_audio: Durations = attrs.field(factory=Durations)
    turn_to_audio: Durations = attrs.field(factory=Durations)
    connections: dict[OpenReason, int] = attrs.field(factory=dict)
    connect: Durations = attrs.field(factory=Durations)
    requests: dict[str, Durations] = attrs.field(factory=dict)
    late_answers: int = 0
    messages: int = 0
    bytes: int = 0
    malformed: int = 0
    dropped_audio: float = 0.0
    dropped_events: int = 0
    subscribers: tuple[SubscriberMetrics, ...] = ()

    @property
    def reconnects(self) -> int:
        """Connections that took over from one that was lost."""
        return self.connections.get("reconnect", 0)

    @property
    def rotations(self) -> int:
        """Connections that took over from one that neared its end."""
        return self.connections.get("rotation", 0)


@attrs.frozen
class ResponseMetrics:
    """A response ended; what it took and cost. Cancelled ones are told of as well.

    Attributes:
        outcome: as in `Metrics.responses`.
        agent: the name of whoever answered for it, or None.
        usage: its tokens; None if the provider reported none.
        first_audio: seconds from its request to its first audio; None if it was not
            asked for by this session, or nothing of it may be heard.
        turn_to_audio: seconds from the end of the user's turn to its first audio, if it
            was the first to be heard after that.
        seconds: from its creation to its end.
    """

    response_id: str
    outcome: str
    agent: str | None = None
    usage: Usage | None = None
    first_audio: float | None = None
    turn_to_audio: float | None = None
    seconds: float = 0.0


class Series:
    """Durations as they come: a sum over all, and the newest `KEPT`."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = 0.0
        self._newest: deque[float] = deque(maxlen=KEPT)

    def add(self, seconds: float) -> None:
        self._count += 1
        self._sum += seconds
        self._newest.append(seconds)

    def summary(self) -> Durations:
        if not self._newest:
            return Durations()
        ranked = sorted(self._newest)
        return Durations(
            self._count,
            self._newest[-1],
            self._sum / self._count,
            _percentile(ranked, 0.5),
            _percentile(ranked, 0.95),
        )


def _percentile(ranked: list[float], part: float) -> float:
    """The nearest-rank percentile: always one of the values."""
    return ranked[math.ceil(part * len(ranked)) - 1]


class Session(Protocol):
    """What is measured, where the session knows it already."""

    listening: Listening
    replying: Replying
    traffic: Traffic

    def publish(self, event: object) -> None: ...


class Meter:
    """Counts and times what a session does. Its memory is bounded; nothing waits.

    Attributes:
        transcription: what transcribing the user has cost.
    """

    def __init__(self, session: Session, broadcast: Broadcast) -> None:
        self._session = session
        self._broadcast = broadcast
        self._began: float | None = None
        self.transcription = TranscriptionUsage()
        self._responses: dict[str, int] = defaultdict(int)
        self._first_audio = Series()
        self._turn_to_audio = Series()
        self._connect = Series()
        self._requests: dict[str, Series] = defaultdict(Series)
        self._connections: dict[OpenReason, int] = defaultdict(int)
        self._malformed = 0
        self._turn_ended = math.inf
        self._heard: OrderedDict[str, tuple[float | None, float | None]] = OrderedDict()
        self._open: list[Connection] = []
        self._late_answers = 0

    # --- what happens --------------------------------------------------------

    def begin(self) -> None:
        """The session's block begins."""
        self._began = trio.current_time()

    def watch(self, connection: Connection) -> None:
        """A connection is about to be dialled."""
        self._open.append(connection)
        connection.ledger.on_settled = self._settled

    def ended(self, connection: Connection) -> None:
        """A connection ended."""
        if connection in self._open:
            self._open.remove(connection)
            self._late_answers += connection.ledger.late_answers

    def observe(self, event: object) -> None:
        """Something was published."""
        match event:
            case ConnectionOpened(seconds=seconds, reason=reason):
                self._connections[reason] += 1
                self._connect.add(seconds)
            case UserStartedSpeaking():
                self._turn_ended = math.inf
            case UserStoppedSpeaking():
                now = trio.current_time()
                self._turn_ended = self._session.listening.turn_ended_at(now)
            case MalformedFrame():
                self._malformed += 1
            case _:
                pass

    def transcribed(self, usage: dict[str, Any] | None) -> None:
        """A turn of the user's was transcribed, at this price."""
        before, said = self.transcription, usage or {}
        details = said.get("input_token_details")
        audio = details.get("audio_tokens") if isinstance(details, dict) else None
        self.transcription = TranscriptionUsage(
            before.turns + 1,
            before.input_tokens + int(_number(said.get("input_tokens"))),
            before.output_tokens + int(_number(said.get("output_tokens"))),
            before.audio_tokens + int(_number(audio)),
            before.seconds + _number(said.get("seconds")),
        )

    def first_audio(self, response: Response) -> None:
        """The first audio of a response that may be heard has arrived."""
        now = trio.current_time()
        request = None if response.reply is None else response.reply.request
        asked = None if request is None else request.written_at
        since_request = None if asked is None else now - asked
        since_turn = None
        if not response.out_of_band and response.created_at >= self._turn_ended:
            since_turn, self._turn_ended = now - self._turn_ended, math.inf
            self._turn_to_audio.add(since_turn)
        if since_request is not None:
            self._first_audio.add(since_request)
        self._heard[response.id] = (since_request, since_turn)
        if len(self._heard) > PENDING:
            self._heard.popitem(last=False)

    def response_done(
        self, response: Response, done: ResponseDone, agent: str | None
    ) -> None:
        """A response ended, in the server's own word."""
        failed = done.status == "failed" and not (response.discard or response.cut)
        outcome = "failed" if failed else response.result(()).outcome
        self._ended(response, outcome, agent, done.usage)

    def _ended(
        self, response: Response, outcome: str, agent: str | None, usage: Usage | None
    ) -> None:
        self._responses[outcome] += 1
        since_request, since_turn = self._heard.pop(response.id, (None, None))
        self._session.publish(
            ResponseMetrics(
                response.id,
                outcome,
                agent,
                usage,
                since_request,
                since_turn,
                trio.current_time() - response.created_at,
            )
        )

    def response_lost(self, response: Response, agent: str | None) -> None:
        """A response ended with its connection; what it cost is not known."""
        self._ended(response, "lost", agent, None)

    def _settled(self, request: Request) -> None:
        answered = request.state in {RequestState.ACKNOWLEDGED, RequestState.REJECTED}
        written, settled = request.written_at, request.settled_at
        if answered and request.answer and written is not None and settled is not None:
            self._requests[type(request.command).__name__].add(settled - written)

    # --- what is told --------------------------------------------------------

    def snapshot(self) -> Metrics:
        """Everything, as it is now."""
        session = self._session
        began = self._began
        live = sum(connection.ledger.late_answers for connection in self._open)
        return Metrics(
            seconds=0.0 if began is None else trio.current_time() - began,
            usage=session.replying.usage,
            transcription=self.transcription,
            responses=dict(self._responses),
            first_audio=self._first_audio.summary(),
            turn_to_audio=self._turn_to_audio.summary(),
            connections=dict(self._connections),
            connect=self._connect.summary(),
            requests={kind: s.summary() for kind, s in self._requests.items()},
            late_answers=self._late_answers + live,
            messages=session.traffic.messages,
            bytes=session.traffic.bytes,
            malformed=self._malformed,
            dropped_audio=session.listening.ring.dropped / SAMPLE_RATE,
            dropped_events=self._broadcast.missed,
            subscribers=tuple(
                SubscriberMetrics(each.names, each.total_missed, each.unread)
                for each in self._broadcast
            ),
        )


def _number(value: Any) -> float:
    """A provider's number; what is none counts as nothing (R7)."""
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    return max(0, value) if usable and math.isfinite(value) else 0
