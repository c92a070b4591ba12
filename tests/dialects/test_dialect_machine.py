"""The client's dialect and the server's machine, face to face, step by step.

Commands go in on one side, neutral events come out on the same; between them is nothing
but text. The model is what was asked for and has not been answered.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from stepping import stepping
from trialogue.conversation import Message, TextContent
from trialogue.dialects.commands import (
    AppendAudio,
    CancelResponse,
    Command,
    CreateItem,
    CreateResponse,
    DeleteItem,
    RetrieveItem,
    TruncateItem,
    UpdateSession,
)
from trialogue.dialects.events import ErrorReported, Event
from trialogue.dialects.openai import OpenAIDialect
from trialogue.dialects.openai.wire import encode_event
from trialogue.testing import Call, Say, Settings, Turn, Utterances, quiet, voice
from trialogue.testing.machine import Hangup, Machine

if TYPE_CHECKING:
    from trialogue.dialects.dialect import AnswerKey

VOICE = voice("Hello there.", 300)
WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20
)


def brain(turn: Turn) -> Any:
    if turn.ordinal % 3 == 2:
        return [Say("One moment.", ms=100), Call("look")]
    return Say(f"Reply {turn.ordinal}.", ms=200)


class DialectMachine(RuleBasedStateMachine):
    """Each request is answered once, by its key or by an error that names it."""

    def __init__(self) -> None:
        super().__init__()
        utterances = Utterances()
        utterances.add(VOICE, "Hello there.")
        self.machine = Machine(brain, utterances, Settings(oddities=True))
        self.dialect = OpenAIDialect()
        self.now = 0.0
        self.count = 0
        self.owed: dict[str, AnswerKey | None] = {}
        self.order: list[str] = []
        self.events: list[Event] = []
        self._read(self.machine.open(0.0, model="gpt-realtime", key="key"))

    # --- both ends -----------------------------------------------------------------

    def _send(self, command: Command) -> str:
        self.count += 1
        event_id = f"ours_{self.count}"
        encoded = self.dialect.encode(command, event_id=event_id)
        if encoded.answer is not None:
            self.owed[event_id] = encoded.answer
        self._read(self.machine.receive(encoded.text, self.now))
        return event_id

    def _read(self, outputs: Any) -> None:
        for output in outputs:
            assert not isinstance(output, Hangup)
            for event in self.dialect.decode(encode_event(output)):
                self._take(event)

    def _take(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, ErrorReported):
            assert event.event_id is not None
            self.owed.pop(event.event_id, None)
            return
        answers = getattr(event, "answers", None)
        mine = [one for one, key in self.owed.items() if answers and key == answers]
        if mine:
            del self.owed[mine[0]]  # the oldest: answers keep the order

    # --- what is asked for ------------------------------------------------------------

    @rule(words=WORDS, first=st.booleans())
    def adds_an_item(self, words: str, first: bool) -> None:
        item = Message(f"item_{self.count}", "user", (TextContent(words),))
        known = len(self.machine.conversation)
        self._send(CreateItem(item, "root" if first else None))
        assert len(self.machine.conversation) == known + 1

    @rule(at=st.integers(0, 20), gone=st.booleans())
    def deletes_an_item(self, at: int, gone: bool) -> None:
        ids = [held.id for held in self.machine.conversation]
        item_id = ids[at % len(ids)] if ids and not gone else "item_nowhere"
        self._send(DeleteItem(item_id))
        assert item_id not in [held.id for held in self.machine.conversation]

    @rule(at=st.integers(0, 20))
    def looks_for_an_item(self, at: int) -> None:
        ids = [held.id for held in self.machine.conversation] or ["item_nowhere"]
        self._send(RetrieveItem(ids[at % len(ids)]))

    @rule(words=WORDS)
    def changes_its_instructions(self, words: str) -> None:
        self._send(UpdateSession(instructions=words))
        assert self.machine.session.instructions == words

    @rule()
    def asks_for_a_reply(self) -> None:
        self._send(CreateResponse(f"key_{self.count}"))

    @rule()
    def cancels_what_runs(self) -> None:
        self._send(CancelResponse())

    @rule(at=st.integers(0, 20), ms=st.integers(0, 300))
    def cuts_an_item(self, at: int, ms: int) -> None:
        ids = [held.id for held in self.machine.conversation] or ["item_nowhere"]
        self._send(TruncateItem(ids[at % len(ids)], audio_end_ms=ms))

    @rule()
    def speaks(self) -> None:
        self._send(AppendAudio(VOICE + quiet(700)))

    @precondition(lambda self: self.machine.deadline() < self.now + 60)
    @rule(seconds=st.sampled_from([0.02, 0.3, 5.0]))
    def waits(self, seconds: float) -> None:
        end = self.now + seconds
        while self.machine.deadline() <= end:
            self.now = max(self.now, self.machine.deadline())
            self._read(self.machine.tick(self.now))
        self.now = end

    # --- what holds all along ---------------------------------------------------------

    @invariant()
    def leaves_nothing_unanswered(self) -> None:
        """The machine answers in the step in which it is asked, and by the key."""
        assert self.owed == {}

    def teardown(self) -> None:
        """What begins is said to end, once."""
        end = self.now + 60
        while self.machine.deadline() <= end:
            self.now = max(self.now, self.machine.deadline())
            self._read(self.machine.tick(self.now))
        kinds = {"ResponseCreated": "began", "ResponseDone": "ended"}
        told = Counter(
            (kinds[name], getattr(event, "response_id", None) or event.response.id)  # type: ignore[union-attr]
            for event in self.events
            if (name := type(event).__name__) in kinds
        )
        assert set(told.values()) <= {1}
        assert {i for k, i in told if k == "began"} == {
            i for k, i in told if k == "ended"
        }


TestDialect = DialectMachine.TestCase
TestDialect.settings = stepping(50)
