"""What an MCP server lists and returns, as a model is told of it. No server runs."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trialogue import ConfigurationError, Secret, ToolError
from trialogue.mcp import MCPServer, MCPServerStdio, MCPServerStreamableHttp
from trialogue.mcp.lines import Lines, LineTooLong
from trialogue.mcp.listing import MAX_DESCRIPTION_CHARS, read
from trialogue.mcp.results import MAX_ERROR_CHARS, text_of
from trialogue.tools import ToolOptions

OBJECT = {"type": "object"}
STDIO: Any = MCPServerStdio  # to be given what the types forbid
HTTP: Any = MCPServerStreamableHttp
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def tool(name: str, schema: Any = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": OBJECT if schema is None else schema, **more}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return {"type": "object", "properties": {"deep": schema}}


# --- listings ----------------------------------------------------------------------


@pytest.mark.behaviour("G23")
def test_a_schema_stays_as_it_is() -> None:
    """But an object says that it is one, and what it has."""
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Which.", "x-own": [1]},
            "when": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            "any": True,
            "ref": {"$ref": "#/$defs/Ref"},
        },
        "$defs": {"Ref": {"type": ["integer", "null"]}},
        "required": ["city"],
        "additionalProperties": False,
    }
    listing = read([tool("go", schema, description="Go."), tool("stay", {})])

    go, stay = (listed.spec for listed in listing.tools)
    assert (go.name, go.description, go.parameters) == ("go", "Go.", schema)
    assert stay.parameters == {"type": "object", "properties": {}}
    assert stay.description == ""
    assert listing.problems == ()


@pytest.mark.behaviour("G26")
@pytest.mark.parametrize(
    "schema",
    [
        "object",
        [],
        {"type": "string"},
        {"properties": {"a": "string"}},
        {"properties": ["a"]},
        {"properties": {"a": {"type": "colour"}}},
        {"properties": {"a": {"type": 3}}},
        {"properties": {"a": {"type": [{}]}}},
        {"properties": {"a": {"$ref": "https://example.org/schema"}}},
        {"properties": {"a": {"$ref": 3}}},
        {"required": "a"},
        {"required": [1]},
        {"properties": {"a": {"items": 7}}},
        {"properties": {"a": {"anyOf": {"type": "string"}}}},
        {"properties": {"a": {"description": "x" * 40_000}}},
        nested(40),
    ],
)
def test_a_tool_with_a_schema_that_is_none_is_left_out(schema: Any) -> None:
    """A provider would refuse the whole agent for it."""
    listing = read([tool("bad", schema), tool("good")])

    assert [listed.name for listed in listing.tools] == ["good"]
    assert len(listing.problems) == 1
    assert "'bad' was left out" in listing.problems[0]


@pytest.mark.behaviour("G23", "G26")
def test_names_are_those_that_a_provider_takes_and_each_is_there_once() -> None:
    names = ["a.b", "a_b", "a b", "a.b", "x" * 64, "x" * 65, "x" * 66, "é", ""]
    listing = read([tool(name) for name in names])

    called = [listed.spec.name for listed in listing.tools]
    by_own = {listed.name: listed.spec.name for listed in listing.tools}
    assert len(called) == len(set(called)) == 7
    assert all(NAME.fullmatch(name) for name in called)
    assert by_own["a_b"] == "a_b"
    assert by_own["x" * 64] == "x" * 64
    assert len(listing.problems) == 2


@pytest.mark.behaviour("G26")
def test_a_name_that_was_made_to_clash_is_left_out() -> None:
    """Two tools of one name would have every agent refused that lists the server."""
    digits = hashlib.sha256(b"a.b").hexdigest()[:8]
    listing = read([tool("a b"), tool("a.b"), tool(f"a_b_{digits}")])
    assert [t.spec.name for t in listing.tools] == ["a_b", f"a_b_{digits}"]
    (problem,) = listing.problems
    assert problem == f"tool 'a_b_{digits}' was left out: its name is taken"


@pytest.mark.behaviour("G26")
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "name": st.text() | st.integers() | st.none(),
                "description": st.text() | st.integers(),
                "inputSchema": st.recursive(
                    st.none() | st.booleans() | st.integers() | st.text(),
                    lambda inner: (
                        st.lists(inner)
                        | st.dictionaries(
                            st.sampled_from(["type", "properties", "items", "$ref"])
                            | st.text(),
                            inner,
                        )
                    ),
                ),
            },
        )
    ),
    st.text(alphabet="ab_-.", max_size=70),
)
@example([{"name": "a", "inputSchema": {"type": {}}}], "")
@example([{"name": "a", "inputSchema": {"type": None}}], "")
@example([{"name": "\ud800", "inputSchema": {}}], "")
@example(
    [{"name": "a", "inputSchema": {}}, {"name": "b.", "inputSchema": {}}], "x" * 70
)
def test_whatever_is_listed_what_comes_out_can_be_declared(
    listed: list[dict[str, Any]], prefix: str
) -> None:
    """Nothing raises; names are unique and fit; schemas are objects."""
    listing = read(listed, prefix=prefix)

    names = [made.spec.name for made in listing.tools]
    assert len(names) == len(set(names))
    for made in listing.tools:
        assert NAME.fullmatch(made.spec.name)
        assert made.spec.parameters["type"] == "object"
        json.dumps(made.spec.parameters)


@pytest.mark.behaviour("G23")
def test_tools_are_chosen_by_the_names_that_the_server_has() -> None:
    tools = [tool("a"), tool("b"), tool("c")]

    def chosen(**options: Any) -> list[str]:
        return [listed.spec.name for listed in read(tools, **options).tools]

    assert chosen(allowed=["a", "c"]) == ["a", "c"]
    assert chosen(allowed=["a", "c"], blocked=["a"]) == ["c"]
    assert chosen(blocked=["b"], prefix="my_") == ["my_a", "my_c"]
    assert chosen(allowed=[]) == []


@pytest.mark.behaviour("G26")
def test_a_description_without_end_is_cut() -> None:
    listing = read([tool("a", description="x" * 10_000), tool("b", description=7)])

    long, none = (listed.spec.description for listed in listing.tools)
    assert len(long) == MAX_DESCRIPTION_CHARS
    assert long.endswith(" [cut]")
    assert none == ""


# --- results -----------------------------------------------------------------------


def content(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"content": list(parts), **more}


def words(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


@pytest.mark.behaviour("G23")
@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (content(words("one"), words("two")), "one\ntwo"),
        (content(), ""),
        (content(structuredContent={"a": [1]}), '{"a":[1]}'),
        (content(words("one"), structuredContent={"a": 1}), "one"),
        (
            content(
                words("see"), {"type": "image", "mimeType": "image/png", "data": "AAAA"}
            ),
            "see\n[image, image/png, 3 bytes, not shown]",
        ),
        (
            content({"type": "audio", "data": "AAAAAAAA"}),
            "[audio, of unknown type, 6 bytes, not shown]",
        ),
        (
            content({"type": "resource_link", "name": "n", "uri": "file:///n"}),
            "[resource n: file:///n]",
        ),
        (
            content({"type": "resource", "resource": {"uri": "u:1", "text": "inside"}}),
            "inside",
        ),
        (
            content({"type": "resource", "resource": {"uri": "u:1", "blob": "AAAA"}}),
            "[file u:1, of unknown type, 3 bytes, not shown]",
        ),
        (content({"type": "hologram"}), "[hologram, not shown]"),
    ],
)
def test_a_result_is_text_for_the_model(result: dict[str, Any], expected: str) -> None:
    assert text_of(result, max_bytes=1000) == expected


@pytest.mark.behaviour("G23")
def test_structured_content_is_preferred_on_request() -> None:
    result = content(words("one"), structuredContent={"a": 1})

    assert text_of(result, structured=True, max_bytes=1000) == '{"a":1}'


@pytest.mark.behaviour("G23", "G26")
def test_a_tool_that_failed_says_why_in_its_own_words_up_to_a_bound() -> None:
    with pytest.raises(ToolError, match=r"^out of stock$"):
        text_of(content(words("out of stock"), isError=True), max_bytes=1000)
    with pytest.raises(ToolError, match=r"^the tool failed$"):
        text_of(content(isError=True), max_bytes=1000)
    with pytest.raises(ToolError) as caught:
        text_of(content(words("x" * 100_000), isError=True), max_bytes=1000)
    assert len(str(caught.value)) == MAX_ERROR_CHARS


@pytest.mark.behaviour("G26")
def test_a_result_beyond_the_bound_is_not_sent() -> None:
    """Counted in bytes of UTF-8."""
    assert text_of(content(words("é" * 500)), max_bytes=1000) == "é" * 500
    with pytest.raises(ToolError, match=r"too long .*1002 bytes, at most 1000"):
        text_of(content(words("é" * 501)), max_bytes=1000)


# --- lines -------------------------------------------------------------------------


@pytest.mark.behaviour("G26")
@given(st.binary(max_size=300), st.lists(st.integers(1, 40), max_size=20))
@example(b"one\r\ntwo\n\nthree", [1, 1, 1, 1, 1])
@example(b"\n\n", [1])
def test_lines_are_the_same_in_whatever_pieces_they_come(
    data: bytes, sizes: list[int]
) -> None:
    lines, found, at = Lines(1000), [], 0
    for size in [*sizes, len(data)]:
        found += lines.feed(data[at : at + size])
        at += size

    assert found == [line.rstrip(b"\r") for line in data.split(b"\n")[:-1]]


@pytest.mark.behaviour("G26")
def test_a_line_beyond_the_bound_is_refused_before_it_is_whole() -> None:
    assert Lines(10).feed(b"0123456789\n") == [b"0123456789"]
    lines = Lines(10)
    lines.feed(b"012345")
    with pytest.raises(LineTooLong):
        lines.feed(b"67890")
    with pytest.raises(LineTooLong):
        Lines(10).feed(b"0123456789a\n")


# --- descriptions ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: STDIO(""), "name or path of a program"),
        (lambda: STDIO("x", "a b"), r"args is a list, not 'a b'; write"),
        (lambda: STDIO("x", call_timeout=0), "call_timeout=0 is not a number"),
        (lambda: STDIO("x", open_timeout=float("inf")), "open_timeout=inf"),
        (lambda: STDIO("x", allowed_tools="a"), r"write \['a'\]"),
        (lambda: STDIO("x", tool_options={"a": 3}), r"expected ToolOptions"),
        (lambda: STDIO("x", mode="old"), "expected 'auto' or 'legacy'"),
        (lambda: STDIO("x", env={"A": 3}), "A is of type int"),
        (lambda: HTTP("example.org/mcp"), "is no URL; write https"),
        (lambda: HTTP("ftp://example.org"), "server is no URL"),
        (lambda: HTTP(3), "is no URL"),
        (lambda: HTTP("http://[::1"), "no URL; write"),
        (
            lambda: HTTP("http://example.org"),
            "http:// to example.org",
        ),
        (lambda: HTTP("https://me:4711@example.org"), "as a header"),
    ],
)
def test_what_can_mean_nothing_is_refused_at_once(make: Any, text: str) -> None:
    """With an error that says what to write, and quotes no URL."""
    with pytest.raises(ConfigurationError, match=text) as caught:
        make()
    assert "4711" not in str(caught.value)


@pytest.mark.behaviour("G28")
def test_a_description_shows_no_secret() -> None:
    servers: list[MCPServer] = [
        MCPServerStdio("x", ["--key=4711"], env={"A": "4711", "B": Secret("4711")}),
        MCPServerStreamableHttp(
            "https://example.org/mcp?key=4711", headers={"A": "4711"}
        ),
    ]

    for server in servers:
        assert "4711" not in f"{server!r} {server}"


def test_servers_that_are_described_alike_are_one() -> None:
    """An agent may make its own each time it is made."""

    def made(**options: Any) -> MCPServerStdio:
        return MCPServerStdio("x", ["a"], env={"A": "1"}, **options)

    assert made() == made()
    assert hash(made()) == hash(made())
    assert made() != made(name_prefix="p_")
    assert made() != MCPServerStdio("x", ["a"], env={"A": "2"})
    assert made(tool_options={"a": ToolOptions(timeout=1)}) != made()
    assert MCPServerStdio("/usr/bin/thing").name == "thing"
    assert MCPServerStreamableHttp("https://example.org/mcp").name == "example.org"


WITHOUT = """
import sys
sys.modules["mcp"] = None
import trio
from trialogue import Agent, ConfigurationError, function_tool
from trialogue.mcp import MCPServerStdio

async def main():
    try:
        async with MCPServerStdio("x").open():
            print("it is open")
    except ConfigurationError as error:
        print(error)

trio.run(main)
"""


def test_without_the_package_the_error_says_what_to_install() -> None:
    """And everything else can be imported and used."""
    told = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert "pip install 'trialogue[mcp]'" in told.stdout
    assert told.stderr == ""


def test_the_package_is_not_imported_before_it_is_used() -> None:
    """Its import takes a second, and most programs have no use for it."""
    program = "import sys, trialogue, trialogue.mcp; print('mcp' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert told.stdout == "False\n"
