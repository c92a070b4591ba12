"""Agents whose tools are those of a real MCP server, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import Prompted, on_stage, outputs, prompted, until
from trialogue import Agent, RunContext, Secret, function_tool
from trialogue.events import ReplyEnded, ToolFinished
from trialogue.mcp import MCPServerStdio, MCPServerStreamableHttp
from trialogue.testing import Call
from trialogue.tools import ToolOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialogue.mcp import MCPServer

pytest.importorskip("mcp_types", reason="the package `mcp`, 2.3 or later, is missing")

# The package leaves the generators of an HTTP body where it has read enough of it, and
# Trio, which closes them then, warns of that.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*was garbage collected before it had been exhausted:ResourceWarning"
)
BOOKS = str(Path(__file__).with_name("books_server.py"))
PATIENT = 90.0
"""Seconds: on a busy machine it takes some to import the package, twice."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server over HTTP, in another process; it prints where it listens."""
    with subprocess.Popen(
        [sys.executable, BOOKS, "http"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


class Clerk(Prompted):
    """Has the tools of servers, and one of its own."""

    def __init__(self, *servers: MCPServer) -> None:
        super().__init__(tools=list(servers))

    @function_tool
    async def transfer(self, ctx: RunContext) -> Agent:
        """Transfer to another clerk with the same server."""
        return Clerk(*self.tools)


CALLS = [
    Call("look_up", {"title": "Emma", "edition": 2}),
    Call("shelf", {"number": 4}),
    Call("picture"),
    Call("refuse"),
    Call("look_up", {"name": "Emma"}),
    Call("process_id"),
]


def check(answers: list[str]) -> None:
    """What the model is told of `CALLS`."""
    assert answers[0] == "Emma, edition 2, is on shelf 4"
    assert '"Persuasion"' in answers[1]
    assert answers[2] == "[image, image/png, 402 bytes, not shown]"
    assert answers[3].endswith("the shop is closed on Sundays")
    assert "title" in answers[4]
    assert answers[5].isdigit()


@pytest.mark.behaviour("G23")
@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_the_tools_of_a_server_are_called_like_an_agents_own(
    transport: str, request: pytest.FixtureRequest
) -> None:
    """Schema, results and errors as the server has them; one process for two agents."""
    server: MCPServer
    if transport == "stdio":
        server = MCPServerStdio(sys.executable, [BOOKS, "stdio"], open_timeout=60)
    else:
        url = request.getfixturevalue("url")
        server = MCPServerStreamableHttp(url, open_timeout=60)
    with trio.fail_after(PATIENT):
        async with on_stage(prompted(*CALLS)) as stage, trio.open_nursery() as nursery:
            await stage.session.open_tool_set(server)
            nursery.start_soon(stage.session.run, Clerk(server))
            await until(lambda: len(stage.of(ReplyEnded)) == 2)
            await stage.session.handoff(Clerk(server))
            await until(lambda: len(stage.of(ReplyEnded)) == 4)
            stage.session.end(now=True)
        sent = stage.sent("session.update")[-1].event["session"]["tools"]
        (look_up,) = [tool for tool in sent if tool["name"] == "look_up"]
        assert look_up["description"] == "Look up a book."
        properties = look_up["parameters"]["properties"]
        assert properties["title"]["type"] == "string"
        assert properties["edition"]["default"] == 1
        answers = [output for _, output in outputs(stage)]
        check(answers[:6])
        check(answers[6:])
        assert answers[5] == answers[11]
        assert {event.outcome for event in stage.of(ToolFinished)} == {
            "Returned",
            "Failed",
        }


@pytest.mark.behaviour("G23", "G27", "G28")
async def test_one_server_as_it_is_wanted() -> None:
    """A prefix, some of its tools, options of one, its environment; its list grows."""
    server = MCPServerStdio(
        sys.executable,
        [BOOKS, "stdio"],
        env={"SHOP_TOKEN": Secret("sesame")},
        open_timeout=60,
        name_prefix="books_",
        blocked_tools=["picture"],
        tool_options={"look_up": ToolOptions(timeout=7.0, on_handoff="finish")},
        use_structured_content=True,
    )
    os.environ["SHOP_SECRET"] = "not to be handed on"
    try:
        with trio.fail_after(PATIENT):
            async with server.open() as tools:
                by_name: dict[str, Any] = {tool.name: tool for tool in tools}
                assert "books_picture" not in by_name
                assert by_name["books_look_up"].options.on_handoff == "finish"
                assert by_name["books_shelf"].options == ToolOptions()
                ask = by_name["books_environment"].invoke
                assert "sesame" in await ask(None, {"name": "SHOP_TOKEN"})
                assert "not set" in await ask(None, {"name": "SHOP_SECRET"})
                structured = await by_name["books_shelf"].invoke(None, {"number": 1})
                assert structured == '{"number":1,"books":["Emma","Persuasion"]}'
                await by_name["books_learn"].invoke(None, {"name": "sing"})
                await until(lambda: tools[-1].name == "books_sing")
    finally:
        del os.environ["SHOP_SECRET"]


@pytest.mark.behaviour("G23", "G28")
async def test_headers_reach_a_server_over_http(url: str) -> None:
    server = MCPServerStreamableHttp(
        url, headers={"X-Shop": Secret("sesame")}, open_timeout=60, name="shop"
    )
    with trio.fail_after(PATIENT):
        async with server.open() as tools:
            (header,) = [tool for tool in tools if tool.name == "header"]
            assert await header.invoke(None, {"name": "x-shop"}) == "sesame"
    assert "sesame" not in repr(server)
