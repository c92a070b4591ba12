"""A record beside the server it tells of, step by step: they stay one.

The model is a plain list, which is all that a server knows of its conversation.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from conversation.building import spoken, text
from stepping import stepping
from trialogue.conversation import ChatContext, Item, Message, Record

PLACES = st.integers(0, 30)
ROLES = st.sampled_from(["user", "assistant"])


class RecordMachine(RuleBasedStateMachine):
    """What is told goes to both; what the program asks for waits for the server."""

    def __init__(self) -> None:
        super().__init__()
        self.record = Record()
        self.view = self.record.open_view()
        self.held: list[str] = []
        self.sent: list[tuple[Item, str | None]] = []
        self.leaving: list[str] = []
        self.open_turn: str | None = None
        self.kept: list[tuple[ChatContext, str]] = []
        self.count = 0
        self.version = 0

    def _new(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    def _announce(self, item: Item, at: int) -> None:
        at = min(at, len(self.held))
        before = self.held[at - 1] if at else None
        self.held.insert(at, item.id)
        known = before is not None or not self.held[1:]
        self.record.item_announced(self.view, item, before or "root", known)

    # --- the server ---------------------------------------------------------------

    @rule(role=ROLES)
    def says(self, role: str) -> None:
        self._announce(text(self._new("said"), role=role), len(self.held))  # type: ignore[arg-type]

    @precondition(lambda self: self.open_turn is None)
    @rule()
    def hears_a_turn_begin(self) -> None:
        self.open_turn = self._new("turn")
        self.record.speech_started(self.view, self.open_turn)

    @precondition(lambda self: self.open_turn is not None)
    @rule(transcribed=st.booleans())
    def commits_the_turn(self, transcribed: bool) -> None:
        turn, self.open_turn = self.open_turn, None
        assert turn is not None
        before = self.held[-1] if self.held else None
        self.record.committed(self.view, turn, before)
        self._announce(spoken(turn, None), len(self.held))
        if transcribed:
            self.record.transcript_done(turn, 0, "words")
            item = self.record.get(turn)
            assert isinstance(item, Message)
            assert item.text == "words"

    @precondition(lambda self: self.held)
    @rule(at=PLACES)
    def is_done_with(self, at: int) -> None:
        item = self.record.get(self.held[at % len(self.held)])
        assert item is not None
        self.record.item_done(self.view, item)

    # --- the program --------------------------------------------------------------

    @rule()
    def sends_an_item(self) -> None:
        item = text(self._new("note"))
        self.record.add_local(item)
        assert self.record.is_local(item.id)
        self.sent.append((item, None))

    @precondition(lambda self: self.sent)
    @rule()
    def is_answered(self) -> None:
        item, _ = self.sent.pop(0)
        self._announce(item, len(self.held))
        assert not self.record.is_local(item.id)

    @precondition(lambda self: self.sent)
    @rule()
    def is_refused(self) -> None:
        item, _ = self.sent.pop(0)
        self.record.drop_local(item.id)
        assert item.id not in self.record

    @precondition(lambda self: self.held)
    @rule(at=PLACES)
    def asks_for_a_deletion(self, at: int) -> None:
        item_id = self.held[at % len(self.held)]
        if item_id not in self.leaving:
            self.record.delete_requested(self.view, item_id)
            self.leaving.append(item_id)

    @precondition(lambda self: self.leaving)
    @rule(refused=st.booleans())
    def has_its_deletion_answered(self, refused: bool) -> None:
        item_id = self.leaving.pop(0)
        if refused:
            self.record.delete_refused(self.view, item_id)
        else:
            self.held.remove(item_id)
            self.record.deleted(self.view, item_id)
            assert item_id not in self.record

    @rule()
    def keeps_a_snapshot(self) -> None:
        snapshot = self.record.snapshot()
        self.kept = [*self.kept[-3:], (snapshot, str(snapshot.to_json()))]

    @rule()
    def loses_the_connection(self) -> None:
        self.record.close_view(self.view)
        assert not set(self.leaving) & set(self.record.ids)
        self.leaving, self.open_turn = [], None
        self.view, self.held = self.record.open_view(), []
        plan = self.record.replay_plan()
        lost = {item.id for item, _ in self.sent}
        self.sent = []
        for item in plan.items:
            self._announce(item, len(self.held))
        # What was on its way is in the record, and so the next server is given it.
        assert lost <= set(self.held)

    # --- what holds all along ------------------------------------------------------

    @invariant()
    def is_the_server_s_conversation(self) -> None:
        ids = self.record.ids
        assert [i for i in ids if i in set(self.held)] == self.held
        assert set(ids) == set(self.held) | {item.id for item, _ in self.sent}
        local = {item.id for item in self.record.pending_local()}
        assert local == {item.id for item, _ in self.sent}

    @invariant()
    def counts_its_versions(self) -> None:
        assert self.record.version >= self.version
        self.version = self.record.version

    @invariant()
    def leaves_snapshots_as_they_were(self) -> None:
        for snapshot, was in self.kept:
            assert str(snapshot.to_json()) == was


TestRecord = RecordMachine.TestCase
TestRecord.settings = stepping(100)
