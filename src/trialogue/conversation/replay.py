"""What a fresh connection is given of a conversation."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

import attrs

from trialogue.conversation.equivalence import (
    as_words,
    has_content,
    is_untranscribed,
)
from trialogue.conversation.items import (
    AudioPending,
    AudioUnintelligible,
    FunctionCall,
    FunctionCallOutput,
    ImageContent,
    Item,
    Message,
)
from trialogue.conversation.units import (
    answered,
    in_turns,
    without_orphan_outputs,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["Replay", "estimated_tokens", "plan_replay"]


@attrs.frozen
class Replay:
    """Items for a connection whose server holds nothing.

    Attributes:
        items: what to create, in order.
        omitted: how many items were left out for the budget; the session says so.
        omitted_tokens: how many tokens those are, by `estimated_tokens`.
        needs_audio: ids of user messages that nobody has transcribed: send their audio
            while it is kept, else "[unintelligible]".
        unfinished: ids of items left out because they were never finished: replies in
            the making of which nothing was heard, and calls that nobody will answer.
    """

    items: tuple[Item, ...] = ()
    omitted: int = 0
    omitted_tokens: int = 0
    needs_audio: frozenset[str] = frozenset()
    unfinished: tuple[str, ...] = ()


def plan_replay(
    items: Sequence[Item],
    *,
    max_items: int | None = None,
    max_tokens: int | None = None,
    running: Collection[str] = (),
) -> Replay:
    """Decide what a fresh connection has to be given.

    Leading system messages come first, then the newest turns that fit the budget,
    whole: a turn is a user message and all that follows it. If the newest turn alone
    exceeds the budget, its newest items are taken. A call goes with its output or not
    at all, also where the two stand in different turns. Messages without content are
    skipped, replies of which no word is known among them.

    Args:
        items: the record, interrupted replies with only what was heard.
        max_items: at most so many items; None is no bound.
        max_tokens: at most so many tokens, by `estimated_tokens`; None is no bound.
        running: call ids that are still being worked on and will be answered.
    """
    answers = answered(items)
    kept = [i for i in items if not _unfinished(i, answers, running)]
    kept_ids = {item.id for item in kept}
    wordy = [item for item in map(as_words, kept) if has_content(item)]
    sent = without_orphan_outputs(wordy)
    chosen = _newest(sent, _Room(max_items, max_tokens))
    return Replay(
        chosen,
        len(sent) - len(chosen),
        _tokens(sent) - _tokens(chosen),
        frozenset(item.id for item in chosen if is_untranscribed(item)),
        tuple(item.id for item in items if item.id not in kept_ids),
    )


def estimated_tokens(item: Item) -> int:
    """Estimate what an item costs: four bytes of text, or 100 ms of speech, a token.

    A picture is reckoned as 1000 tokens, a frame around each item as 4.
    """
    match item:
        case Message():
            text = item.text
            extra = sum(_other_tokens(part) for part in item.content)
        case FunctionCall():
            text, extra = item.name + item.arguments, 0
        case FunctionCallOutput():
            text, extra = item.output, 0
        case _:
            text, extra = str(item.data), 0
    return 4 + len(text.encode("utf-8", "surrogatepass")) // 4 + extra


def _other_tokens(part: object) -> int:
    match part:
        case AudioPending(duration_ms=ms) | AudioUnintelligible(duration_ms=ms):
            return (ms or 0) // 100
        case ImageContent():
            return 1000
        case _:
            return 0


def _unfinished(item: Item, answers: set[str], running: Collection[str]) -> bool:
    match item:
        case FunctionCall(call_id=call_id):
            return call_id not in answers and call_id not in running
        case Message(role="assistant", status="in_progress", heard_ms=heard):
            return not heard
        case _:
            return False


@attrs.define
class _Room:
    """What is left of the budget; None is no bound."""

    items: int | None
    tokens: int | None

    def take(self, part: Sequence[Item]) -> bool:
        """Make room for all of `part`, or for nothing of it."""
        items = None if self.items is None else self.items - len(part)
        tokens = None if self.tokens is None else self.tokens - _tokens(part)
        if (items or 0) < 0 or (tokens or 0) < 0:
            return False
        self.items, self.tokens = items, tokens
        return True


def _tokens(items: Sequence[Item]) -> int:
    return sum(map(estimated_tokens, items))


def _newest(items: tuple[Item, ...], room: _Room) -> tuple[Item, ...]:
    if attrs.evolve(room).take(items):
        return items
    lead, turns = in_turns(items)
    if not room.take(lead):
        lead = ()
    chosen: list[Item] = []
    for turn in reversed(turns):
        if not room.take(turn):
            break
        chosen[:0] = turn
    if turns and not chosen:
        kept = list(takewhile(lambda item: room.take([item]), reversed(turns[-1])))
        chosen = kept[::-1]
    return without_orphan_outputs((*lead, *chosen), items)
