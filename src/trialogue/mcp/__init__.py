"""MCP servers as tool sets.

A server stands in an agent's `tools` like any other tool set: a session starts it, or
connects to it, once, and its tools are called like the agent's own. It needs the
official package: `pip install 'trialogue[mcp]'`, which is imported when a server is
first opened.
"""

from trialogue.mcp.servers import MCPServer, MCPServerStdio, MCPServerStreamableHttp

__all__ = ["MCPServer", "MCPServerStdio", "MCPServerStreamableHttp"]
