"""An MCP server for the tests, made with the package: honest tools, in a process.

``stdio`` speaks over its pipes; ``http`` prints the URL that it listens at.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

import trio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Image
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("books", log_level="CRITICAL")


@server.tool()
def look_up(title: str, edition: int = 1) -> str:
    """Look up a book."""
    return f"{title}, edition {edition}, is on shelf 4"


@server.tool()
def shelf(number: int) -> dict[str, Any]:
    """What is on a shelf."""
    return {"number": number, "books": ["Emma", "Persuasion"]}


@server.tool()
def picture() -> Image:
    """A picture of the shop."""
    return Image(data=bytes(400), format="png")


@server.tool()
def refuse() -> str:
    """Refuse, and say why."""
    msg = "the shop is closed on Sundays"
    raise ToolError(msg)


@server.tool()
def process_id() -> int:
    """Which process this is."""
    return os.getpid()


@server.tool()
def environment(name: str) -> str:
    """A variable of the environment."""
    return os.environ.get(name, "not set")


@server.tool()
async def header(name: str, ctx: Context) -> str:
    """A header of the request."""
    return (ctx.headers or {}).get(name, "not set")


@server.tool()
async def learn(name: str, ctx: Context) -> str:
    """Have another tool from now on."""

    def learned() -> str:
        return f"{name} is known"

    server.add_tool(learned, name=name, description="Learned.")
    await ctx.notify_tools_changed()
    await ctx.session.send_tool_list_changed()
    return "learned"


def serve_http() -> None:
    """Serve until killed."""
    import uvicorn

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # whoever reads where it is may connect at once
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    config = uvicorn.Config(server.streamable_http_app(), log_level="critical")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        trio.run(server.run_stdio_async)
    else:
        serve_http()
