"""The MCP server of `mcp_tools.py`: what a bookshop has, over its standard streams.

It needs the package `mcp`, and knows nothing of agents.
"""

from mcp.server import MCPServer

SHELVES = {"Emma": 4, "Persuasion": 4, "Ulysses": 9}

server = MCPServer("books", log_level="WARNING")


@server.tool()
def find_book(title: str) -> str:
    """Find the shelf that a book stands on."""
    if title not in SHELVES:
        return f"There is no {title} in the shop."
    return f"{title} is on shelf {SHELVES[title]}."


@server.tool()
def count_books() -> int:
    """Count the books in the shop."""
    return len(SHELVES)


if __name__ == "__main__":
    server.run("stdio")
