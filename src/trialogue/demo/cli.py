"""The command line of the demo."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from trialogue import OpenAIRealtime
from trialogue.demo.conversation import Line, converse
from trialogue.demo.measuring import COLUMNS, Row
from trialogue.demo.server_process import LOCAL_MODEL, local_server
from trialogue.demo.speech import CALLER_SCRIPT
from trialogue.demo.table import (
    ROUND_TRIPS_MS,
    as_text,
    heading,
    measure,
    title,
    tool_driven,
    write_json,
)
from trialogue.errors import TrialogueError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_VOICE = "marin"
_PROVIDER = "openai:"
_ANSWERS = (
    "session.updated",
    "conversation.item.added",
    "conversation.item.deleted",
)
_DESCRIPTION = """\
A recorded caller talks to two agents over one realtime session, and the table at the
end says how long handing over took. Without --model it needs no key and no network:
the model is played by a local server, in a process of its own.
"""


@attrs.frozen
class Options:
    """What the command line asks for."""

    output: Path
    report: Path | None
    json: Path | None
    table_only: bool
    quiet: bool
    mute: tuple[str, ...]
    runs: int
    rtt: tuple[float, ...]
    swallow: str | None
    model: str | None
    base_url: str | None


class UsageError(Exception):
    """What was asked for cannot be done; one line says what is missing."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo, and return the exit code.

    0 when it went well, 1 if a session failed or the output's reader left, 2 if the
    command line or the environment lacks something, 130 after Ctrl-C.
    """
    options = _parse(argv)
    try:
        # At checkpoints of the main task: elsewhere the signal may meet a place that
        # swallows it, such as a finaliser, or half of a step of another task.
        trio.run(_demo, options, restrict_keyboard_interrupt_to_checkpoints=True)
    except UsageError as error:
        return _complain(error, 2)
    except TrialogueError as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        return _complain("stopped", 130)
    except BaseExceptionGroup as group:
        # It was raised inside a nursery of the demo's, whose layer it still wears.
        if group.split(KeyboardInterrupt)[1] is not None:
            raise
        return _complain("stopped", 130)
    except BrokenPipeError:
        # Whoever read along has left, as `head` does; nothing can be said to them.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _complain(problem: object, code: int) -> int:
    print(f"trialogue demo: {problem}", file=sys.stderr)
    return code


def _parse(argv: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m trialogue demo",
        description=_DESCRIPTION,
        epilog=f"the columns of the table:\n\n{COLUMNS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_conversation(parser)
    _add_table(parser)
    given = vars(parser.parse_args(argv))
    given["mute"], given["rtt"] = tuple(given["mute"]), tuple(given["rtt"])
    options = Options(**given)
    _check(parser, options)
    return options


def _add_conversation(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the conversation")
    group.add_argument(
        "--output",
        type=Path,
        default=Path("conversation.wav"),
        metavar="FILE",
        help="the recording, caller left and agents right (default: %(default)s)",
    )
    group.add_argument(
        "--mute",
        action="append",
        default=[],
        choices=[name for _, name in CALLER_SCRIPT if name],
        help="silence one sentence of the caller; may be given again",
    )
    group.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="the record of the conversation: a page, or JSON if FILE ends in .json",
    )
    group.add_argument("--quiet", action="store_true", help="no live transcript")
    group.add_argument(
        "--model",
        metavar="openai:NAME",
        help="talk to a real model, e.g. openai:gpt-realtime; needs OPENAI_API_KEY",
    )
    group.add_argument(
        "--base-url", metavar="URL", help="with --model: where its API is"
    )


def _add_table(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the table")
    group.add_argument(
        "--table-only", action="store_true", help="skip the conversation"
    )
    group.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    group.add_argument(
        "--rtt",
        type=_not_negative,
        nargs="+",
        default=ROUND_TRIPS_MS,
        metavar="MS",
        help="round trips to the server (default: 0 60 150)",
    )
    group.add_argument(
        "--runs",
        type=_positive,
        default=5,
        metavar="N",
        help="make each handoff so often and take the median (default: %(default)s)",
    )
    group.add_argument(
        "--swallow",
        choices=_ANSWERS,
        help="the server withholds one such answer in each handoff",
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 10_000:
        raise ValueError
    return value


def _check(parser: argparse.ArgumentParser, options: Options) -> None:
    if options.table_only and options.report is not None:
        parser.error("--report is of the conversation: leave out --table-only")
    if options.model is None:
        if options.base_url is not None:
            parser.error("--base-url needs --model")
        return
    for name in ("table_only", "json", "swallow"):
        if getattr(options, name):
            flag = name.replace("_", "-")
            parser.error(f"--{flag} measures the local server: leave out --model")


# --- running it ----------------------------------------------------------------------


async def _demo(options: Options) -> None:
    if options.json is not None:
        write_json(options.json, ())  # find out now whether it can be written
    if options.model is not None:
        await _converse(_real_model(options.model, options.base_url), options)
        return
    if not options.table_only:
        async with local_server() as url:
            model = OpenAIRealtime(
                LOCAL_MODEL, voice=_VOICE, api_key="local", base_url=url
            )
            await _converse(model, options)
        print()
    await _measure(options)


def _real_model(text: str, base_url: str | None) -> OpenAIRealtime:
    if not text.startswith(_PROVIDER) or text == _PROVIDER:
        raise UsageError(
            f"--model {text}: unknown provider; write openai:NAME, for example"
            " openai:gpt-realtime"
        )
    if not os.environ.get("OPENAI_API_KEY"):
        raise UsageError(
            f"--model {text} needs an API key: set the environment variable"
            " OPENAI_API_KEY, or leave out --model to run without one"
        )
    name = text.removeprefix(_PROVIDER)
    if base_url is None:
        return OpenAIRealtime(name, voice=_VOICE)
    return OpenAIRealtime(name, voice=_VOICE, base_url=base_url)


async def _converse(model: OpenAIRealtime, options: Options) -> None:
    tell = _ignore if options.quiet else _show
    await converse(
        model,
        tell,
        muted=options.mute,
        recording=options.output,
        record=options.report,
    )
    print(f"recorded in {options.output}, caller left, agents right", flush=True)
    if options.report is not None:
        print(f"its record is in {options.report}", flush=True)


def _show(line: Line) -> None:
    print(line, flush=True)


def _show_row(row: Row) -> None:
    print(as_text(row), flush=True)


def _ignore(line: Line) -> None:
    """Show nothing."""


async def _measure(options: Options) -> None:
    async with local_server(swallowed=options.swallow) as url:
        print(f"{title(options.runs)}\n\n{heading()}", flush=True)
        rows = await measure(
            url, _show_row, round_trips_ms=options.rtt, runs=options.runs
        )
    print("\nA whole handoff by a tool, on the same session, server's stamps:")
    print("\n".join(tool_driven(rows)), flush=True)
    if options.json is not None:
        write_json(options.json, rows)
        print(f"\nrows written to {options.json}")
