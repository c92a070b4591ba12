"""Runs a client of another project against our server: ``python run.py CLIENT``.

The server is `python -m trialogue serve` with `script.py`, the client a program of its
own, each in a process with a deadline. It went well if the client ends with an exit
status of 0, and the server's log shows the whole conversation and no error.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import trio

# Run as a program, by its path: what lies beside its package is imported from there.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from interop.cast import CLIPS
from interop.processes import NotAsExpected, run_to_end, server_command, serving
from interop.seen import problems, read_log
from trialogue.testing.speech import voice

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE: Final = Path(__file__).resolve().parent
CLIENT_SECONDS: Final = 120.0


@attrs.frozen
class Client:
    """A program of another project.

    Attributes:
        program: its file.
        modalities: "text", "audio": how it can talk.
        forgiven: codes of errors that real servers answer to it as well.
    """

    program: str
    modalities: tuple[str, ...] = ("text", "audio")
    forgiven: frozenset[str] = frozenset()


CLIENTS: Final = {
    "openai": Client("openai_client.py"),
    "openai-agents": Client("openai_agents_client.py"),
    # It cancels what the caller has interrupted, which the server has done already.
    "livekit": Client(
        "livekit_client.py", forgiven=frozenset({"response_cancel_not_active"})
    ),
}


def main(arguments: Sequence[str]) -> int:
    """Run a client in each of its modalities; return 1 if one did not go well."""
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__)
    parser.add_argument("client", choices=sorted(CLIENTS))
    parser.add_argument("--python", default=sys.executable, help="the client's own")
    parser.add_argument("--latency", default="0", metavar="MS", help="one way")
    options = parser.parse_args(arguments)
    client, failed = CLIENTS[options.client], False
    for modality in client.modalities:
        print(f"--- {options.client}, {modality}", flush=True)
        try:
            frames = trio.run(
                converse, client, modality, options.python, options.latency
            )
        except NotAsExpected as error:
            failed = True
            print(f"FAILED: {error}", flush=True)
        else:
            print(f"ok: {frames} frames, and all of it went over the wire", flush=True)
    return int(failed)


async def converse(client: Client, modality: str, python: str, latency: str) -> int:
    """Hold one conversation; return how many frames it took.

    Raises:
        NotAsExpected: the client or the server failed, or the log lacks something.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for sentence, file in CLIPS.items():
            (folder / file).write_bytes(voice(sentence))
        log = folder / "log.jsonl"
        async with serving(
            server_command("--log", str(log), "--latency", latency)
        ) as url:
            command = [python, str(HERE / client.program), url, modality, name]
            await run_to_end(command, seconds=CLIENT_SECONDS)
        frames = read_log(log)
    found = problems(frames, modality=modality, forgiven=client.forgiven)
    if found:
        raise NotAsExpected("; ".join(found))
    return len(frames)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
