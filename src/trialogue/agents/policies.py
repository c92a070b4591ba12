"""Context policies: what a new agent finds of the conversation.

"keep" sends nothing. "fresh" and `last_turns` are applied in the step of the decision,
to all that was said by then. A function of the program's own may take its time and may
fail, so it is called while nothing has been sent; what it makes of its snapshot is
merged with what was said in the meantime.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from trialogue.conversation.context import ChatContext
from trialogue.conversation.diff import diff
from trialogue.errors import ConfigurationError

if TYPE_CHECKING:
    from trialogue.conversation.edits import Edit

__all__ = [
    "ContextPolicy",
    "LastTurns",
    "at_decision",
    "changes_in",
    "check_policy",
    "edit_made_by",
    "last_turns",
    "made_ahead",
]

ContextPolicy: TypeAlias = (
    Literal["keep", "fresh"]
    | Callable[[ChatContext], ChatContext]
    | Callable[[ChatContext], Awaitable[ChatContext]]
)


@attrs.frozen
class LastTurns:
    """The policy that `last_turns` returns: a function of a conversation."""

    count: int

    def __call__(self, chat_ctx: ChatContext) -> ChatContext:
        """Return what is left of a conversation."""
        return chat_ctx.last_turns(self.count)


def last_turns(count: int) -> Callable[[ChatContext], ChatContext]:
    """Return the context policy that keeps the last `count` turns of the user's.

    A turn begins with a message of the user's and holds what follows it, so that
    `last_turns(1)` keeps what the user said last and the call that hands over. Leading
    system messages stay, as in `ChatContext.last_turns`.

    Raises:
        ConfigurationError: `count` is no whole number, or negative.
    """
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        msg = f"last_turns({count!r}): expected 0 or more turns of the user's to keep"
        raise ConfigurationError(msg)
    return LastTurns(count)


def check_policy(policy: object) -> None:
    """Refuse what is no context policy.

    Raises:
        ConfigurationError: it is none; the message names those that there are.
    """
    function = callable(policy) and not isinstance(policy, type)
    if policy in ("keep", "fresh") or (function and policy is not last_turns):
        return
    msg = (
        f'unknown context policy {policy!r}; use "keep", "fresh", last_turns(2) or a '
        "function from a ChatContext to a ChatContext"
    )
    raise ConfigurationError(msg)


def at_decision(policy: ContextPolicy, snapshot: ChatContext) -> ChatContext | None:
    """Return what a built-in policy makes of the conversation; None for no change."""
    if policy == "fresh":
        return attrs.evolve(snapshot, items=()) if snapshot.items else None
    if isinstance(policy, LastTurns):
        edited = policy(snapshot)
        return edited if len(edited) < len(snapshot) else None
    return None


async def made_ahead(
    policy: ContextPolicy, snapshot: ChatContext
) -> ChatContext | None:
    """Return what a program's own policy makes of a snapshot; None for no change.

    Raises:
        ConfigurationError: it returned no conversation.
        Exception: whatever the policy raised.
    """
    if not callable(policy) or isinstance(policy, LastTurns):
        return None
    made: Any = policy(snapshot)
    if inspect.isawaitable(made):
        made = await made
    if not isinstance(made, ChatContext):
        named = getattr(policy, "__qualname__", repr(policy))
        msg = (
            f"the context policy {named} returned {type(made).__name__}; return a "
            "ChatContext, made from the one it is given: chat_ctx.copy(...)"
        )
        raise ConfigurationError(msg)
    edited = _compared_with(snapshot, made)
    return edited if edit_made_by(edited) else None


def _compared_with(snapshot: ChatContext, made: ChatContext) -> ChatContext:
    """Let a context made by hand replace what the policy saw, and nothing newer."""
    assert snapshot.origin is not None
    own = made.origin is not None and made.origin.source is snapshot.origin.source
    if own:
        return made
    return attrs.evolve(made, origin=snapshot.origin, version=snapshot.version)


def edit_made_by(edited: ChatContext) -> Edit:
    """Return what a policy has changed in its snapshot."""
    assert edited.origin is not None
    return diff(ChatContext(edited.origin.items), edited)


def changes_in(edited: ChatContext) -> int:
    """Count the items that a policy took out, put in, or made other ones of."""
    assert edited.origin is not None
    before = {item.id: item for item in edited.origin.items}
    after = {item.id: item for item in edited.items}
    gone = sum(after.get(item_id) is not item for item_id, item in before.items())
    come = sum(before.get(item_id) is not item for item_id, item in after.items())
    return gone + come
