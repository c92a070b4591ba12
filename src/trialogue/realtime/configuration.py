"""What a session should be like: one value per activation, compared by identity.

A configuration is the unit of agreement with the server. Responses bind to the one in
force when they were created; that is what keeps one agent's words from being spoken
under another's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs
import trio

from trialogue.dialects.commands import UpdateSession
from trialogue.dialects.options import (
    UNCHANGED,
    NoiseReduction,
    ServerVAD,
    SessionOptions,
    Unchanged,
    given,
)
from trialogue.errors import TrialogueError
from trialogue.realtime.model import RealtimeModel
from trialogue.realtime.requests import Request
from trialogue.tools.spec import ToolSpec

if TYPE_CHECKING:
    from trialogue.dialects.events import Configured

__all__ = ["Configuration", "is_empty", "must_replace", "speed_of", "update_for"]

_FORMATS = ("input_format", "output_format")
_DEFAULTS: dict[str, Any] = {
    "speed": 1.0,
    "output_modalities": ("audio",),
    "turn_detection": ServerVAD(),
    "transcription": None,
    "noise_reduction": None,
    "tool_choice": "auto",
    "max_output_tokens": "inf",
    "truncation": "auto",
    "tracing": None,
    "prompt": None,
    "include": None,
}
"""What an option becomes again when the next agent does not set it.

A voice, parallel tool calls and reasoning effort have no documented default, so that
taking them back takes a fresh connection; the formats stay what they are.
"""


@attrs.define(eq=False)
class Configuration:
    """Instructions, tools and options under one model, for one owner.

    Attributes:
        owner: who answers for responses made under it (an agent's scope), or None.
        epoch: shared by the edits of one owner's configuration; a response of
            another epoch is never heard.
        ready: the owner has begun; before that a connection is not brought to it.
        carried: a reply has left ahead of the answer, with this configuration in it.
        amends: an edit of what its owner had; refusing it takes back only the edit.
        requests: the batch that asks the server for it.
        base: what an edit is an edit of, until the server has had its say.
        unanswered: nobody waits for the answer any more; the next update says all.
        refusals: how often a server refused it for a reason that may pass.
        deadline: when the whole attempt to agree on it has failed (Trio's clock).
        verdict: set once the server agreed (`error` is None) or once it failed.
    """

    model: RealtimeModel
    instructions: str
    tools: tuple[ToolSpec, ...] = ()
    options: SessionOptions = attrs.field(factory=SessionOptions)
    owner: Any = attrs.field(default=None, repr=False)
    epoch: object = attrs.field(factory=object, repr=False)
    ready: bool = True
    deadline: float = math.inf
    carried: bool = False
    amends: bool = False
    base: Configuration | None = attrs.field(default=None, repr=False)
    unanswered: bool = False
    refusals: int = 0
    requests: list[Request] = attrs.field(factory=list, repr=False)
    verdict: trio.Event = attrs.field(factory=trio.Event, repr=False)
    error: TrialogueError | None = None
    acknowledged_at: float | None = None

    @property
    def accepted(self) -> bool:
        return self.verdict.is_set() and self.error is None

    @property
    def void(self) -> bool:
        """Whether it cannot be had, so that nothing may be made under it."""
        return self.error is not None and not self.amends

    def accept(self) -> None:
        """The server agreed. Only the first verdict counts."""
        self.unanswered = False
        self.base = None
        if not self.verdict.is_set():
            self.acknowledged_at = trio.current_time()
            self.verdict.set()

    def fail(self, error: TrialogueError) -> None:
        """It cannot be had. Only the first verdict counts."""
        self.base = None
        if not self.verdict.is_set():
            self.error = error
            self.verdict.set()

    def edited(self, **changes: Any) -> Configuration:
        """Return a configuration of the same epoch with changes, without a verdict."""
        fresh: dict[str, Any] = {
            "verdict": trio.Event(),
            "error": None,
            "acknowledged_at": None,
            "deadline": math.inf,
            "carried": False,
            "amends": True,
            "unanswered": False,
            "refusals": 0,
            "requests": [],
        }
        return attrs.evolve(self, **(fresh | changes))

    def leave_out(self, refused: Configuration, held: Configuration) -> None:
        """Take back what came from an edit that was refused: `held` is what stayed.

        What this configuration changed beyond `refused` is its own and stands.
        """
        if self.instructions == refused.instructions:
            self.instructions = held.instructions
        if self.tools == refused.tools:
            self.tools = held.tools
        mine, theirs, stayed = (
            attrs.asdict(c.options, recurse=False) for c in (self, refused, held)
        )
        same = {k: stayed[k] for k, value in mine.items() if value == theirs[k]}
        self.options = attrs.evolve(self.options, **same)

    def matches(self, echo: Configured) -> bool:
        """Whether the server's echo is this configuration, as far as it echoes.

        Line ends and outer white space of the instructions may be normalised.
        """
        said = echo.instructions
        if said is not UNCHANGED and _lines(said) != _lines(self.instructions):
            return False
        if echo.tool_names is not UNCHANGED:
            return sorted(echo.tool_names) == sorted(t.name for t in self.tools)
        return True


def _lines(text: str) -> list[str]:
    return text.strip().splitlines()


def update_for(
    config: Configuration,
    held: Configuration | None,
    *,
    first: bool = True,
    sure: bool = True,
) -> UpdateSession:
    """Return the update that brings a server from `held` to `config`.

    With `held=None` the server has its own defaults, and every field goes; otherwise
    only what differs. Unless it is `sure` that the server has what it was sent, every
    field goes, and what the new configuration leaves out is taken back. After the first
    update of a connection never the audio formats, which do not change (H16).
    """
    back = {} if held is None else _defaults_of(_taken_back(config, held))
    if held is None or not sure:
        options = attrs.evolve(config.options, **back)
        options = options if first else _without_formats(options)
        if held is not None:
            options = _in_full(options, held.options)
        return UpdateSession(config.instructions, config.tools, options)
    changed = config.options.changed_from(held.options)
    options = _in_full(_without_formats(attrs.evolve(changed, **back)), held.options)
    same_words = config.instructions == held.instructions
    return UpdateSession(
        UNCHANGED if same_words else config.instructions,
        UNCHANGED if config.tools == held.tools else config.tools,
        options,
    )


def _taken_back(config: Configuration, held: Configuration) -> set[str]:
    """The options that one owner has changed and the next one does not set."""
    mine = given(config.options)
    return {
        name
        for name, value in given(held.options).items()
        if name not in mine and not (name in _DEFAULTS and _DEFAULTS[name] == value)
    }


def _defaults_of(names: set[str]) -> dict[str, Any]:
    return {name: _DEFAULTS[name] for name in names if name in _DEFAULTS}


def _without_formats(options: SessionOptions) -> SessionOptions:
    return attrs.evolve(options, **dict.fromkeys(_FORMATS, UNCHANGED))


def _in_full(changed: SessionOptions, held: SessionOptions) -> SessionOptions:
    """Say what would be kept if it were left out, within an option that changes."""
    new, old = changed.noise_reduction, held.noise_reduction
    if not isinstance(new, NoiseReduction) or not isinstance(old, NoiseReduction):
        return changed
    if new.strength is not None or old.strength is None:
        return changed
    return attrs.evolve(changed, noise_reduction=attrs.evolve(new, strength=1.0))


def speed_of(config: Configuration | None) -> float:
    """Return how fast a server speaks under a configuration, or under none."""
    speed = UNCHANGED if config is None else config.options.speed
    return 1.0 if isinstance(speed, Unchanged) else speed


def is_empty(update: UpdateSession) -> bool:
    """Whether an update changes nothing and need not be sent."""
    nothing = update.instructions is UNCHANGED and update.tools is UNCHANGED
    return nothing and not given(update.options)


def must_replace(
    config: Configuration,
    held: Configuration,
    *,
    edits_context: bool,
    assistant_audio: bool,
) -> str | None:
    """Say why `config` needs a fresh connection, or None if the present one will do.

    Rule 5 of the handoff: equal models, and everything that differs is mutable. A
    voice counts as fixed once the conversation holds assistant audio.
    """
    can = config.model.capabilities
    update = update_for(config, held)
    voice = update.options.voice is not UNCHANGED and assistant_audio
    reasons = {
        "another model": config.model != held.model,
        "instructions are fixed": update.instructions is not UNCHANGED
        and not can.mutable_instructions,
        "tools are fixed": update.tools is not UNCHANGED and not can.mutable_tools,
        "the conversation is fixed": edits_context and not can.mutable_chat_context,
        "options are fixed": bool(given(update.options)) and not can.mutable_options,
        "the voice was heard": voice,
        "tracing is fixed once it is on": update.options.tracing is not UNCHANGED
        and held.options.tracing not in (UNCHANGED, None),
        "an option cannot be taken back": bool(
            _taken_back(config, held) - _DEFAULTS.keys() - set(_FORMATS)
        ),
    }
    return next((reason for reason, applies in reasons.items() if applies), None)
