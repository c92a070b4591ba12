"""From a URL to a connected stream: addresses, TLS, and what may not be dialled.

No error here quotes the URL: its query may hold a key.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, final
from urllib.parse import SplitResult, urlsplit

import attrs
import trio

from trialogue.errors import ConfigurationError, ConnectionLost, ConnectRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Target", "is_loopback", "parse_url", "tcp_connector"]

_DEFAULT_PORTS = {"ws": 80, "wss": 443}


@final
@attrs.frozen
class Target:
    """Where to connect to, taken from a `ws://` or `wss://` URL by `parse_url`.

    Attributes:
        host: name or address, without brackets.
        port: TCP port.
        resource: path and query as the request sends them; kept out of the repr.
        secure: whether the connection is TLS.
    """

    host: str
    port: int
    resource: str = attrs.field(repr=False)
    secure: bool

    @property
    def authority(self) -> str:
        """What the Host header says: the port only where it is not the scheme's own."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        usual = _DEFAULT_PORTS["wss" if self.secure else "ws"]
        return name if self.port == usual else f"{name}:{self.port}"


def parse_url(url: str, *, allow_insecure: bool = False) -> Target:
    """Check a WebSocket URL and take it apart.

    A plain `ws://` URL must name this machine (localhost or a loopback address), unless
    `allow_insecure` says that sending keys and speech in the clear is meant.

    Raises:
        ConfigurationError: the URL cannot be used; the message never quotes it.
    """
    if not re.fullmatch(r"[\x21-\x7e]+", url):
        raise ConfigurationError(
            "the URL is empty, or has a space or a character beyond ASCII; "
            "percent-encode it, and write the host in its xn-- form"
        )
    parts, port = _split(url)
    if parts.scheme not in _DEFAULT_PORTS:
        raise ConfigurationError(
            f"the URL's scheme is {parts.scheme or 'missing'}; use wss:// (or ws://)"
        )
    if not parts.hostname:
        raise ConfigurationError("the URL names no host; write wss://host/path")
    if "@" in parts.netloc:
        raise ConfigurationError(
            "the URL has a user or password in it; pass credentials as a header"
        )
    if "#" in url:
        raise ConfigurationError("a WebSocket URL has no fragment; remove the #")
    secure = parts.scheme == "wss"
    if not secure and not allow_insecure and not is_loopback(parts.hostname):
        raise ConfigurationError(
            f"ws:// to {parts.hostname} would send keys and speech in the clear; "
            "use wss://, or allow_insecure=True if that is meant"
        )
    resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(
        host=parts.hostname,
        port=_DEFAULT_PORTS[parts.scheme] if port is None else port,
        resource=resource,
        secure=secure,
    )


def _split(url: str) -> tuple[SplitResult, int | None]:
    with suppress(ValueError):  # its text may quote the URL: not even a context
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")
        if parts.port != 0:
            return parts, parts.port
    raise ConfigurationError(
        "the URL's host or port is malformed; write wss://host:port/path"
    )


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def tcp_connector(
    target: Target, *, ssl_context: ssl.SSLContext | None = None
) -> Callable[[], Awaitable[trio.abc.Stream]]:
    """A function that dials `target`: TCP without Nagle delay, then TLS if secure.

    The TLS handshake is complete, and the certificate verified, when the stream is
    handed over. The function can be called any number of times.

    Args:
        ssl_context: the system's trust store if None; not for a `ws://` target.

    The returned function raises:
        ConnectionLost: the name does not resolve, nothing listens, the network failed.
        ConnectRefused: the certificate is not valid for the host, or the port does not
            speak TLS: trying again would not help.
    """
    if not target.secure:
        if ssl_context is not None:
            raise ConfigurationError("an ssl_context needs a wss:// URL")
        return lambda: _open_tcp(target)
    context = ssl.create_default_context() if ssl_context is None else ssl_context
    return lambda: _open_tls(target, context)


async def _open_tcp(target: Target) -> trio.SocketStream:
    try:
        return await trio.open_tcp_stream(target.host, target.port)
    except OSError as exc:
        tried = exc.__cause__  # one failure for each address of the name
        why = tried.exceptions[0] if isinstance(tried, ExceptionGroup) else exc
        message = f"could not connect to {target.host} port {target.port}: {why}"
        raise ConnectionLost(message) from exc


async def _open_tls(
    target: Target, context: ssl.SSLContext
) -> trio.SSLStream[trio.SocketStream]:
    stream = trio.SSLStream(
        await _open_tcp(target),
        context,
        server_hostname=target.host,
        https_compatible=True,
    )
    try:
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError as exc:
            raise _tls_failure(target, exc.__cause__) from exc
    except BaseException:
        with trio.move_on_after(0, shield=True):  # by force: it does not wait
            await trio.aclose_forcefully(stream)
        raise
    return stream


def _tls_failure(target: Target, cause: BaseException | None) -> ConnectionLost:
    place = f"{target.host} port {target.port}"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return ConnectRefused(
            f"the certificate of {place} is not valid: {cause.verify_message}"
        )
    hung_up = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, hung_up):
        return ConnectRefused(f"{place} does not agree on TLS with us: {cause.reason}")
    return ConnectionLost(f"{place} hung up during the TLS handshake")
