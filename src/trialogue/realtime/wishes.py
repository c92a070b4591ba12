"""What a program may say about one reply: keywords in, a command out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

import attrs

from trialogue.dialects.commands import CreateResponse
from trialogue.dialects.options import UNCHANGED, Unchanged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trialogue.conversation.items import Item
    from trialogue.dialects.options import (
        AudioFormat,
        Modality,
        Prompt,
        ToolChoice,
        Voice,
    )
    from trialogue.tools.spec import ToolSpec

__all__ = ["ReplyOptions", "Wish", "wish_for"]


class ReplyOptions(TypedDict, total=False):
    """The keywords that everything which asks for a reply takes.

    What is left out, or `UNCHANGED`, is as the session has it.

    Attributes:
        instructions: said to the model for this reply, after the session's own.
        replace: `instructions` stand alone instead.
        tools: the complete tools for this reply.
        tool_choice: whether the reply may, must or must not call tools.
        parallel_tool_calls: whether it may call several (reasoning models).
        output_modalities: ("audio",) or ("text",).
        max_output_tokens: the most tokens, tool calls included, or "inf".
        reasoning_effort: how hard the model thinks, in the provider's words.
        voice: who speaks; fixed in a conversation that holds assistant audio.
        output_format: how its audio travels; the program is given PCM16 24 kHz
            whatever it is.
        prompt: a prompt stored with the provider; None for none.
        out_of_band: the reply runs beside the conversation and is not written to it.
        input: items to answer instead of the conversation; an `OpaqueItem` of type
            "item_reference" names one of the conversation by its id.
        metadata: pairs that the provider echoes with the reply.
        allow_interruptions: False keeps what is said going while the user speaks, and
            through `interrupt()`; refused where the provider itself interrupts.
    """

    instructions: str | None
    replace: bool
    tools: Sequence[ToolSpec] | Unchanged
    tool_choice: ToolChoice | Unchanged
    parallel_tool_calls: bool | Unchanged
    output_modalities: tuple[Modality, ...] | Unchanged
    max_output_tokens: int | Literal["inf"] | Unchanged
    reasoning_effort: str | Unchanged
    voice: Voice | Unchanged
    output_format: AudioFormat | Unchanged
    prompt: Prompt | Unchanged | None
    out_of_band: bool
    input: Sequence[Item] | Unchanged
    metadata: Mapping[str, str] | None
    allow_interruptions: bool


@attrs.frozen
class Wish:
    """A reply that is wanted.

    Attributes:
        command: what to ask the provider.
        add_instructions: what to add to the session's instructions when it is asked.
        allow_interruptions: whether the user may stop it.
    """

    command: CreateResponse
    add_instructions: str | None = None
    allow_interruptions: bool = True


def wish_for(
    key: str,
    *,
    instructions: str | None = None,
    replace: bool = False,
    tools: Sequence[ToolSpec] | Unchanged = UNCHANGED,
    tool_choice: ToolChoice | Unchanged = UNCHANGED,
    parallel_tool_calls: bool | Unchanged = UNCHANGED,
    output_modalities: tuple[Modality, ...] | Unchanged = UNCHANGED,
    max_output_tokens: int | Literal["inf"] | Unchanged = UNCHANGED,
    reasoning_effort: str | Unchanged = UNCHANGED,
    voice: Voice | Unchanged = UNCHANGED,
    output_format: AudioFormat | Unchanged = UNCHANGED,
    prompt: Prompt | Unchanged | None = UNCHANGED,
    out_of_band: bool = False,
    input: Sequence[Item] | Unchanged = UNCHANGED,  # noqa: A002
    metadata: Mapping[str, str] | None = None,
    allow_interruptions: bool = True,
) -> Wish:
    """Return the wish that `ReplyOptions` describe.

    Raises:
        ConfigurationError: a value can mean nothing at any provider.
        TypeError: there is no such option.
    """
    alone = instructions if replace and instructions else UNCHANGED
    command = CreateResponse(
        key,
        instructions=alone,
        tools=UNCHANGED if isinstance(tools, Unchanged) else tuple(tools),
        tool_choice=tool_choice,
        parallel_tool_calls=parallel_tool_calls,
        output_modalities=output_modalities,
        max_output_tokens=max_output_tokens,
        reasoning_effort=reasoning_effort,
        voice=voice,
        output_format=output_format,
        prompt=prompt,
        out_of_band=out_of_band,
        input=UNCHANGED if isinstance(input, Unchanged) else tuple(input),
        metadata=dict(metadata or {}),
    )
    added = None if replace else instructions
    return Wish(command, added, allow_interruptions)
