"""One check of a guardrail: within its time, and with an answer in every case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import trio

from trialogue.agents.guardrails import Trip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trialogue.agents.guardrails import Guardrail
    from trialogue.agents.run_context import RunContext

__all__ = ["Tripped", "check", "check_all"]


@attrs.frozen
class Tripped:
    """A guardrail has tripped.

    Attributes:
        error: what it raised, if that is why.
        seconds: how long the check took.
    """

    guardrail: Guardrail
    trip: Trip
    seconds: float
    error: BaseException | None = None


async def check(guardrail: Guardrail, ctx: RunContext, what: Any) -> Tripped | None:
    """Run a check; one that raises or takes too long has tripped.

    Raises:
        trio.Cancelled: it was cancelled from outside; then it has found nothing.
    """
    began = trio.current_time()
    trip: Trip | None = None
    error: BaseException | None = None
    try:
        with trio.move_on_after(guardrail.timeout) as within:
            trip = _a_trip(await guardrail.check(ctx, what))
        if trip is None and within.cancel_called:  # also if it would not be stopped
            trip = Trip(f"it took longer than {guardrail.timeout:g} s")
    except BaseExceptionGroup as group:
        cancelled, rest = group.split(trio.Cancelled)
        if not isinstance(rest, ExceptionGroup):
            raise  # nothing but cancellations, or what is not ours to judge
        _log(ctx, guardrail, rest)
        if cancelled is not None:
            raise cancelled from None
        error = rest
    except Exception as raised:
        _log(ctx, guardrail, raised)
        error = raised
    if error is not None:
        trip = Trip(f"it raised {type(error).__qualname__}")
    if trip is None:
        return None
    return Tripped(guardrail, trip, trio.current_time() - began, error)


def _a_trip(found: object) -> Trip | None:
    if found is None or isinstance(found, Trip):
        return found
    msg = f"a guardrail returned {found!r}; return Trip(reason), or None to let it pass"
    raise TypeError(msg)


def _log(ctx: RunContext, guardrail: Guardrail, error: BaseException) -> None:
    ctx.session.log.error("the guardrail %s failed", guardrail.name, exc_info=error)


async def check_all(
    guardrails: Sequence[Guardrail], ctx: RunContext, what: Callable[[], Any]
) -> Tripped | None:
    """Run checks side by side; the first that trips ends the others.

    Args:
        what: makes what is checked, for each of them anew.
    """
    first: list[Tripped] = []

    async def run(guardrail: Guardrail) -> None:
        tripped = await check(guardrail, ctx, what())
        if tripped is not None:
            first.append(tripped)
            nursery.cancel_scope.cancel(reason=f"{guardrail.name} tripped")

    async with trio.open_nursery() as nursery:
        for guardrail in guardrails:
            nursery.start_soon(run, guardrail, name=f"guardrail {guardrail.name}")
    return first[0] if first else None
