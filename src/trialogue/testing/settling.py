"""When a turn is over: what is still under way, in words, and the wait for its end."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

from trialogue.agents.stalling import stack_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trialogue.agents.calls import OpenCall
    from trialogue.agents.scope import AgentScope
    from trialogue.agents.session import AgentSession
    from trialogue.testing.scripted import ScriptedModel

__all__ = ["Settling", "TurnUnfinished", "open_ends"]


class TurnUnfinished(AssertionError):
    """A turn of a test's conversation does not end; the text says what is open."""


class Settling:
    """Waits for the end of turns, within bounds, and for what is wrong with the script.

    Attributes:
        over: the conversation has ended.
        asking: how many replies the test has asked for that are not complete.
    """

    def __init__(
        self, session: AgentSession[Any], model: ScriptedModel, patience: float
    ) -> None:
        self.over = False
        self.asking = 0
        self._session = session
        self._model = model
        self._patience = patience
        self._attending = 0

    @property
    def quiet(self) -> bool:
        """Whether nothing is under way that the user or the model could wait for."""
        if self.over:
            return True
        return not self.asking and next(open_ends(self._session), None) is None

    async def until(
        self, predicate: Callable[[], object], what: str, course: Callable[[], str]
    ) -> None:
        """Wait until something is true, and stays so once all tasks have had a say.

        Args:
            predicate: what is to be true.
            what: says that it is not.
            course: tells what happened in the turn.

        Raises:
            ScriptError: something is wrong with the script.
            TurnUnfinished: it is not true in time.
        """
        __tracebackhide__ = True
        with self.attending(), trio.move_on_after(self._patience):
            while True:
                await self._may_be(predicate)
                self.check()
                await trio.testing.wait_all_tasks_blocked()
                if predicate():
                    self.check()
                    return
        raise TurnUnfinished(self._unfinished(what, course()))

    async def sleep(self, seconds: float) -> None:
        """Let time pass, unless something is wrong.

        Raises:
            ScriptError: something is wrong with the script.
        """
        __tracebackhide__ = True
        with self.attending():
            with trio.move_on_after(seconds):
                await self._session.changed.until(lambda: self._model.trouble)
            self.check()

    @contextmanager
    def attending(self) -> Iterator[None]:
        """Whoever is in this block raises what is wrong: it calls `check`."""
        self._attending += 1
        try:
            yield
        finally:
            self._attending -= 1

    async def _may_be(self, predicate: Callable[[], object]) -> None:
        """Wait until it is true, or something is wrong."""
        listening = self._session.realtime.listening

        def look() -> object:
            return self._model.trouble or predicate()

        def look_again(words: float) -> object:
            return look() or listening.words_until != words

        while not look():
            # A transcript that does not come is expected until then, and no longer.
            words = listening.words_until
            due = words if words > trio.current_time() else inf
            with trio.move_on_at(due):
                await self._session.changed.until(partial(look_again, words))

    def check(self) -> None:
        """Raise what is wrong with the script, once."""
        trouble, self._model.trouble = self._model.trouble, None
        if trouble is not None:
            raise trouble

    async def watch(self) -> None:
        """Raise what is wrong with the script where no turn is waited for."""
        await self._session.changed.until(
            lambda: self._model.trouble and not self._attending
        )
        self.check()

    def _unfinished(self, what: str, course: str) -> str:
        ends = list(open_ends(self._session)) or ["a reply that was asked for"]
        lines = [
            f"{what} within {self._patience:g} s of this clock; still open:",
            *(f"  {end}" for end in ends),
            "what happened:",
            *(f"  {line}" for line in course.splitlines()),
        ]
        return "\n".join(lines)


def open_ends(session: AgentSession[Any]) -> Iterator[str]:
    """Yield what the turn still waits for, most telling first.

    What an agent does beside the conversation is not among it: tasks in nurseries,
    detached tools that go on under another agent. Nor are tools that wait for an agent
    they have delegated to, which is current now and may want to hear the user; nor
    calls that only the test can approve.
    """
    yield from _of_agents(session)
    yield from _of_replies(session)
    yield from _of_the_user(session)


def _of_agents(session: AgentSession[Any]) -> Iterator[str]:
    current = session.scope
    if current is None:
        return
    if current.leaving:
        yield f"{current.name} has been told to hand over, and has not been left"
    if not current.transition.settled.is_set():
        yield f"the server has not agreed with {current.name} yet"
    for scope in current.lineage():
        if scope is current or not session.realtime.replying.aside:
            yield from _of_scope(scope)


def _of_scope(scope: AgentScope) -> Iterator[str]:
    if scope.quiet:
        return
    if scope.entering and not scope.suspended:
        where = _where(_named(scope.nursery, f"{scope.name}.on_enter"))
        yield f"{scope.name}.on_enter has not returned{where}"
    undecided = _undecided(scope.session)
    for opened in scope.calls.open:
        if opened.call.call_id not in undecided:
            yield _of_call(scope, opened)


def _undecided(session: AgentSession[Any]) -> set[str]:
    """The calls that wait until the test itself approves or denies them."""
    if session.tool_settings.approve is not None:
        return set()
    return {request.call_id for request in session.approvals}


def _of_call(scope: AgentScope, opened: OpenCall) -> str:
    call = opened.call
    what = f"{scope.name}'s tool {call.name}({call.arguments})"
    if not opened.running:
        return f"{what} has returned, and its output has not been sent"
    if opened.started_at is None:
        return f"{what} waits for approval"
    seconds = trio.current_time() - opened.started_at
    return f"{what} runs for {seconds:.1f} s{_where(opened.task)}"


def _named(nursery: trio.Nursery | None, name: str) -> trio.lowlevel.Task | None:
    """The first task of that name."""
    tasks = () if nursery is None else nursery.child_tasks
    return next((task for task in tasks if task.name == name), None)


def _where(task: trio.lowlevel.Task | None) -> str:
    """The place in which a task waits."""
    stack = () if task is None else stack_of(task)
    # The outermost frames are this library's; the innermost may be Trio's.
    own = [place for place in stack if "/trialogue/agents/" not in place]
    return f"; it waits in {own[0]}" if own else ""


def _of_replies(session: AgentSession[Any]) -> Iterator[str]:
    realtime = session.realtime
    slot = realtime.replying.slot
    if slot.active is not None:
        yield f"a reply is being made ({slot.active.id})"
    if slot.posted is not None:
        yield "a reply has been asked for, and the server has not begun it"
    if slot.queue:
        yield f"{len(slot.queue)} more replies wait for their turn"
    if realtime.replying.owed:
        yield "the user is owed a reply"
    if not session.playout.idle:
        left = session.playout.pending_seconds
        yield f"speech is played, of which {left:.1f} s are left"
    owed = realtime.open_work["owed"]
    if owed:
        yield f"the server has not answered {owed} requests"


def _of_the_user(session: AgentSession[Any]) -> Iterator[str]:
    if session.realtime.user_has_the_floor or session.user_state == "speaking":
        yield "the user's turn has not ended, or not been answered"
    if session.realtime.listening.words_until > trio.current_time():
        yield "the transcript of what the user said has not come"
