"""How long a handoff takes in four modes, with LiveKit Agents and with trialogue.

``python modes.py --latency MS`` starts the server that far away, one way, lets
`livekit_modes.py` hand over on it and then trialogue, and prints the median of each
mode in seconds: until the program could go on, and until the new agent's reply had
begun. What it prints first is what LiveKit measured itself, against OpenAI.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs
import trio

# Run as a program, by its path: what lies beside its package is imported from there.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from interop.cast import AFTER, BEFORE, HERE_I_AM, TURNS
from interop.processes import NotAsExpected, run_to_end, server_command, serving
from interop.seen import errors, read_log
from trialogue import (
    Agent,
    ChatContext,
    Handoff,
    OpenAIRealtime,
    RunContext,
    SessionOptions,
    function_tool,
    open_agent_session,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

HERE: Final = Path(__file__).resolve().parent
SECONDS: Final = 300.0
WRITTEN: Final = SessionOptions(output_modalities=("text",))


@attrs.frozen
class Mode:
    """Whether the connection is kept, and whether the conversation is."""

    reuse: bool
    copy: bool

    def __str__(self) -> str:
        first = "reuse" if self.reuse else "fresh"
        return f"{first} {'copy' if self.copy else 'empty'}"


MODES: Final = tuple(Mode(r, c) for r in (True, False) for c in (True, False))

Times: TypeAlias = tuple[float, float]
"""Seconds until the program can go on, and until the reply has begun."""

REFERENCE: Final = dict(
    zip(
        MODES,
        [(0.000, 0.105), (0.061, 0.164), (0.310, 0.403), (0.000, 0.364)],
        strict=True,
    )
)
"""What LiveKit's pull request 5229 saw, against OpenAI, on "CI (good network)"."""


# --- LiveKit Agents, in a process of its own ------------------------------------------


async def livekit(url: str, python: str, runs: int) -> dict[str, dict[Mode, Times]]:
    """Return the medians, by how it was measured and by mode.

    Raises:
        NotAsExpected: the program failed, or took too long.
    """
    command = [python, str(HERE / "livekit_modes.py"), url, str(runs)]
    printed = await run_to_end(command, seconds=SECONDS, capture=True)
    seen: dict[str, dict[Mode, list[Times]]] = defaultdict(lambda: defaultdict(list))
    for row in map(json.loads, printed.splitlines()):
        mode = Mode(row["reuse"], row["copy"])
        seen[row["how"]][mode].append((row["handoff"], row["reply"]))
    return {
        how: {mode: median(times) for mode, times in modes.items()}
        for how, modes in seen.items()
    }


# --- trialogue ------------------------------------------------------------------------


class After(Agent):
    """Takes over, and speaks first."""

    name = "after"
    instructions = AFTER

    def __init__(self) -> None:
        super().__init__()
        self.entered = 0.0

    async def on_enter(self, ctx: RunContext) -> None:
        """Speak, and then end the conversation."""
        self.entered = trio.current_time()
        outcome = await ctx.session.generate_reply()
        if outcome.text != HERE_I_AM:
            raise NotAsExpected(f"the second agent said {outcome.text!r}")
        ctx.session.end(now=True)


class Before(Agent):
    """Is told to hand over, and does."""

    name = "before"
    instructions = BEFORE

    def __init__(self, after: After, *, copy: bool) -> None:
        super().__init__()
        self.after = after
        self.copy = copy

    async def on_enter(self, ctx: RunContext) -> None:
        """Have the model call the tool."""
        await ctx.session.realtime.send_message("Hand over now.")
        await ctx.session.generate_reply()

    @function_tool
    async def hand_over(self) -> Handoff:
        """Hand the conversation over."""
        return Handoff(self.after, context="keep" if self.copy else "fresh")


async def ours(url: str, mode: Mode) -> Times:
    """Hand over once, from the return of the tool that does it."""
    model = OpenAIRealtime(
        "gpt-realtime",
        api_key="local",
        base_url=url,
        options=WRITTEN,
        capabilities={"mutable_instructions": mode.reuse},
    )
    turns = ChatContext()
    for turn in range(1, TURNS + 1):
        turns = turns.add_message("user", f"This is question {turn}.")
        turns = turns.add_message("assistant", f"This is answer {turn}.")
    after = After()
    with trio.fail_after(SECONDS):
        async with open_agent_session(model, chat_ctx=turns) as session:
            await session.run(Before(after, copy=mode.copy))
            timings = session.handoffs[-1]
    if timings.response_created is None or timings.reused is not mode.reuse:
        raise NotAsExpected(f"{mode} was not what happened: {timings}")
    return after.entered - timings.requested, (
        timings.response_created - timings.requested
    )


async def trialogue(url: str, runs: int) -> dict[Mode, Times]:
    """Return the medians by mode."""
    await ours(url, MODES[0])  # the first of a process imports, compiles and caches
    return {
        mode: median([await ours(url, mode) for _ in range(runs)]) for mode in MODES
    }


# --- the table ------------------------------------------------------------------------


def median(times: Iterable[Times]) -> Times:
    """Return the median of each of the two."""
    handoffs, replies = zip(*times, strict=True)
    return statistics.median(handoffs), statistics.median(replies)


def table(columns: Mapping[str, Mapping[Mode, Times]]) -> str:
    """Return what was seen, a line for each mode, "handoff/reply" in each column."""
    lines = [f"{'mode':<12}" + "".join(f"{name:>20}" for name in columns)]
    for mode in MODES:
        cells = [
            f"{times[mode][0]:.3f}/{times[mode][1]:.3f}" for times in columns.values()
        ]
        lines.append(f"{mode!s:<12}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join(lines)


async def measure(python: str, latency: float, runs: int) -> str:
    """Measure both, one after the other, on the same server; return the table.

    Raises:
        NotAsExpected: a program failed, or the server answered an error to one.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log.jsonl")
        options = ("--latency", f"{latency:g}", "--log", str(log))
        async with serving(server_command(*options)) as url:
            theirs = await livekit(url, python, runs)
            own = await trialogue(url, runs)
        answered = errors(read_log(log))
    if answered:
        raise NotAsExpected(f"the server answered errors: {answered}")
    return table(
        {
            "LiveKit, its CI": REFERENCE,
            "LiveKit, session": theirs["session"],
            "LiveKit, agents": theirs["agents"],
            "trialogue, agents": own,
        }
    )


def main(arguments: Sequence[str]) -> int:
    """Print the table; return 1 if something did not go well."""
    parser = argparse.ArgumentParser(prog="modes.py", description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="with LiveKit Agents")
    parser.add_argument("--latency", type=float, default=25.0, metavar="MS")
    parser.add_argument(
        "--runs", type=int, default=5, help="of which the median counts"
    )
    options = parser.parse_args(arguments)
    print(
        f"--- livekit, four modes: the server is {options.latency:g} ms away, one way;"
        f" seconds, handoff/reply, the median of {options.runs}",
        flush=True,
    )
    try:
        print(trio.run(measure, options.python, options.latency, options.runs))
    except (NotAsExpected, trio.TooSlowError) as error:
        print(f"FAILED: {error!r}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
