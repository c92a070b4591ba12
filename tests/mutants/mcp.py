"""Breakages of tool sets and of MCP (G20 and following)."""

from __future__ import annotations

from quality.mutation import Patch, mutant


@mutant("G20", "each agent has a set opened anew")
def set_is_opened_for_each_agent(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_sets:ToolSets._asked_for",
        "held.tool_set is tool_set or held.tool_set == tool_set",
        "not held.settled.is_set()",
    )


@mutant("G20", "sets are closed in the order in which they were opened")
def sets_are_closed_in_the_wrong_order(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_sets:ToolSets._close_all", "held.pop()", "held.pop(0)"
    )


@mutant("G20", "sets are closed while agents still use them")
def sets_are_closed_too_early(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.block:Block.around",
        'self._running.stop("session block left")',
        'self._tool_sets.close_soon(close), self._running.stop("session block left")',
    )


@mutant("G21", "nobody waits no longer than a set may take to open")
def opening_has_no_deadline(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_sets:ToolSets._hold",
        "held.scope.deadline = held.by",
        "pass",
    )


@mutant("G21", "a set that could not be opened is not tried again")
def failed_set_is_kept(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_sets:ToolSets._hold",
        "self._held.remove(held)",
        "held.settled.is_set() and self._held.remove(held)",
    )


@mutant("G22", "a set that breaks takes the session with it")
def broken_set_ends_the_session(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_sets:ToolSets._hold",
        "error = raised",
        "error = raised\n            if held.settled.is_set():\n                raise",
    )


@mutant("G22", "a set that does not close holds up the end of the session")
def closing_has_no_deadline(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_sets:ToolSets._close_all",
        "trio.current_time() + share",
        "trio.current_time() + 100",
    )


@mutant("G22", "what closing a set raises is only logged")
def closing_error_is_only_logged(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_sets:ToolSets._broke",
        "self._errors.append(error)",
        "pass",
    )


@mutant("G27", "later agents have the tools that the set began with")
def list_is_looked_at_once(patch: Patch) -> None:
    patch.source(
        "trialogue.agents.tool_sets:ToolSets._hold",
        "held.tools = tools",
        "held.tools = list(tools)",
    )


@mutant("G23", "a schema without properties is sent as it is")
def properties_are_not_added(patch: Patch) -> None:
    patch.source("trialogue.mcp.listing:_spec", '"properties": {}, ', "")


@mutant("G23", "the error of a tool counts as its result")
def is_error_is_not_seen(patch: Patch) -> None:
    patch.source("trialogue.mcp.results:text_of", 'result.get("isError")', "False")


@mutant("G23", "the options that the program gives a server's tool are dropped")
def tool_options_are_dropped(patch: Patch) -> None:
    patch.source(
        "trialogue.mcp.serving:_Served._tool",
        "self._server.tool_options.get(tool.name, ToolOptions())",
        "ToolOptions()",
    )


@mutant("G24", "a connection that is lost is not made anew")
def lost_server_stays_lost(patch: Patch) -> None:
    patch.source(
        "trialogue.mcp.serving:_Served._connect",
        "connection = self._connection = self._new()",
        "pass",
    )


@mutant("G24", "a session that the server has forgotten fails the call")
def forgotten_session_fails_the_call(patch: Patch) -> None:
    patch.source("trialogue.mcp.serving:_Served._result", "range(2)", "range(1)")


@mutant("G25", "a server that answers nothing is kept")
def mute_server_is_kept(patch: Patch) -> None:
    patch.source(
        "trialogue.mcp.connection:Connection.timed_out",
        "self._unheard >= PATIENCE",
        "False",
    )


@mutant("G25", "a call is as patient as its server is slow")
def call_has_no_deadline(patch: Patch) -> None:
    patch.source(
        "trialogue.mcp.serving:_Served._call",
        "trio.move_on_after(server.call_timeout)",
        "trio.move_on_after(1000)",
    )


@mutant("G25", "a process that does not end is left to itself")
def stubborn_process_is_left(patch: Patch) -> None:
    patch.source(
        "trialogue.mcp.stdio:_kill",
        "if process.returncode is None:",
        "if False:",
    )


@mutant("G26", "a schema that is none is sent to the provider")
def bad_schema_is_taken(patch: Patch) -> None:
    patch.source("trialogue.mcp.listing:read", "if wrong is not None:", "if False:")


@mutant("G26", "a line may be as long as a server likes")
def lines_are_not_bounded(patch: Patch) -> None:
    patch.source("trialogue.mcp.lines:Lines._check", "size > self._max", "False")


@mutant("G26", "an answer over HTTP may be as long as a server likes")
def answers_are_not_bounded(patch: Patch) -> None:
    patch.source(
        "trialogue.mcp.http:_BoundedStream.__anext__", "self._left < 0", "False"
    )


@mutant("G26", "a server may list any number of tools")
def number_of_tools_is_not_bounded(patch: Patch) -> None:
    patch.source(
        "trialogue.mcp.serving:_Served._missing",
        "len(listing.tools) > server.max_tools",
        "False",
    )


@mutant("G27", "a server's notice that its tools have changed is not heard")
def changed_list_is_not_heard(patch: Patch) -> None:
    patch.source(
        "trialogue.mcp.connection:Connection._hear",
        "isinstance(message, types.ToolListChangedNotification)",
        "False",
    )


@mutant("G28", "what the protocol's errors say reaches the model")
def protocol_error_is_told(patch: Patch) -> None:
    patch.source(
        "trialogue.mcp.connection:Connection._problem",
        "(error {error.code})",
        "(error {error.message})",
    )


@mutant("G28", "the program's whole environment is handed on")
def environment_is_handed_on(patch: Patch) -> None:
    patch.source(
        "trialogue.mcp.stdio:process_transport",
        "get_default_environment()",
        "os.environ",
    )
