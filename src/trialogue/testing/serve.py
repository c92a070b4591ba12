"""The local server as a program: `python -m trialogue serve --port N`."""

from __future__ import annotations

import argparse
import gc
import importlib.util
import math
import signal
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import attrs
import trio

from trialogue._codec import dumps
from trialogue.errors import ConfigurationError
from trialogue.testing.dialled import SURFACES
from trialogue.testing.scenarios import Scenario, load_scenario, with_dialect
from trialogue.testing.script import Brain, echo
from trialogue.testing.server import RealtimeServer
from trialogue.testing.speech import Utterances

if TYPE_CHECKING:
    from trialogue.testing.connection import Connection, LogEntry
    from trialogue.testing.faults import ConnectFault, Fault, Mixture
    from trialogue.testing.machine import Settings
    from trialogue.testing.network import Network

__all__ = [
    "add_arguments",
    "collecting_rarely",
    "load_script",
    "log_to",
    "main",
    "serve",
]

_LAST_PORT: Final = 65535
#: So many more objects, and so many times each; see `gc.set_threshold`.
_COLLECTED: Final = (10_000, 5, 1000)
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
    faults: Iterable[Fault | ConnectFault | Mixture] = (),
    utterances: Utterances | None = None,
    seed: int = 0,
    log: TextIO | None = None,
    ssl_context: ssl.SSLContext | None = None,
    task_status: trio.TaskStatus[RealtimeServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve TCP until SIGTERM or SIGINT, then close every connection and return.

    Clients get a close frame with 1001. After a second it is over, also for those that
    do not answer it, or do not read.

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
        seed=seed,
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


@contextmanager
def collecting_rarely() -> Iterator[None]:
    """Look for cycles of objects rarely, in this block and the whole process.

    A server remembers every frame. To look through all of that takes longer than a
    frame of audio lasts, and meanwhile nobody is served.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*_COLLECTED)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


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
    parser.add_argument("--port", type=_port, default=8765, help="0 picks a free one")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument(
        "--latency", type=_milliseconds, metavar="MS", help="one way; default: 0"
    )
    parser.add_argument(
        "--script", default="echo", metavar="NAME|FILE", help="what the model says"
    )
    parser.add_argument(
        "--faults",
        metavar="FILE",
        help="a scenario (TOML): what goes wrong, the network, the settings",
    )
    parser.add_argument(
        "--tls-cert", metavar="FILE", help="serve TLS with this certificate (PEM)"
    )
    parser.add_argument(
        "--tls-key", metavar="FILE", help="its key (PEM), if it is in another file"
    )
    parser.add_argument(
        "--dialect", choices=tuple(SURFACES), help="whose manner; default: openai"
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
        with collecting_rarely():
            trio.run(_main, args)
    except (ConfigurationError, OSError) as error:
        print(f"serve: {error}", file=sys.stderr)
        return 2
    return 0


async def _main(args: argparse.Namespace) -> None:
    utterances = Utterances()
    scenario = load_scenario(args.faults) if args.faults else Scenario()
    settings, network = scenario.settings, scenario.network
    if args.oddities or not args.faults:
        # Some clients report an event they do not know as an error.
        settings = attrs.evolve(settings, oddities=args.oddities)
    if args.dialect is not None:
        settings = with_dialect(settings, args.dialect)
    if args.api_key:
        settings = attrs.evolve(settings, keys=frozenset([args.api_key]))
    if args.latency is not None:
        network = attrs.evolve(network, one_way=args.latency / 1000)
    context = _ssl_context(args.tls_cert, args.tls_key)
    brain = load_script(args.script, utterances)
    log: AbstractContextManager[TextIO | None] = nullcontext()
    if args.log:
        log = Path(args.log).open("w", encoding="utf-8")  # noqa: ASYNC230, SIM115
    with log as file:
        await serve(
            args.port,
            args.host,
            brain=brain,
            network=network,
            settings=settings,
            faults=(*scenario.faults, *scenario.mixtures),
            utterances=utterances,
            seed=scenario.seed,
            log=file,
            ssl_context=context,
            task_status=_Announcement(),
        )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _LAST_PORT:
        raise argparse.ArgumentTypeError(
            f"expected a port from 0 to {_LAST_PORT}, got {text!r}"
        )
    return int(text)


def _milliseconds(text: str) -> float:
    msg = f"expected milliseconds, 0 or more, got {text!r}"
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(msg) from None
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(msg)
    return value


def _ssl_context(cert: str | None, key: str | None) -> ssl.SSLContext | None:
    """Return what a certificate in a file is served with, or None without one.

    Raises:
        ConfigurationError: there is a key alone, or the files hold no such thing.
    """
    if cert is None:
        if key is not None:
            raise ConfigurationError("--tls-key needs --tls-cert, its certificate")
        return None
    files = cert if key is None else f"{cert} and {key}"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # The password of an encrypted key would be asked for at a terminal.
        context.load_cert_chain(cert, key, password=lambda: "")
    except (OSError, ValueError) as error:
        msg = f"no certificate with its key (PEM, without password) in {files}: {error}"
        raise ConfigurationError(msg) from error
    return context


class _Announcement(trio.TaskStatus[RealtimeServer]):
    """Says where the server listens, for whoever started the program."""

    def started(self, value: RealtimeServer | None = None) -> None:
        if value is not None:
            print(f"listening on {value.url}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
