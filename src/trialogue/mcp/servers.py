"""What a program says of an MCP server. Nothing runs before a session opens it."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import attrs
import trio

from trialogue.errors import ConfigurationError
from trialogue.realtime.credentials import Credential, kept
from trialogue.realtime.dial import is_loopback
from trialogue.tools import ToolOptions, ToolSet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trialogue.tools.tool_set import AnyTool

__all__ = ["MCPServer", "MCPServerStdio", "MCPServerStreamableHttp"]


def _positive(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and value > 0 and math.isfinite(value)):
        msg = f"{attribute.name}={value!r} is not a number above 0"
        raise ConfigurationError(msg)


def _names(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, str):
        msg = f"{attribute.name} is a list, not {value!r}; write [{value!r}]"
        raise ConfigurationError(msg)


def _options(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    for name, options in value.items():
        if not isinstance(options, ToolOptions):
            msg = f"tool_options[{name!r}] is {options!r}; expected ToolOptions(...)"
            raise ConfigurationError(msg)


def _mode(_: object, __: object, value: Any) -> None:
    if value not in ("auto", "legacy"):
        msg = f"mode={value!r}; expected 'auto' or 'legacy'"
        raise ConfigurationError(msg)


def _program(_: object, __: object, value: Any) -> None:
    if not isinstance(value, str) or not value.strip():
        msg = f"command={value!r}; expected the name or path of a program"
        raise ConfigurationError(msg)


def _credentials(values: Mapping[str, Credential] | None) -> dict[str, Any]:
    return {name: kept(value, name) for name, value in (values or {}).items()}


@attrs.frozen(kw_only=True, repr=False, eq=True, hash=False)
class MCPServer(ToolSet):
    """An MCP server as a tool set: what servers of both kinds have in common.

    List it in an agent's `tools`. A session opens it once, for all the agents that list
    it or an equal one, and calls its tools over one connection, any number at a time. A
    connection that is lost fails the calls that were under way, and the next call makes
    another one: a server that dies, hangs or lies costs its call an error, which the
    model is told, and nothing else.

    Attributes:
        name: how logs, events and errors call it.
        open_timeout: seconds in which it has to be connected and to have listed its
            tools, at first and whenever it is connected anew. The first server of a
            process also waits for the package `mcp` to be imported.
        call_timeout: seconds that each call may take. After two calls in a row during
            which nothing was heard of it the server counts as hanging, and is left for
            a new connection. A tool's own timeout is in `tool_options`.
        allowed_tools: the names, as the server has them, of the tools to have; None for
            all. It is an error if there is not one of them.
        blocked_tools: the names, as the server has them, of tools not to have.
        name_prefix: what stands before each name that the model is told, so that two
            servers can have tools of one name.
        tool_options: `ToolOptions` of tools, by the name that the server has for them.
        use_structured_content: give the model the structured content of a result, as
            JSON, where it has some. Otherwise that is done where there is no text.
        max_tools: how many tools there may be, those that are filtered out not counted.
        max_result_bytes: how long the text of one result may be, in bytes of UTF-8.
        max_message_bytes: how long one message of the server may be.
        mode: "auto" asks for the newest protocol and falls back to the handshake of
            older ones; "legacy" begins with that, for a server that does not answer
            what it does not know.

    Raises:
        ConfigurationError: a keyword can mean nothing; nothing was started.
    """

    name: str = ""
    open_timeout: float = attrs.field(default=20.0, validator=_positive)
    call_timeout: float = attrs.field(default=30.0, validator=_positive)
    allowed_tools: Collection[str] | None = attrs.field(default=None, validator=_names)
    blocked_tools: Collection[str] = attrs.field(default=(), validator=_names)
    name_prefix: str = ""
    tool_options: Mapping[str, ToolOptions] = attrs.field(
        factory=dict, validator=_options
    )
    use_structured_content: bool = False
    max_tools: int = attrs.field(default=128, validator=_positive)
    max_result_bytes: int = attrs.field(default=64 * 1024, validator=_positive)
    max_message_bytes: int = attrs.field(default=2**20, validator=_positive)
    # pyright widens the default of a field that has a validator to any string.
    mode: Literal["auto", "legacy"] = attrs.field(  # pyright: ignore
        default="auto", validator=_mode
    )

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Sequence[AnyTool]]:
        """Connect to the server; yield its tools, a list that changes when theirs does.

        Raises:
            ConfigurationError: the package `mcp` is not installed, or too old.
            ToolSetError: the server cannot be started or reached, or does not list the
                tools that it has to.
        """
        await _import_mcp()
        # NB: what needs the package is imported here, and nowhere above.
        from trialogue.mcp.serving import serving

        async with serving(self) as tools:
            yield tools


async def _import_mcp() -> None:
    """Import the package in a thread: it takes a second, in which others are heard."""
    try:
        await trio.to_thread.run_sync(
            importlib.import_module, "trialogue.mcp.serving", abandon_on_cancel=True
        )
    except ImportError as error:
        if (error.name or "").split(".")[0] == "trialogue":
            raise
        msg = (
            "an MCP server needs the package `mcp`, version 2.3 or later, which cannot "
            "be imported here; install it: pip install 'trialogue[mcp]'"
        )
        raise ConfigurationError(msg) from error


@attrs.frozen(repr=False, hash=False)
class MCPServerStdio(MCPServer):
    """An MCP server that is started as a process, and spoken to through its pipes.

    The process, in a group of its own, lives as long as the session. At the end its
    standard input is closed; if it is still there half a second later it is terminated,
    and killed half a second after that. Its standard error is that of the program.

    Attributes:
        command: the program; looked for on the `PATH`.
        args: its arguments. They are not shown by the repr, but by the system: give
            keys in `env`.
        env: variables on top of the few that are handed on (`PATH`, `HOME` and the
            like). A value may be a `Secret`, or a function, async or not, that returns
            one and is asked for each start. None is shown in any repr, log or error.
        cwd: the folder that it runs in; that of the program by default.
    """

    command: str = attrs.field(validator=_program)
    args: Sequence[str] = attrs.field(default=(), validator=_names)
    env: Mapping[str, Credential] = attrs.field(
        default=None, kw_only=True, converter=_credentials
    )
    cwd: str | os.PathLike[str] | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or PurePath(self.command).name)

    __hash__ = MCPServer.__hash__


@attrs.frozen(repr=False, hash=False)
class MCPServerStreamableHttp(MCPServer):
    """An MCP server that is reached over HTTP.

    TLS is verified. Plain `http://` is for this machine only.

    Attributes:
        url: its endpoint, often ending in `/mcp`. The HTTP library writes it to its own
            log: a key belongs into `headers`.
        headers: sent with each request. A value may be a `Secret`, or a function, async
            or not, that returns one and is asked for each connection, and whenever the
            server is connected to anew. None is shown in any repr, log or error.
        allow_insecure: permit `http://` to another machine.
    """

    url: str = attrs.field()
    headers: Mapping[str, Credential] = attrs.field(
        default=None, kw_only=True, converter=_credentials
    )
    allow_insecure: bool = attrs.field(default=False, kw_only=True)

    def __attrs_post_init__(self) -> None:
        host = _checked_host(self.url, allow_insecure=self.allow_insecure)
        object.__setattr__(self, "name", self.name or host)

    __hash__ = MCPServer.__hash__


def _checked_host(url: object, *, allow_insecure: bool) -> str:
    """Return the host of an endpoint.

    Raises:
        ConfigurationError: it is none; the message never quotes it, for its query may
            hold a key.
    """
    msg = "the URL of an MCP server is no URL; write https://host/mcp"
    if not isinstance(url, str):
        raise ConfigurationError(msg)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError(msg) from None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigurationError(msg)
    if "@" in parts.netloc:
        msg = "the URL has a user or password in it; pass credentials as a header"
        raise ConfigurationError(msg)
    if parts.scheme == "http" and not allow_insecure and not is_loopback(host):
        msg = (
            f"http:// to {host} would send keys and what the user said in the clear; "
            "use https://, or allow_insecure=True if that is meant"
        )
        raise ConfigurationError(msg)
    return host
