"""The request table: each request ends once, in the way its server meant."""

from __future__ import annotations

import itertools
from math import inf
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trialogue.conversation.items import FunctionCallOutput, Message, TextContent
from trialogue.dialects import commands as cmd
from trialogue.dialects.events import ErrorClass, ErrorReported
from trialogue.errors import SessionUpdateError
from trialogue.realtime.ledger import Ledger, Tracker
from trialogue.realtime.requests import (
    Request,
    RequestReport,
    RequestState,
    UpdateReport,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

S = RequestState
CONFIGURED = ("configured", None)
numbers = itertools.count(1)


def message(item_id: str) -> Message:
    return Message(item_id, "user", (TextContent("hello"),))


def key_of(command: cmd.Command) -> tuple[str, str | None] | None:
    match command:
        case cmd.UpdateSession():
            return CONFIGURED
        case cmd.CreateItem(item=item):
            return ("item", item.id)
        case cmd.CreateUserAudio(item_id=item_id):
            return ("item", item_id)
        case cmd.DeleteItem(item_id=item_id):
            return ("deleted", item_id)
        case cmd.TruncateItem(item_id=item_id):
            return ("truncated", item_id)
        case cmd.CommitAudio():
            return ("committed", None)
        case cmd.CreateResponse(key=key):
            return ("response", key)
        case _:
            return None


def asked(
    ledger: Ledger, command: cmd.Command, *, written: bool = True, patience: float = 5.0
) -> Request:
    """Enter a command as the connection does: under an event id, then written."""
    event_id = f"event-{next(numbers)}"
    request = Request(command, event_id, "{}", key_of(command), patience)
    ledger.enter(request)
    if written:
        request.written_at = trio.current_time()
    return request


def imply(ledger: Ledger, request: Request) -> None:
    """An answer was read, and what it passed over is believed."""
    for passed in ledger.pass_over(request):
        ledger.settle(passed, S.IMPLIED)


def create(ledger: Ledger, item_id: str, after: str | None = None) -> Request:
    return asked(ledger, cmd.CreateItem(message(item_id), after))


def delete(ledger: Ledger, item_id: str) -> Request:
    return asked(ledger, cmd.DeleteItem(item_id))


def update(ledger: Ledger) -> Request:
    return asked(ledger, cmd.UpdateSession("be brief"))


def error(message: str = "no", **fields: Any) -> ErrorReported:
    return attrs.evolve(ErrorReported(message), **fields)


def states(*requests: Request) -> list[RequestState]:
    return [request.state for request in requests]


# --- which request an error is about --------------------------------------------------


async def test_error_settles_the_request_whose_event_id_it_names() -> None:
    """The event id decides, whatever the message quotes."""
    ledger = Ledger()
    first, second = create(ledger, "a"), create(ledger, "b")
    assert ledger.rejected(error(event_id=second.event_id, refs=("a",))) is second
    assert states(first, second) == [S.PENDING, S.REJECTED]


@pytest.mark.behaviour("R2")
async def test_error_naming_an_unknown_event_leaves_everything_as_it_was() -> None:
    """Neither the quoted id nor the outstanding update is taken for the culprit."""
    ledger = Ledger()
    requests = [update(ledger), create(ledger, "a"), delete(ledger, "b")]
    unknown = error(event_id="event-of-nobody", refs=("a",), kinds=("item",))
    assert ledger.rejected(unknown) is None
    assert ledger.rejected(error(event_id="event-of-nobody")) is None
    imply(ledger, create(ledger, "c"))
    assert states(*requests) == [S.PENDING, S.IMPLIED, S.IMPLIED]


@pytest.mark.behaviour("S5")
@pytest.mark.parametrize("make", [create, delete])
async def test_rejection_releases_its_waiter_at_once_with_the_code(
    make: Callable[[Ledger, str], Request],
) -> None:
    """With a null event id, the id that the message quotes says who is meant."""
    ledger = Ledger()
    bystander, request = create(ledger, "a"), make(ledger, "b")
    assert request.answer is not None
    kind = request.answer[0]
    ledger.rejected(error(code="refused", refs=("b",), kinds=(kind,)))
    tracker = Tracker([request])
    with trio.fail_after(1):
        await tracker.settled()
    (report,) = tracker.report().requests
    assert (report.state, report.code, report.item_id) == (S.REJECTED, "refused", "b")
    assert bystander.state is S.PENDING


@pytest.mark.behaviour("S5")
async def test_unknown_anchor_rejects_the_item_that_was_to_follow_it() -> None:
    """The message quotes the anchor; the request at fault is the one that needs it."""
    ledger = Ledger()
    before, request = create(ledger, "a"), create(ledger, "b", after="gone")
    missing_anchor = error(refs=("gone",), kinds=("item",))
    assert ledger.rejected(missing_anchor) is request
    assert states(before, request) == [S.PENDING, S.REJECTED]


async def test_unknown_call_rejects_the_output_that_answers_it() -> None:
    """The message quotes the call's id, which is not the id of any item."""
    ledger = Ledger()
    before = create(ledger, "a")
    output = FunctionCallOutput("out", "call-7", "42")
    request = asked(ledger, cmd.CreateItem(output))
    assert ledger.rejected(error(refs=("call-7",), kinds=("item",))) is request
    assert before.state is S.PENDING


async def test_an_item_of_the_quoted_id_is_meant_before_one_that_follows_it() -> None:
    """Both mention the id; the error is about the one that is called so."""
    ledger = Ledger()
    follower, named = create(ledger, "b", after="a"), create(ledger, "a")
    assert ledger.rejected(error(refs=("a",), kinds=("item",))) is named
    assert follower.state is S.PENDING


@pytest.mark.behaviour("S8")
async def test_halves_of_a_replaced_item_are_answered_independently() -> None:
    """A rejected delete leaves the create of the same id waiting, and vice versa."""
    ledger = Ledger()
    old, new = delete(ledger, "a"), create(ledger, "a")
    assert ledger.rejected(error(refs=("a",), kinds=("item",))) is new
    assert old.state is S.PENDING
    again = create(ledger, "a")
    assert ledger.rejected(error(refs=("a",), kinds=("deleted",))) is old
    assert again.state is S.PENDING
    assert ledger.answered(("item", "a")) is again


async def test_an_item_error_that_quotes_a_stranger_blames_nobody() -> None:
    """The oldest item is not at fault just because it is the oldest."""
    ledger = Ledger()
    requests = [update(ledger), create(ledger, "a"), create(ledger, "b")]
    assert ledger.rejected(error(refs=("stranger",), kinds=("item",))) is None
    assert states(*requests) == [S.PENDING] * 3


async def test_an_error_of_a_kind_is_about_the_next_of_that_kind() -> None:
    """Without any id, an ordered server means the oldest that it has not answered."""
    ledger = Ledger()
    first, second = create(ledger, "a"), create(ledger, "b")
    gone, settings = delete(ledger, "c"), update(ledger)
    assert ledger.rejected(error(kinds=("item",))) is first
    assert ledger.rejected(error(kinds=("deleted",))) is gone
    assert ledger.rejected(error(kinds=("configured",))) is settings
    assert second.state is S.PENDING


async def test_without_order_the_oldest_of_a_kind_is_blamed_only_if_alone() -> None:
    """Where answers overtake each other, the oldest is a guess."""
    ledger = Ledger(ordered=False)
    first, second = create(ledger, "a"), create(ledger, "b")
    assert ledger.rejected(error(kinds=("item",))) is None
    ledger.answered(("item", "a"))
    assert ledger.rejected(error(kinds=("item",))) is second
    assert states(first, second) == [S.ACKNOWLEDGED, S.REJECTED]


async def test_an_error_that_names_nothing_counts_against_the_update() -> None:
    """With an update outstanding that is the safe reading; the rest is in doubt."""
    ledger = Ledger()
    item, settings = create(ledger, "a"), update(ledger)
    last = create(ledger, "b")
    assert ledger.rejected(error(code="odd")) is settings
    imply(ledger, last)
    assert states(item, settings, last) == [S.REJECTED, S.REJECTED, S.PENDING]


@pytest.mark.behaviour("R3")
async def test_a_benign_race_is_never_held_against_an_update() -> None:
    """A cancel that came too late says nothing of the update read beside it."""
    ledger = Ledger()
    item, settings = create(ledger, "a"), update(ledger)
    assert ledger.rejected(error(error_class=ErrorClass.BENIGN)) is None
    last = create(ledger, "b")
    imply(ledger, last)
    assert states(item, settings) == [S.IMPLIED, S.PENDING]


async def test_an_error_read_before_the_frame_was_written_is_about_another() -> None:
    """Nobody can refuse, or answer, what is still in the outbox."""
    ledger = Ledger()
    settings = asked(ledger, cmd.UpdateSession("be brief"), written=False)
    item = asked(ledger, cmd.CreateItem(message("a")), written=False)
    commit = asked(ledger, cmd.CommitAudio(), written=False)
    assert ledger.rejected(error()) is None
    assert ledger.rejected(error(kinds=("item",))) is None
    assert ledger.answered(("committed", None)) is None
    settings.written_at = item.written_at = commit.written_at = 0.0
    imply(ledger, commit)
    assert states(settings, item, commit) == [S.PENDING, S.IMPLIED, S.PENDING]


@pytest.mark.parametrize("refs", [(), ("resp_of_the_server",)])
async def test_a_conflict_is_never_blamed_on_a_reply_out_of_band(
    refs: tuple[str, ...],
) -> None:
    """Such a reply runs beside the conversation; only another can be in the way."""
    ledger = Ledger()
    beside = asked(ledger, cmd.CreateResponse("beside", out_of_band=True))
    reply = asked(ledger, cmd.CreateResponse("reply"))
    conflict = error(kinds=("response",), refs=refs, error_class=ErrorClass.CONFLICT)
    assert ledger.rejected(conflict) is reply
    assert beside.state is S.PENDING


async def test_a_reply_is_found_by_its_own_key() -> None:
    ledger = Ledger()
    other = asked(ledger, cmd.CreateResponse("other"))
    mine = asked(ledger, cmd.CreateResponse("mine"))
    assert ledger.rejected(error(refs=("mine",), kinds=("response",))) is mine
    assert other.state is S.PENDING


# --- what an answer says of others ----------------------------------------------------


async def test_an_answer_implies_the_item_operations_before_it() -> None:
    """Updates, replies and later items keep waiting for their own answers."""
    ledger = Ledger()
    settings, reply = update(ledger), asked(ledger, cmd.CreateResponse("reply"))
    before = [create(ledger, "a"), delete(ledger, "b")]
    before.append(asked(ledger, cmd.TruncateItem("c", 10)))
    before.append(asked(ledger, cmd.CreateUserAudio("d", bytes(2))))
    own, after = create(ledger, "e"), create(ledger, "f")
    imply(ledger, own)
    assert states(*before) == [S.IMPLIED] * 4
    assert states(settings, reply, own, after) == [S.PENDING] * 4


async def test_doubt_turns_implied_into_rejected_and_keeps_the_code() -> None:
    """An error that named nothing may have been about any of what then waited."""
    ledger = Ledger()
    doubted = create(ledger, "a")
    ledger.rejected(error(code="odd"))
    later, own = create(ledger, "b"), create(ledger, "c")
    imply(ledger, own)
    assert states(doubted, later) == [S.REJECTED, S.IMPLIED]
    assert Tracker([doubted]).report().requests[0].code == "odd"


async def test_doubt_falls_only_on_what_the_error_may_be_about() -> None:
    """An empty commit by turn detection says nothing of the items that wait."""
    ledger = Ledger()
    item, gone = create(ledger, "a"), delete(ledger, "b")
    ledger.rejected(error(kinds=("committed",)))
    ledger.rejected(error(kinds=("deleted",), refs=("stranger",)))
    imply(ledger, create(ledger, "c"))
    assert states(item, gone) == [S.IMPLIED, S.REJECTED]


async def test_an_own_answer_takes_the_doubt_away() -> None:
    ledger = Ledger()
    doubted = create(ledger, "a")
    ledger.rejected(error())
    ledger.answered(("item", "a"))
    assert doubted.state is S.ACKNOWLEDGED


async def test_without_order_nothing_is_implied() -> None:
    ledger = Ledger(ordered=False)
    first, second = create(ledger, "a"), create(ledger, "b")
    imply(ledger, second)
    assert first.state is S.PENDING


async def test_updates_without_ids_are_answered_in_order() -> None:
    """The n-th confirmation answers the n-th update, whether or not anyone waits."""
    ledger = Ledger()
    first, second = update(ledger), update(ledger)
    assert ledger.answered(CONFIGURED) is first
    assert ledger.answered(CONFIGURED) is second
    assert ledger.answered(CONFIGURED) is None
    assert ledger.late_answers == 1


# --- success that arrives as an error -------------------------------------------------


@pytest.mark.behaviour("S12")
async def test_a_duplicate_id_is_success_for_whoever_sent_it_again() -> None:
    """The item is where it was asked to be; so is the report."""
    ledger = Ledger()
    other, again = create(ledger, "b", after="a"), create(ledger, "a")
    duplicate = error(refs=("a",), kinds=("item",), error_class=ErrorClass.DUPLICATE)
    assert ledger.rejected(duplicate) is again
    assert Tracker([again]).report().ok
    assert ledger.rejected(duplicate) is None
    assert other.state is S.PENDING


@pytest.mark.behaviour("R3", "S5")
async def test_deleting_what_is_gone_already_is_no_failure() -> None:
    """Its waiter is released at once, and may read the server's code."""
    ledger = Ledger()
    request = delete(ledger, "a")
    gone = error(code="gone", kinds=("deleted",), error_class=ErrorClass.BENIGN)
    assert ledger.rejected(gone) is request
    report = Tracker([request]).report()
    report.raise_for_failures()
    assert report.requests[0].code == "gone"


# --- the end of a request -------------------------------------------------------------


@pytest.mark.behaviour("S6")
async def test_a_request_is_settled_once() -> None:
    """Whatever arrives for it later finds no entry and changes no outcome."""
    ledger = Ledger()
    request = create(ledger, "a")
    ledger.rejected(error(refs=("a",), kinds=("item",)))
    assert ledger.answered(("item", "a")) is None
    ledger.settle(request, S.ACKNOWLEDGED)
    ledger.lose()
    assert request.state is S.REJECTED
    assert len(ledger) == 0
    assert ledger.late_answers == 1


async def test_the_ledger_remembers_what_its_waiter_has_given_up() -> None:
    """A late answer to the first update is not taken for that of the second."""
    ledger = Ledger()
    first = update(ledger)
    with ledger.expect([first], lambda: None) as pending:
        assert pending.report().requests[0].state is S.UNANSWERED
    second = update(ledger)
    ledger.answered(CONFIGURED)
    assert states(first, second) == [S.ACKNOWLEDGED, S.PENDING]


async def test_leaving_the_block_withdraws_whichever_way_it_is_left() -> None:
    ledger = Ledger()
    request = asked(ledger, cmd.DeleteItem("a"), written=False)
    requests = [request]
    with (
        pytest.raises(KeyError),
        ledger.expect(requests, lambda: ledger.withdraw(request)),
    ):
        raise KeyError
    assert request.state is S.NOT_SENT
    assert len(ledger) == 0


async def test_the_end_of_the_connection_loses_what_was_written() -> None:
    """What never left is told apart: it may be sent elsewhere without harm."""
    ledger = Ledger()
    sent = create(ledger, "a")
    queued = asked(ledger, cmd.DeleteItem("b"), written=False)
    ledger.lose()
    assert states(sent, queued) == [S.LOST, S.NOT_SENT]
    assert list(ledger) == []


async def test_time_runs_from_the_moment_of_writing(autojump_clock: MockClock) -> None:
    """An unwritten request has no deadline, and an answered one has none any more."""
    ledger = Ledger()
    assert ledger.deadline() == inf
    queued = asked(ledger, cmd.DeleteItem("a"), written=False, patience=1)
    assert ledger.deadline() == inf
    await trio.sleep(10)
    queued.written_at = trio.current_time()
    slow = asked(ledger, cmd.DeleteItem("b"), patience=3)
    assert ledger.deadline() == queued.deadline == 11
    assert ledger.overdue(10.5) == []
    assert ledger.overdue(11) == [queued]
    ledger.answered(("deleted", "a"))
    assert ledger.overdue(20) == [slow]
    assert queued.deadline == inf


# --- reports --------------------------------------------------------------------------


def test_report_says_what_was_not_taken() -> None:
    taken = RequestReport("CreateItem", S.ACKNOWLEDGED, "a")
    implied = RequestReport("CreateItem", S.IMPLIED, "b")
    refused = RequestReport("DeleteItem", S.REJECTED, "c", "odd", "It is odd")
    silent = RequestReport("UpdateSession", S.UNANSWERED)
    report = UpdateReport((taken, implied)) + UpdateReport((refused, silent))
    assert (report.ok, report.acknowledged) == (False, 1)
    with pytest.raises(SessionUpdateError) as caught:
        report.raise_for_failures()
    assert caught.value.report is report
    text = "DeleteItem of c: rejected (odd); UpdateSession: unanswered"
    assert str(caught.value).endswith(text)


def test_a_report_of_nothing_is_fine() -> None:
    UpdateReport().raise_for_failures()


# --- whatever happens -----------------------------------------------------------------

ids = st.sampled_from(["a", "b", "c"])
commands = st.one_of(
    st.builds(cmd.UpdateSession),
    st.builds(lambda i, after: cmd.CreateItem(message(i), after), ids, ids),
    st.builds(cmd.DeleteItem, ids),
    st.builds(cmd.TruncateItem, ids, st.just(5)),
    st.just(cmd.CommitAudio()),
    st.builds(cmd.CreateResponse, ids),
    st.just(cmd.CancelResponse()),
)
kinds = st.sampled_from(["item", "deleted", "truncated", "configured", "response"])
errors = st.builds(
    ErrorReported,
    st.just("no"),
    refs=st.lists(ids | st.just("stranger"), max_size=1).map(tuple),
    kinds=st.lists(kinds, max_size=2, unique=True).map(tuple),
    error_class=st.sampled_from(ErrorClass),
)
steps = st.one_of(
    st.tuples(st.just("enter"), commands),
    st.tuples(st.just("write"), st.none()),
    st.tuples(st.just("answer"), st.tuples(kinds, ids | st.none())),
    st.tuples(st.just("reject"), errors),
    st.tuples(st.just("reject by id"), st.integers(0, 9)),
    st.tuples(st.just("imply"), st.tuples(kinds, ids)),
    st.tuples(st.just("withdraw"), st.none()),
)


class Witness:
    """Plays a script to a ledger, and notes each change of a request's state."""

    def __init__(self, *, ordered: bool) -> None:
        self.ledger = Ledger(ordered=ordered)
        self.requests: list[Request] = []
        self.ends: dict[str, list[RequestState]] = {}

    def play(self, what: str, argument: object) -> None:
        before = {r.event_id: r.state for r in self.requests}
        getattr(self, what.replace(" ", "_"))(argument)
        for request in self.requests:
            if request.state is not before.get(request.event_id, S.PENDING):
                self.ends.setdefault(request.event_id, []).append(request.state)

    def enter(self, command: cmd.Command) -> None:
        self.requests.append(asked(self.ledger, command, written=False))

    def write(self, _: object) -> None:
        for request in self.ledger:
            request.written_at = 0.0
            if request.answer is None:
                self.ledger.settle(request, S.ACKNOWLEDGED)

    def answer(self, key: tuple[str, str | None]) -> None:
        self.ledger.answered(key)

    def reject(self, error: ErrorReported) -> None:
        at_fault = self.ledger.rejected(error)
        if at_fault is not None:
            assert at_fault.written_at is not None, "blamed for what it never sent"
            assert not error.kinds or key_of(at_fault.command) is not None
            key = at_fault.answer
            assert not error.kinds or (key is not None and key[0] in error.kinds)

    def reject_by_id(self, index: int) -> None:
        if index < len(self.requests):
            self.ledger.rejected(error(event_id=self.requests[index].event_id))

    def imply(self, key: tuple[str, str | None]) -> None:
        request = self.ledger.find(key)
        if request is not None:
            imply(self.ledger, request)
            assert request.state is S.PENDING

    def withdraw(self, _: object) -> None:
        for request in self.ledger:
            if request.written_at is None:
                self.ledger.withdraw(request)


@pytest.mark.behaviour("S6", "S11")
@given(st.booleans(), st.lists(steps, max_size=25))
def test_whatever_happens_each_request_ends_once(
    ordered: bool, script: list[tuple[str, object]]
) -> None:
    """For any script: at most one outcome each, and in the end an empty ledger."""

    async def main() -> None:
        witness = Witness(ordered=ordered)
        for step in script:
            witness.play(*step)
            owed = set(witness.ledger)
            assert owed == {r for r in witness.requests if r.state is S.PENDING}
        witness.ledger.lose()
        assert len(witness.ledger) == 0
        assert all(r.settled.is_set() for r in witness.requests)
        assert all(len(ends) == 1 for ends in witness.ends.values())

    trio.run(main)
