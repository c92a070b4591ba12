"""The local server as a program: `python -m trialogue serve --port N`."""

from __future__ import annotations

import argparse
import importlib.util
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import trio

from trialogue._codec import dumps
from trialogue.errors import ConfigurationError
from trialogue.testing.dialled import SURFACES
from trialogue.testing.machine import Settings
from trialogue.testing.network import Network
from trialogue.testing.script import Brain, echo
from trialogue.testing.server import RealtimeServer
from trialogue.testing.speech import Utterances

if TYPE_CHECKING:
    import ssl

    from trialogue.testing.connection import Connection, LogEntry
    from trialogue.testing.faults import ConnectFault, Fault

__all__ = ["add_arguments", "load_script", "log_to", "main", "serve"]

Scripts = dict[str, Callable[[Utterances], Brain]]


def _echo(utterances: Utterances) -> Brain:
    return echo


SCRIPTS: Final[Scripts] = {"echo": _echo}
"""Scripts by name. A program may add its own: given the clips, make the brain."""


async def serve(
    port: int = 0,
    host: str = "127.0.0.1",
    *,
    brain: Brain = echo,
    network: Network | None = None,
    settings: Settings | None = None,
    faults: Iterable[Fault | ConnectFault] = (),
    utterances: Utterances | None = None,
    log: TextIO | None = None,
    ssl_context: ssl.SSLContext | None = None,
    task_status: trio.TaskStatus[RealtimeServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve TCP until SIGTERM or SIGINT, then close every connection and return.

    Started with `nursery.start`, it gives back the server once it listens; its `url`
    and `port` tell where. With an `ssl_context` it serves TLS. Signals are
    only heard in the main thread.

    Raises:
        OSError: the port cannot be had.
    """
    server = RealtimeServer(
        brain,
        network=network,
        settings=settings,
        faults=faults,
        utterances=utterances,
        on_entry=log_to(log) if log is not None else None,
    )
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with server.serving():
            await server.listen(port, host, ssl_context=ssl_context)
            task_status.started(server)
            async for _ in signals:
                break


def log_to(file: TextIO) -> Callable[[Connection, Sequence[LogEntry]], None]:
    """Return what writes log entries to a file as JSON, a line each, at once."""

    def write(connection: Connection, entries: Sequence[LogEntry]) -> None:
        file.writelines(
            dumps(entry.as_json(connection.index)) + "\n" for entry in entries
        )
        file.flush()

    return write


def load_script(name: str, utterances: Utterances) -> Brain:
    """Return the brain of a script.

    Args:
        name: a name in `SCRIPTS`, or a Python file that defines
            `brain(turn)`, or `make_brain(utterances)` which returns one.
        utterances: where the script makes the caller's clips known.

    Raises:
        ConfigurationError: there is no such script, or it defines neither.
    """
    if name in SCRIPTS:
        return SCRIPTS[name](utterances)
    if not Path(name).is_file():
        known = ", ".join(sorted(SCRIPTS))
        raise ConfigurationError(
            f"no script {name!r}: give one of {known}, or the path of a Python file"
        )
    module = _module(name)
    if hasattr(module, "make_brain"):
        made: Brain = module.make_brain(utterances)
        return made
    if hasattr(module, "brain"):
        brain: Brain = module.brain
        return brain
    raise ConfigurationError(
        f"the script {name} defines neither brain(turn) nor make_brain(utterances)"
    )


def _module(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("trialogue_script", path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"the script {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `serve` to a parser."""
    parser.add_argument("--port", type=int, default=8765, help="0 picks a free one")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument(
        "--latency", type=float, default=0.0, metavar="MS", help="one way"
    )
    parser.add_argument("--script", default="echo", metavar="NAME|FILE")
    parser.add_argument(
        "--dialect", choices=tuple(SURFACES), default="openai", help="whose manner"
    )
    parser.add_argument("--api-key", help="the only key to accept; default: any")
    parser.add_argument("--log", metavar="FILE", help="write every frame as JSON lines")
    parser.add_argument(
        "--oddities",
        action="store_true",
        help="send a field and an event that no client knows, as real servers may",
    )


def main(args: argparse.Namespace | Sequence[str] | None = None) -> int:
    """Serve as the arguments say until a signal; return the exit status.

    Prints `listening on <url>` once it does.
    """
    if not isinstance(args, argparse.Namespace):
        parser = argparse.ArgumentParser(prog="serve")
        add_arguments(parser)
        args = parser.parse_args(args)
    try:
        trio.run(_main, args)
    except (ConfigurationError, OSError) as error:
        print(f"serve: {error}", file=sys.stderr)
        return 2
    return 0


async def _main(args: argparse.Namespace) -> None:
    utterances = Utterances()
    keys = frozenset([args.api_key]) if args.api_key else None
    log: AbstractContextManager[TextIO | None] = nullcontext()
    if args.log:
        log = Path(args.log).open("w", encoding="utf-8")  # noqa: ASYNC230, SIM115
    with log as file:
        await serve(
            args.port,
            args.host,
            brain=load_script(args.script, utterances),
            network=Network(args.latency / 1000),
            settings=Settings(
                keys=keys,
                dialect=args.dialect,
                # Some clients report an event they do not know as an error.
                oddities=args.oddities,
            ),
            utterances=utterances,
            log=file,
            task_status=_Announcement(),
        )


class _Announcement(trio.TaskStatus[RealtimeServer]):
    """Says where the server listens, for whoever started the program."""

    def started(self, value: RealtimeServer | None = None) -> None:
        if value is not None:
            print(f"listening on {value.url}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
