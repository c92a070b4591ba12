"""Wishes of an owner who has given the floor away for a while, and will be back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trialogue.realtime.configuration import Configuration
    from trialogue.realtime.replies import Reply

__all__ = ["Aside"]


class Aside:
    """Keeps the wishes of each epoch that waits; plain state."""

    def __init__(self) -> None:
        self._waiting: dict[object, list[Reply]] = {}

    def __iter__(self) -> Iterator[Reply]:
        """All that waits, whoever's it is."""
        return (reply for waiting in self._waiting.values() for reply in waiting)

    def __bool__(self) -> bool:
        return any(self._waiting.values())

    def hold(self, config: Configuration) -> None:
        """From now on the wishes of this configuration's epoch wait here."""
        self._waiting.setdefault(config.epoch, [])

    def take(self, reply: Reply) -> bool:
        """Let a wish wait, if it is of one that does. No user is kept waiting."""
        epoch = None if reply.config is None else reply.config.epoch
        if epoch not in self._waiting or reply.answers_user:
            return False
        self._waiting[epoch].append(reply)
        return True

    def drop(self, reply: Reply) -> None:
        """Nobody wants it any more."""
        for waiting in self._waiting.values():
            if reply in waiting:
                waiting.remove(reply)

    def release(self, config: Configuration) -> list[Reply]:
        """Nothing of this epoch waits from now on; return what did, in order."""
        return self._waiting.pop(config.epoch, [])
