"""Hello from a deployment at Azure OpenAI: an agent greets, into a WAV file.

With the key of an Azure resource:

    export AZURE_OPENAI_ENDPOINT=https://<resource>.openai.azure.com
    export AZURE_OPENAI_API_KEY=...
    python examples/azure.py hello.wav --deployment gpt-realtime

With a token of Microsoft Entra ID, which a command prints whenever one is needed:

    python examples/azure.py hello.wav --token-command \\
        "az account get-access-token --scope https://ai.azure.com/.default \\
         --query accessToken --output tsv"

Without an account, against the local server, which judges keys as Azure does:

    python examples/azure.py hello.wav --local
"""

from __future__ import annotations

import argparse
import shlex
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from trialogue import Agent, AzureRealtime, RunContext, open_agent_session
from trialogue.audio import WavOutput
from trialogue.testing import RealtimeServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


class Greeter(Agent):
    instructions = "You are Kelly, a friendly greeter."

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Say hello in one sentence.")
        ctx.session.end()  # what was said is played to its end


def printed_by(command: str) -> Callable[[], Awaitable[str]]:
    """A token that is fetched at each connect, and at each reconnect."""

    async def token() -> str:
        ended = await trio.run_process(shlex.split(command), capture_stdout=True)
        printed: bytes = ended.stdout
        return printed.decode()

    return token


@asynccontextmanager
async def local_endpoint() -> AsyncIterator[str]:
    async with RealtimeServer().serving() as server:
        port = await server.listen()
        yield f"http://127.0.0.1:{port}"


async def greet(model: AzureRealtime, file: str) -> None:
    async with open_agent_session(model, audio=(None, WavOutput(file))) as session:
        await session.run(Greeter())


async def main(given: argparse.Namespace) -> None:
    command = given.token_command
    token = None if command is None else printed_by(command)
    if given.local:
        key = "any" if token is None else None
        async with local_endpoint() as endpoint:
            model = AzureRealtime(
                given.deployment, endpoint=endpoint, api_key=key, token=token
            )
            await greet(model, given.file)
    else:
        # The endpoint, and the key if there is no token, are the environment's.
        await greet(AzureRealtime(given.deployment, token=token), given.file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Hello from Azure OpenAI.")
    parser.add_argument("file", help="where to write what is said, a WAV file")
    parser.add_argument("--deployment", default="gpt-realtime", help="its name")
    parser.add_argument("--token-command", help="prints a token, in place of a key")
    parser.add_argument("--local", action="store_true", help="needs no account")
    trio.run(main, parser.parse_args())
