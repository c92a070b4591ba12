"""MCP servers that die, hang and lie, each in a process, over its pipes."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from stage import Prompted, on_stage, outputs, prompted, until
from trialogue import RunContext, Secret, ToolError, ToolSetError
from trialogue.events import ApprovalRequested, ReplyEnded, ToolSetFailed
from trialogue.mcp import MCPServerStdio
from trialogue.testing import Call
from trialogue.tools import ToolOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trialogue import AnyTool

pytest.importorskip("mcp_types", reason="the package `mcp`, 2.3 or later, is missing")

RAW = str(Path(__file__).with_name("raw_server.py"))
SCHEMA = {"type": "object"}
LOST = "the tool's server was lost before it answered"
PATIENT = 30.0
"""Seconds for what ends long before on an idle machine."""


def raw(plan: dict[str, Any] | None = None, **options: Any) -> MCPServerStdio:
    """A server that behaves as planned; without site packages it starts quickly."""
    arguments = ["-I", "-S", RAW, json.dumps(plan or {})]
    return MCPServerStdio(sys.executable, arguments, name="raw", **options)


async def call(tools: Sequence[AnyTool], name: str, /, **arguments: Any) -> str:
    """Call a tool as a session does; what the model is told."""
    (tool,) = [tool for tool in tools if tool.name == name]
    try:
        return str(await tool.invoke(None, arguments))
    except ToolError as error:
        return f"error: {error}"


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# --- one that dies -----------------------------------------------------------------


@pytest.mark.behaviour("G24", "G28")
async def test_a_server_that_dies_costs_its_calls_and_is_started_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Two calls under way are lost; the next is answered by another process."""
    told: dict[str, str] = {}

    async def ask(name: str, **arguments: Any) -> None:
        told[name] = await call(tools, name, **arguments)

    with caplog.at_level(logging.INFO, logger="trialogue"), trio.fail_after(PATIENT):
        async with raw().open() as tools:
            first = int(await call(tools, "process_id"))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: ask("slow", seconds=20))
                await trio.sleep(0.2)
                nursery.start_soon(ask, "die")
            assert told["slow"].startswith(f"error: {LOST}")
            assert told["die"].startswith(f"error: {LOST}")
            second = int(await call(tools, "process_id"))
            assert second != first
            assert await call(tools, "echo", a=1) == '{"a": 1}'
    assert not runs(second)
    assert "its process ended" in caplog.text


@pytest.mark.behaviour("G24")
async def test_a_server_that_cannot_be_started_again_is_not_available(
    tmp_path: Path,
) -> None:
    """Each call is answered, and starts one process a second at most."""
    program = tmp_path / "server.py"
    shutil.copy(RAW, program)
    arguments = ["-I", "-S", str(program), "{}"]
    server = MCPServerStdio(sys.executable, arguments, name="gone")
    with trio.fail_after(PATIENT):
        async with server.open() as tools:
            program.write_text("raise SystemExit(1)", encoding="utf-8")
            await call(tools, "die")
            answers = [await call(tools, "echo") for _ in range(5)]
    unavailable = "error: the tool is not available: its server cannot be reached"
    assert answers == [unavailable] * 5


@pytest.mark.behaviour("G21", "G24")
@pytest.mark.parametrize("how", ["dies", "no program"])
async def test_a_server_that_does_not_start_is_a_typed_error(how: str) -> None:
    server = raw({"start": "die"})
    if how == "no program":
        server = MCPServerStdio("no-such-program-7", name="raw")
    with trio.fail_after(PATIENT), pytest.raises(ToolSetError, match="'raw' cannot be"):
        async with server.open():
            pytest.fail("it is not open")


# --- one that hangs ----------------------------------------------------------------


@pytest.mark.behaviour("G25")
async def test_a_call_without_an_answer_costs_its_time_and_the_next_one_works() -> None:
    """After two such calls in a row the server counts as hanging."""
    with trio.fail_after(PATIENT):
        async with raw(call_timeout=1.0).open() as tools:
            first = await call(tools, "process_id")
            answered: list[str] = []

            async def ask_beside() -> None:
                await trio.sleep(0.2)
                answered.append(await call(tools, "echo"))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask_beside)
                told = await call(tools, "mute")
            assert told.startswith("error: the tool's server did not answer within 1 s")
            assert answered == ["{}"]
            assert await call(tools, "process_id") == first  # it does answer others
            for _ in range(2):
                await call(tools, "mute")
            second = "error"
            while second.startswith("error"):  # it has a second to start, and to answer
                second = await call(tools, "process_id")
            assert second != first


@pytest.mark.behaviour("G25")
async def test_whoever_gives_up_a_call_leaves_at_once() -> None:
    """Also where the server reads nothing any more, so that it cannot be told."""
    with trio.fail_after(PATIENT):
        async with raw().open() as tools:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call, tools, "deaf")
                await trio.sleep(0.2)
                for _ in range(20):
                    nursery.start_soon(lambda: call(tools, "echo", text="x" * 20_000))
                await trio.sleep(0.2)
                began = trio.current_time()
                nursery.cancel_scope.cancel()
            assert trio.current_time() - began < 1.0
            began = trio.current_time()
        assert trio.current_time() - began < 2.0


@pytest.mark.behaviour("G25", "G21")
async def test_a_server_that_hangs_at_its_start_is_given_up_and_killed(
    tmp_path: Path,
) -> None:
    pid_file = tmp_path / "pids"
    server = raw({"start": "hang", "pid_file": str(pid_file)}, open_timeout=1.0)
    began = trio.current_time()
    with trio.fail_after(PATIENT), pytest.raises(ToolSetError, match="within 1 s"):
        async with server.open():
            pytest.fail("it is not open")
    assert trio.current_time() - began < 5
    for pid in pid_file.read_text(encoding="utf-8").split():
        assert not runs(int(pid))


@pytest.mark.behaviour("G25")
@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_server_that_does_not_end_is_killed_in_time(*, cancelled: bool) -> None:
    """Neither the end of its input nor SIGTERM moves it."""
    pid, began = 0, 0.0
    with trio.fail_after(PATIENT), trio.CancelScope() as scope:
        async with raw({"end": "stay"}).open() as tools:
            pid = int(await call(tools, "process_id"))
            began = trio.current_time()
            if cancelled:
                scope.cancel()
    assert 0 < trio.current_time() - began < 2.5
    assert not runs(pid)


# --- one that lies -----------------------------------------------------------------


@pytest.mark.behaviour("G26", "G28")
async def test_what_a_server_should_not_say_costs_its_call_alone() -> None:
    """No text of the protocol's errors reaches the model; the connection stays."""
    with trio.fail_after(PATIENT):
        async with raw(max_result_bytes=1000).open() as tools:
            first = await call(tools, "process_id")
            told = [
                await call(tools, "refuse"),
                await call(tools, "nonsense"),
                await call(tools, "huge", size=1001),
                await call(tools, "garbage"),
                await call(tools, "echo", text="\ud800"),
                await call(tools, "refuse", code=-32000),
            ]
            assert await call(tools, "process_id") == first
    assert told[0] == "error: the tool's server refused the call (error -32603)"
    assert told[1] == "error: the tool's server answered with what is no result"
    assert told[2].startswith("error: the tool's result is too long to be sent (1001")
    assert told[3] == "{}"
    assert told[4] == "error: the tool's server answered with what is no result"
    assert told[5].startswith(f"error: {LOST}")


@pytest.mark.behaviour("G26")
@pytest.mark.parametrize("name", ["giant", "flood"])
async def test_a_server_that_writes_without_end_is_left(name: str) -> None:
    """A line beyond the bound, and thousands that are no messages."""
    arguments = {"size": 2_000_000} if name == "giant" else {}
    with trio.fail_after(PATIENT):
        async with raw(max_message_bytes=1_000_000).open() as tools:
            first = await call(tools, "process_id")
            assert (await call(tools, name, **arguments)).startswith(f"error: {LOST}")
            assert await call(tools, "process_id") not in (first, "")


@pytest.mark.behaviour("G26")
@pytest.mark.parametrize(
    ("plan", "options", "words"),
    [
        (
            {"tools": [{"name": f"t{n}", "inputSchema": SCHEMA} for n in range(129)]},
            {},
            "lists 129 tools, at most 128 are taken",
        ),
        ({"endless": True}, {}, "more than 100 pages"),
        (
            {"tools": [{"name": f"t{n}", "inputSchema": SCHEMA} for n in range(2001)]},
            {"allowed_tools": ["t1"]},
            "lists more than 2000 tools",
        ),
        ({"tools": [{"name": 3}]}, {}, "ValidationError"),
        ({}, {"allowed_tools": ["ecco"]}, "no tool 'ecco'.*allowed_tools.*echo"),
    ],
)
async def test_a_list_that_cannot_be_taken_is_a_typed_error(
    plan: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    server = raw(plan, **options)
    with trio.fail_after(PATIENT), pytest.raises(ToolSetError, match=words):
        async with server.open():
            pytest.fail("it is not open")


@pytest.mark.behaviour("G26", "G23")
async def test_bad_tools_are_left_out_and_pages_are_put_together(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log names those that are missing."""
    bad = {"type": "object", "properties": {"a": {"type": "colour"}}}
    plan = {
        "start": "garbage",
        "page": 2,
        "tools": [
            {"name": "first.one", "inputSchema": SCHEMA, "description": "First."},
            {"name": "bad", "inputSchema": bad},
            {"name": "first_one", "inputSchema": SCHEMA},
            {"name": "first.one", "inputSchema": SCHEMA, "description": "Again."},
            {"name": "no", "inputSchema": SCHEMA},
        ],
    }
    server = raw(plan, blocked_tools=["no"], name_prefix="raw_")
    with trio.fail_after(PATIENT):
        async with server.open() as tools:
            names = [tool.name for tool in tools]
            assert await call(tools, "raw_first_one", a=2) == '{"a": 2}'
    assert names[1:] == ["raw_first_one"]
    assert names[0].startswith("raw_first_one_")
    assert "'bad' was left out" in caplog.text


@pytest.mark.behaviour("G27", "G26")
async def test_a_list_that_changes_is_looked_at_again_and_a_lie_is_not_taken() -> None:
    """A server of the older protocol says so by itself."""
    with trio.fail_after(PATIENT):
        async with raw().open() as tools:
            assert "mute" in [tool.name for tool in tools]
            await call(tools, "forget", name="mute")
            await until(lambda: "mute" not in [tool.name for tool in tools])
            kept = [tool.name for tool in tools]
            await call(tools, "lie")
            await trio.sleep(1.5)
            assert [tool.name for tool in tools] == kept
            assert (await call(tools, "echo")) == "{}"


# --- in a conversation -------------------------------------------------------------


@pytest.mark.behaviour("G23", "G24")
async def test_a_conversation_goes_on_when_its_server_dies() -> None:
    """The model reads what became of each call; one was not to be run at all."""
    options = {"process_id": ToolOptions(needs_approval=True)}
    server = raw(tool_options=options)

    async def approve(ctx: RunContext, request: ApprovalRequested) -> bool:
        await trio.lowlevel.checkpoint()
        return request.tool != "process_id"

    with trio.fail_after(PATIENT):
        async with (
            on_stage(
                prompted(Call("process_id"), Call("die")), approve=approve
            ) as stage,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(stage.session.run, Prompted(tools=[server]))
            await until(lambda: len(stage.of(ReplyEnded)) == 2, PATIENT)
            told = [output for _, output in outputs(stage)]
            assert told[0].startswith("not approved")
            assert told[1].startswith(LOST)
            tools = await stage.session.open_tool_set(server)
            assert await call(tools, "echo", a=1) == '{"a": 1}'
            assert not stage.of(ToolSetFailed)
            stage.session.end(now=True)


# --- secrets -----------------------------------------------------------------------


@pytest.mark.behaviour("G28")
async def test_the_environment_is_given_and_not_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nor that of the program: a server is handed what it is given, and the usual."""
    token = "sesame-4711"
    server = raw(
        {"start": "die"}, env={"PLAIN": token, "HIDDEN": Secret(token)}, open_timeout=5
    )
    with caplog.at_level(logging.DEBUG), pytest.raises(ToolSetError) as caught:
        async with server.open():
            pytest.fail("it is not open")
    shown = [repr(server), str(server), caplog.text, str(caught.value)]
    shown += [repr(caught.value), repr(caught.value.__cause__)]
    assert not any(token in text for text in shown)
