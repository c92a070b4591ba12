"""A host application of the built wheel, run where nothing but the wheel is installed.

Not a test module: ``nox -s wheel`` runs it, isolated and with warnings as errors, in a
new environment. It ends with an exit status of 0, or says what is missing. The host
holds sessions in its own nurseries, on real time and real sockets: the providers are
local servers that come with the wheel.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.resources
import importlib.util
import pkgutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import trio

import trialogue
from trialogue import (
    Agent,
    AgentSession,
    ConfigurationError,
    OpenAIRealtime,
    RunContext,
    ServerError,
    Timing,
    function_tool,
    open_agent_session,
)
from trialogue.mcp import MCPServerStdio
from trialogue.testing import (
    Call,
    RealtimeServer,
    Reply,
    Say,
    Turn,
    open_realtime_server,
    reject,
    stall,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

EXTRAS = ("mcp", "orjson", "pybase64", "websockets")
LAZY = {
    "trialogue.mcp.": {"mcp", "mcp_types", "httpx2"},
    "trialogue.realtime.websockets_link": {"websockets"},
}
"""Modules that are imported when they are used, and the packages they may need."""


def check_installation() -> None:
    """The package comes from the wheel, whole, typed, and without its extras."""
    home = Path(trialogue.__file__).parent
    assert home.is_relative_to(sys.prefix), f"{home} was not installed from the wheel"
    assert trialogue.__version__ == importlib.metadata.version("trialogue")
    package = importlib.resources.files("trialogue")
    assert package.joinpath("py.typed").is_file(), "the wheel lacks py.typed"
    for extra in EXTRAS:
        assert importlib.util.find_spec(extra) is None, f"{extra} should be absent"
    (plugin,) = importlib.metadata.entry_points(group="pytest11")
    found = importlib.util.find_spec(plugin.module)
    assert found is not None, "the wheel lacks the plugin for pytest"


def check_imports() -> int:
    """Every module imports with the dependencies alone, but what an extra is for."""
    imported = 0
    for module in pkgutil.walk_packages(trialogue.__path__, "trialogue."):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
            imported += 1
        except ImportError as error:
            needs = [LAZY[start] for start in LAZY if module.name.startswith(start)]
            if not needs or (error.name or "").split(".")[0] not in needs[0]:
                raise
    return imported


async def check_extras() -> None:
    """What needs an extra that is not there says which."""
    told = ""
    try:
        async with MCPServerStdio(sys.executable, ["-c", ""]).open():
            pass
    except ConfigurationError as error:
        told = str(error)
    assert "trialogue[mcp]" in told, told or "it was opened without its extra"
    print("what needs an extra says which")


CLOSE = 1.0
SLACK = 0.5
"""Seconds that a busy machine may need beside the deadline."""


class Host(Agent):
    """Greets, and hands over when the model calls its tool."""

    instructions = "You are the host."

    async def on_enter(self, ctx: RunContext) -> None:
        await ctx.session.generate_reply(instructions="Hand over.")

    @function_tool
    async def transfer(self, ctx: RunContext) -> Agent:
        """Transfer to the guest."""
        return Guest()


class Guest(Agent):
    """Talks for as long as anybody listens."""

    instructions = "You are the guest."


def script(turn: Turn) -> Reply:
    return Call("transfer") if turn.override else Say("I am the guest. " * 20)


async def converse(
    server: RealtimeServer, tell: Callable[[AgentSession], None] = lambda _: None
) -> None:
    """What the host starts in its nursery: one conversation over TCP."""
    model = OpenAIRealtime(api_key="sk-local", base_url=server.url)
    async with open_agent_session(model, timing=Timing(close=CLOSE)) as session:
        tell(session)
        await session.run(Host())


async def until(happened: Callable[[], object]) -> None:
    while not happened():  # noqa: ASYNC110 - the host only watches
        await trio.sleep(0.01)


async def check_cancelling() -> None:
    """The host cancels its nursery: the session is gone within the close deadline."""
    async with open_realtime_server(script, port=0) as server:
        seconds = await seconds_to_cancel(server)
        assert seconds < SLACK, f"a willing server took {seconds:.2f} s"
        await until(lambda: not server.live)
        (connection,) = server.connections
        assert connection.close_code == 1000, connection
        assert not server.protocol_errors, server.protocol_errors
    faults = [stall(after="response.create", nth=2)]
    async with open_realtime_server(script, port=0, faults=faults) as server:
        seconds = await seconds_to_cancel(server)
        assert seconds < CLOSE + SLACK, f"a server that is stuck took {seconds:.2f} s"
    print("a session is gone when its host cancels")


async def seconds_to_cancel(server: RealtimeServer) -> float:
    """Converse until the second agent was asked to speak, then cancel."""
    async with trio.open_nursery() as host:
        host.start_soon(converse, server)
        await until(
            lambda: server.live and len(server.live[0].find("response.create")) == 2
        )
        began = trio.current_time()
        host.cancel_scope.cancel()
    return trio.current_time() - began


async def check_independence() -> None:
    """Of two sessions one fails, and the other does not notice."""
    sessions: list[AgentSession] = []
    quota = [reject("response.create", code="insufficient_quota")]
    async with (
        open_realtime_server(script, port=0) as sound,
        open_realtime_server(script, port=0, faults=quota) as sick,
        trio.open_nursery() as host,
    ):
        host.start_soon(converse, sound, sessions.append)
        assert await code_of_failure(sick) == "insufficient_quota"
        (session,) = sessions
        await until(lambda: isinstance(session.agent, Guest))
        reply = await session.generate_reply()
        assert reply.outcome == "completed", reply
        session.end(now=True)
    assert sound.dials == 1
    print("of two sessions one fails alone")


async def code_of_failure(server: RealtimeServer) -> str | None:
    try:
        await converse(server)
    except ServerError as error:
        return error.code
    return None


async def check_sessions(*checks: Callable[[], Awaitable[None]]) -> None:
    with trio.fail_after(60):
        for check in checks:
            await check()


def main() -> None:
    """Check what was installed, and run it."""
    check_installation()
    print(f"the wheel is whole: {check_imports()} modules import")
    trio.run(check_sessions, check_extras, check_cancelling, check_independence)


if __name__ == "__main__":
    main()
