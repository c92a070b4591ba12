"""What went over the wire, read from the server's own log of it.

What a client says of itself is not enough: it might have made up the words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from interop.cast import ANSWER, DESK, GREETING, LOOK_UP, ORDERS, REFUNDS, TRANSFER

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

__all__ = ["Frame", "errors", "problems", "read_log"]

_SAID = ("response.output_text.done", "response.output_audio_transcript.done")


@attrs.frozen
class Frame:
    """A line of the log."""

    connection: int
    incoming: bool
    event: Mapping[str, Any]

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Frame:
        """Read a line."""
        return cls(line["connection"], line["direction"] == "in", line["event"])

    @property
    def type(self) -> str:
        """The type of the event."""
        return str(self.event.get("type", ""))


def read_log(path: Path) -> list[Frame]:
    """Read what `--log` wrote."""
    lines = path.read_text("utf-8").splitlines()
    return [Frame.of(json.loads(line)) for line in lines]


def problems(
    log: Sequence[Frame], *, modality: str, forgiven: Collection[str] = ()
) -> list[str]:
    """Say what of the conversation is missing on the wire; nothing if all is there.

    Args:
        log: every frame of the client's connections, in order.
        modality: "text", or "audio" if the caller and the agents speak.
        forgiven: codes of errors that real servers answer to this client as well.
    """
    found: list[str] = []
    at = 0
    for what, is_it in _steps(modality):
        rest = enumerate(log[at:], at)
        place = next((n for n, frame in rest if is_it(frame)), None)
        if place is None:
            found.append(f"missing on the wire: {what}")
        else:
            at = place + 1
    found += [
        f"the server answered an error: {code}: {message}"
        for code, message in errors(log)
        if code not in forgiven
    ]
    return found


def errors(log: Iterable[Frame]) -> list[tuple[str, str]]:
    """Return the code, or else the type, and the message of each error answered."""
    answered = (
        frame.event["error"]
        for frame in log
        if frame.type == "error" and not frame.incoming
    )
    return [
        (str(error.get("code") or error.get("type")), str(error.get("message")))
        for error in answered
    ]


Step: TypeAlias = "tuple[str, Callable[[Frame], bool]]"


def _steps(modality: str) -> list[Step]:
    first: Step = (
        "the first agent's instructions",
        lambda frame: _instructs(frame, DESK),
    )
    written: list[Step] = [
        (f"a call of {LOOK_UP}", lambda frame: _calls(frame, LOOK_UP)),
        ("its output", lambda frame: ORDERS[7] in _output(frame)),
        (f"the words {ANSWER!r}", lambda frame: _says(frame, ANSWER)),
        (f"a call of {TRANSFER}", lambda frame: _calls(frame, TRANSFER)),
        ("the second agent's instructions", lambda frame: _instructs(frame, REFUNDS)),
    ]
    last: Step = (f"the words {GREETING!r}", lambda frame: _says(frame, GREETING))
    if modality == "text":
        return [first, *written, last]
    return [first, *_STORY, *written, ("the second agent's voice", _VOICE), last]


def _is(kind: str) -> Callable[[Frame], bool]:
    return lambda frame: frame.type == kind


_VOICE: Final = _is("response.output_audio.delta")

_STORY: Final[list[Step]] = [
    ("the caller's voice", _is("input_audio_buffer.committed")),
    ("a story", _VOICE),
    ("its interruption", lambda frame: _is_cancelled(frame)),
    ("how much of it was heard", _is("conversation.item.truncate")),
    ("its truncation", _is("conversation.item.truncated")),
]


def _is_cancelled(frame: Frame) -> bool:
    response = frame.event.get("response") or {}
    return frame.type == "response.done" and response.get("status") == "cancelled"


def _instructs(frame: Frame, instructions: str) -> bool:
    session = frame.event.get("session") or {}
    return (
        frame.incoming
        and frame.type == "session.update"
        and instructions in (session.get("instructions") or "")
    )


def _calls(frame: Frame, name: str) -> bool:
    item = frame.event.get("item") or {}
    return frame.type == "response.output_item.done" and item.get("name") == name


def _output(frame: Frame) -> str:
    item = frame.event.get("item") or {}
    if not frame.incoming or item.get("type") != "function_call_output":
        return ""
    return str(item.get("output"))


def _says(frame: Frame, words: str) -> bool:
    said = frame.event.get("text") or frame.event.get("transcript")
    return frame.type in _SAID and said == words
