"""How much of a conversation is kept, and how much of it is told again."""

from __future__ import annotations

import attrs

from trialogue.errors import ConfigurationError

__all__ = ["History"]


def _positive(_: object, attribute: attrs.Attribute[int], value: int | None) -> None:
    if value is not None and value < 1:
        raise ConfigurationError(
            f"History.{attribute.name} is {value}; expected 1 or more, or None for no"
            " bound"
        )


@attrs.frozen(kw_only=True)
class History:
    """The bounds of a conversation's memory; None is no bound.

    A conversation of any length is held in the memory of its last `items` items. Beyond
    them the oldest turns leave, whole, until nine tenths of the bound remain: from
    `chat_ctx`, and from the server, which is asked to delete them where its
    conversation can be edited. `HistoryTrimmed` says so. Leading system messages stay,
    as do calls that have no output yet, and whatever is being sent, said or answered.

    A fresh connection is given the leading system messages and the newest whole turns,
    at most `replay_items` items and `replay_tokens` tokens; `ReplayTruncated` says what
    was left out. That stays in `chat_ctx`, but its model does not know of it.

    Attributes:
        items: how many items are kept.
        replay_items: how many items a fresh connection is given.
        replay_tokens: how many tokens a fresh connection is given, at four bytes of
            text or 100 ms of speech a token. A model whose input is 28 000 tokens has
            8 000 of them left for instructions, tools and the next turns.

    Raises:
        ConfigurationError: a bound is less than 1.
    """

    items: int | None = attrs.field(default=2000, validator=_positive)
    replay_items: int | None = attrs.field(default=400, validator=_positive)
    replay_tokens: int | None = attrs.field(default=20_000, validator=_positive)
