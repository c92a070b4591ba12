"""The whole handoff, in every mode, timed at the server; by hand, and by agents.

`distant.py` is the local server, 25 ms away, one way, and says what is timed: from the
moment at which the `response.done` with the call leaves it, to that at which the first
audio of the next agent's reply does. A kept connection takes one round trip of that, a
fresh one four: three to connect, as the local server counts them, and one.

By hand the same frames go out: `session.update`, then the output of the call, where the
conversation is kept; or a deletion of each of its items; or, on a fresh connection, all
of its items, if it is copied; then `response.create`. Nothing is waited for in between.
"""

from __future__ import annotations

import json
import statistics
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

# Run as a program, by its path: what lies beside its package is imported from there.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.byhand import url_of
from bench.handing import AFTER, BEFORE, HAND_OVER, MODES, Mode, hand_over, said
from bench.processes import printed_by, started
from bench.raw import loads, open_raw
from bench.rows import Row, at_most, interleaved, plus, times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from bench.processes import Started
    from bench.raw import RawLink
    from bench.rows import Sample, Size

__all__ = ["by_agents", "by_hand", "measure", "measure_cold"]

ONE_WAY_MS = 25
ROUND_TRIP_MS = 2 * ONE_WAY_MS
MORE_MS = 3.0
STANDBY_MS = 1.10 * ROUND_TRIP_MS + 5
COLD = 1.3
ITEMS = 20
ALL_MODES = (*MODES, *(Mode(False, copy, standby=True) for copy in (True, False)))
MODEL = "gpt-realtime"
PATIENCE = 60.0


# --- by hand --------------------------------------------------------------------------


def _tool(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {}, "additionalProperties": False}
    return {
        "type": "function",
        "name": name,
        "description": "Hand the conversation over.",
        "parameters": parameters,
    }


def _update(instructions: str, tool: str) -> str:
    session = {
        "type": "realtime",
        "instructions": instructions,
        "tools": [_tool(tool)],
    }
    return json.dumps({"type": "session.update", "session": session})


def _create(instructions: str, tool: str) -> str:
    response = {"instructions": instructions, "tools": [_tool(tool)]}
    return json.dumps({"type": "response.create", "response": response})


def _conversation(items: int) -> list[dict[str, Any]]:
    kinds = {"user": "input_text", "assistant": "output_text"}
    return [
        {
            "id": f"item_{number}",
            "type": "message",
            "role": role,
            "content": [{"type": kinds[role], "text": text}],
        }
        for number, (role, text) in enumerate(said(items))
    ]


def _created(items: Sequence[dict[str, Any]]) -> Iterator[str]:
    for item in items:
        yield json.dumps({"type": "conversation.item.create", "item": item})


def _burst(mode: Mode, call: dict[str, Any], items: list[dict[str, Any]]) -> list[str]:
    output = {
        "id": "item_output",
        "type": "function_call_output",
        "call_id": call["call_id"],
        "output": "transferred",
    }
    burst = [_update(AFTER, "look_around")]
    if mode.copy and mode.reuse:
        burst += _created([output])
    elif mode.copy:
        names = ("id", "type", "call_id", "name", "arguments")
        again = {name: call[name] for name in names}
        burst += _created([*items, again, output])
    elif mode.reuse:
        for item in (*items, call):
            gone = {"type": "conversation.item.delete", "item_id": item["id"]}
            burst.append(json.dumps(gone))
    return [*burst, _create(f"{AFTER}\nSay that you are here.", "look_around")]


async def _until(
    link: RawLink, kind: str, item_id: str | None = None
) -> dict[str, Any]:
    """Return the first event of that type, or the one of that type about an item."""
    while True:
        for text in await link.received():
            event: dict[str, Any] = loads(text)
            if event["type"] == kind and item_id in (None, _item_id(event)):
                return event


def _item_id(event: dict[str, Any]) -> Any:
    return event.get("item", {}).get("id")


async def by_hand(port: int, mode: Mode) -> None:
    """Hand over once."""
    items = _conversation(ITEMS)
    dial = partial(open_raw, f"{url_of(port)}?model={MODEL}")
    with trio.fail_after(PATIENCE):
        async with AsyncExitStack() as links:
            link = await _dialled(links, dial)
            await link.send(_update(BEFORE, "hand_over"), *_created(items))
            await _until(link, "conversation.item.done", items[-1]["id"])
            spare = await _dialled(links, dial) if mode.standby else None
            await link.send(_create(f"{BEFORE}\n{HAND_OVER}", "hand_over"))
            done = await _until(link, "response.done")
            burst = _burst(mode, done["response"]["output"][0], items)
            if not mode.reuse:
                link = spare or await _dialled(links, dial)
            await link.send(*burst)
            await _until(link, "response.done")


async def _dialled(
    links: AsyncExitStack, dial: Callable[[], AbstractAsyncContextManager[RawLink]]
) -> RawLink:
    link = await links.enter_async_context(dial())
    await _until(link, "session.created")
    return link


# --- by agents, and beside each other -------------------------------------------------


async def by_agents(port: int, mode: Mode) -> None:
    """Hand over once, and see that it was in that mode."""
    (handed,) = await hand_over(port, mode, ITEMS)
    assert handed.reused is mode.reuse, handed.why_fresh


def _timed(server: Started, side: Any, mode: Mode, times: int) -> Sample:
    """The median of a few handoffs, each in a session of its own."""
    seen = []
    for _ in range(times):
        trio.run(side, server.port, mode)
        told: dict[str, Any] = json.loads(server.line())
        assert told["connections"] == (1 if mode.reuse else 2), told
        seen.append(told["ms"])
    return {"ms": statistics.median(seen)}


def measure(size: Size) -> list[Row]:
    """Each mode, and the fresh ones with a connection in reserve."""
    sides = {"raw": by_hand, "agents": by_agents}
    count = size.of(2, 1)
    with started("distant.py", str(size.of(ONE_WAY_MS, 2))) as server:
        ways = {
            f"{mode} {side}": partial(_timed, server, run, mode, count)
            for mode in ALL_MODES
            for side, run in sides.items()
        }
        seen = interleaved(ways, size.repetitions, warm=not size.quick)
    return [
        Row(
            f"whole handoff: {mode}",
            "ms",
            seen[f"{mode} agents"]["ms"],
            seen[f"{mode} raw"]["ms"],
            target=at_most(STANDBY_MS) if mode.standby else plus(MORE_MS),
        )
        for mode in ALL_MODES
    ]


# --- the first one of a process -------------------------------------------------------


def _first_and_later(port: int, times: int) -> None:
    trio.run(partial(hand_over, port, MODES[0], ITEMS, times=times))


def _cold(server: Started, times: int) -> Sample:
    """Hand over in a process that has never done so."""
    printed_by("modes.py", str(server.port), str(times))
    first, *later = (json.loads(server.line())["ms"] for _ in range(times))
    return {"first": first, "later": statistics.median(later)}


def measure_cold(size: Size) -> list[Row]:
    """The first handoff of a process, beside those that follow in it."""
    with started("distant.py", str(size.of(ONE_WAY_MS, 2))) as server:
        run = partial(_cold, server, size.of(6, 2))
        seen = interleaved({"cold": run}, size.repetitions, warm=False)["cold"]
    name, target = f"first handoff of a process: {MODES[0]}", times(COLD)
    return [Row(name, "ms", seen["first"], seen["later"], "later ones", target)]


if __name__ == "__main__":
    _first_and_later(int(sys.argv[1]), int(sys.argv[2]))
