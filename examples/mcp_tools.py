"""Tools of an MCP server, which is a process of its own, shared by two agents.

It needs the extra: `pip install 'trialogue[mcp]'`. A local server plays the model, so
that no key is needed. The MCP server is `mcp_books_server.py`; another one is started
by its own command, or reached by `MCPServerStreamableHttp(url)`.
"""

import sys
from pathlib import Path

import trio

from trialogue import (
    Agent,
    OpenAIRealtime,
    SessionOptions,
    function_tool,
    open_agent_session,
)
from trialogue.events import ReplyEnded
from trialogue.mcp import MCPServerStdio
from trialogue.testing import Call, Reply, Turn, open_realtime_server

SERVER = str(Path(__file__).with_name("mcp_books_server.py"))
BOOKS = MCPServerStdio(sys.executable, [SERVER], name="books")
WRITTEN = SessionOptions(output_modalities=("text",))


class Clerk(Agent):
    instructions = "You are the clerk of a bookshop. Transfer when a customer is angry."
    tools = (BOOKS,)

    @function_tool
    async def transfer_to_owner(self) -> Agent:
        """Transfer to the owner of the shop."""
        return Owner()


class Owner(Agent):
    instructions = "You own the bookshop, and calm angry customers down."
    tools = (BOOKS,)


def brain(turn: Turn) -> Reply:
    """Plays the model: which tool it calls, and that it reads out what it is told."""
    if turn.output is not None and not turn.output.startswith("transferred"):
        return turn.output
    if "Emma" in turn.user_text:
        return Call("find_book", {"title": "Emma"})
    if "clerk" in turn.instructions:
        return Call("transfer_to_owner")
    return Call("count_books")


async def main() -> None:
    async with open_realtime_server(brain, port=0) as server:
        model = OpenAIRealtime(api_key="any", base_url=server.url, options=WRITTEN)
        async with open_agent_session(model) as session, trio.open_nursery() as nursery:
            await session.open_tool_set(BOOKS)  # nobody waits for its start later
            nursery.start_soon(session.run, Clerk())
            async with session.subscribe(ReplyEnded) as replies:
                for words in ("Where is Emma?", "Only that? How many have you got?"):
                    print(f"customer: {words}")
                    await session.realtime.send_message(words)
                    await session.generate_reply()
                    while not (reply := await replies.receive()).outcome.text:
                        pass  # a call, which another reply follows
                    print(f"{reply.agent}: {reply.outcome.text}")
            session.end()


trio.run(main)
