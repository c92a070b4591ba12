"""The tool sets of one session: each opened once, shared, and closed at the end.

A set is entered and left in a task of its own, which holds it open in between: the
cancel scopes inside it stay in one task. These tasks are above the agents' scopes and
above the session's nursery, so that whoever uses a set has ended before it is closed.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import trio

from trialogue.agents.events import ToolSetFailed
from trialogue.agents.run_context import current_call, current_scope, current_turn
from trialogue.agents.stalling import STALLED
from trialogue.errors import (
    ConfigurationError,
    SessionClosed,
    ToolSetError,
    TrialogueError,
)
from trialogue.realtime.unwrapping import single
from trialogue.tools import AnyTool, FunctionTool, ToolsByName, ToolSet, collect
from trialogue.tools.tool_set import checked_timeout, name_of_set

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from trialogue.agents.agent import Agent
    from trialogue.realtime.logbook import SessionLog

__all__ = ["MOST_OPEN", "ToolSets"]

MOST_OPEN = 64
"""Tool sets that one session holds open. More come of making them in a wrong place."""


@attrs.define(eq=False)
class _Held:
    """One set, from the step in which it is asked for until it is closed.

    Attributes:
        by: when it has to be open (Trio's clock).
        tools: what it yielded; None before.
        first: the names of the tools that it had when it was opened.
        error: why it could not be opened.
        settled: it is open, or could not be opened.
        leave: it is to be closed.
        gone: nothing is left of it.
        scope: cancelled if it does not open, or close, in time.
    """

    tool_set: ToolSet
    by: float
    tools: Sequence[object] | None = None
    first: frozenset[str] = frozenset()
    error: Exception | None = None
    settled: trio.Event = attrs.field(factory=trio.Event)
    leave: trio.Event = attrs.field(factory=trio.Event)
    gone: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(
        factory=lambda: trio.CancelScope(shield=True), repr=False
    )

    @property
    def name(self) -> str:
        return name_of_set(self.tool_set)

    def now(self) -> ToolsByName:
        """Return the tools that are in it at the moment."""
        assert self.tools is not None
        return collect(self.tools)


class ToolSets:
    """Opens the tool sets of one session, holds them, and closes them."""

    def __init__(self, log: SessionLog, publish: Callable[[object], None]) -> None:
        self._log = log
        self._publish = publish
        self._held: list[_Held] = []
        self._nursery: trio.Nursery | None = None
        self._closing = False
        self._errors: list[Exception] = []

    @asynccontextmanager
    async def around(self) -> AsyncIterator[None]:
        """Hold whatever is opened inside of the block, and close it after that.

        `close_soon` begins with it and says how long it may take; leaving the block
        without it cancels what is open.

        Raises:
            Exception: what closing the sets raised; a group, if more than one did.
        """
        try:
            with single():
                async with trio.open_nursery() as self._nursery:
                    try:
                        yield
                    finally:
                        self.close_soon(0)
        finally:
            self._nursery = None
        if len(self._errors) > 1:
            raise ExceptionGroup("tool sets could not be closed", self._errors)
        for error in self._errors:
            raise error

    def close_soon(self, seconds: float) -> None:
        """Begin to close everything, latest first; cancel what takes longer."""
        if self._closing or self._nursery is None:
            return
        self._closing = True
        self._nursery.start_soon(self._close_all, trio.current_time() + seconds)

    async def _close_all(self, deadline: float) -> None:
        with trio.CancelScope(shield=True):
            held = list(self._held)
            while held:
                one = held.pop()
                if not one.settled.is_set():
                    one.scope.cancel(reason="the session ends")
                # Each has its share of the time, so that one that hangs takes nothing
                # from the others.
                share = max(0.0, deadline - trio.current_time()) / (len(held) + 1)
                one.scope.deadline = min(
                    one.scope.deadline, trio.current_time() + share
                )
                one.leave.set()
                await one.gone.wait()

    # --- the tools of an agent -----------------------------------------------

    async def tools_of(self, agent: Agent) -> ToolsByName:
        """Return the tools of an agent, those of its sets included, by name.

        Sets that are not open yet are opened, side by side.

        Raises:
            ConfigurationError: see `collect`; or two tools of one name, of which one
                is a set's.
            ToolSetError: a set could not be opened, or not in time.
            SessionClosed: the session takes no more work.
        """
        given = agent.tools
        if isinstance(given, str | FunctionTool | ToolSet):
            return collect(given, owner=agent)  # which says what is wrong with that
        alone = [tool for tool in given if not isinstance(tool, ToolSet)]
        tools = collect(alone, owner=agent)
        held = [self._asked_for(tool) for tool in given if isinstance(tool, ToolSet)]
        for one in held:
            await self._opened(one)
        for one in held:
            self._add(tools, one)
        return tools

    async def open(self, tool_set: ToolSet) -> tuple[AnyTool, ...]:
        """Open a set, unless it is open; return the tools that are in it now."""
        held = self._asked_for(tool_set)
        await self._opened(held)
        return tuple(held.now().values())

    def _add(self, tools: ToolsByName, held: _Held) -> None:
        for name, tool in held.now().items():
            other = tools.get(name)
            if other is None or other == tool:
                tools[name] = tool
            elif name in held.first:
                msg = (
                    f"two tools are called {name!r}: {other.place}, and one of tool "
                    f"set {held.name!r}; rename one of them (of an MCP server with "
                    "name_prefix=...)"
                )
                raise ConfigurationError(msg)
            else:
                # It came in later, and nobody has asked for it: no reason to fail.
                text = (
                    "tool %s, which set %s has now, has the name of another; left out"
                )
                self._log.warning(text, name, held.name)

    # --- one set -------------------------------------------------------------

    def _asked_for(self, tool_set: ToolSet) -> _Held:
        """Return what holds a set; if nothing does, begin to open it."""
        for held in self._held:
            if held.tool_set is tool_set or held.tool_set == tool_set:
                return held
        if self._nursery is None or self._closing:
            msg = "this session's block has been left; open another session"
            raise SessionClosed(msg)
        if len(self._held) >= MOST_OPEN:
            msg = (
                f"this session has {MOST_OPEN} tool sets open; make a set once, and "
                "give it to every agent that uses it, instead of making another one "
                "for each agent"
            )
            raise ConfigurationError(msg)
        by = trio.current_time() + checked_timeout(tool_set.open_timeout)
        held = _Held(tool_set, by)
        self._held.append(held)
        self._nursery.start_soon(self._hold, held, name=f"tool set {held.name}")
        return held

    async def _opened(self, held: _Held) -> None:
        """Wait until a set is open.

        Raises:
            TrialogueError: it is not going to be; what its opening raised is the cause.
        """
        # NB: it is cancelled when its time is over, but may refuse to be.
        with trio.CancelScope(deadline=held.by + STALLED):
            await held.settled.wait()
        error = held.error if held.settled.is_set() else self._why_not(held)
        if isinstance(error, TrialogueError):
            raise error
        if error is not None:
            kind = type(error).__qualname__
            msg = f"tool set {held.name!r} could not be opened: it raised {kind}"
            raise ToolSetError(msg, tool_set=held.name) from error

    async def _hold(self, held: _Held) -> None:
        # It is nobody's: the agent that asked for it first hands over one day.
        current_scope.set(None)
        current_turn.set(None)
        current_call.set(None)
        began = trio.current_time()
        held.scope.deadline = held.by
        error: Exception | None = None
        try:
            with held.scope:
                async with held.tool_set.open() as tools:
                    held.tools = tools
                    if self._is_open(held, began):
                        held.settled.set()
                        await held.leave.wait()
        except Exception as raised:
            error = raised
        finally:
            self._held.remove(held)
            held.gone.set()
            if not held.settled.is_set():
                held.error = held.error or error or self._why_not(held)
                held.settled.set()
            elif error is not None or not held.leave.is_set():
                self._broke(held, error)
            elif held.scope.cancelled_caught:
                self._log.warning("tool set %s took too long to close", held.name)

    def _is_open(self, held: _Held, began: float) -> bool:
        """Look at what a set has yielded; False if that is no list, or comes late."""
        if held.scope.cancel_called:
            return False  # it refused to be cancelled, and would close at once
        try:
            held.first = frozenset(held.now())
        except ConfigurationError as error:
            held.error = error  # not raised here, where it would pass through the set
            return False
        if not self._closing:
            held.scope.deadline = float("inf")
        seconds = round(trio.current_time() - began, 3)
        self._log.info("tool set %s is open after %s s", held.name, seconds)
        return True

    def _why_not(self, held: _Held) -> TrialogueError:
        """Return why a set is not open, if it did not say so itself."""
        if self._closing:
            return SessionClosed("the session ended before the tool set was open")
        seconds = held.tool_set.open_timeout
        why = f"did not open within {seconds:g} s; see ToolSet.open_timeout"
        if not held.scope.cancel_called:
            why = "ended without having been open: it yielded nothing"
        msg = f"tool set {held.name!r} {why}"
        return ToolSetError(msg, tool_set=held.name)

    def _broke(self, held: _Held, error: Exception | None) -> None:
        """A set that was open has ended by itself, or could not be closed."""
        if error is None:
            msg = f"tool set {held.name!r} closed by itself"
            error = ToolSetError(msg, tool_set=held.name)
        self._log.error("tool set %s failed", held.name, exc_info=error)
        self._publish(ToolSetFailed(held.name, error))
        if held.leave.is_set():
            self._errors.append(error)
