"""A loudspeaker that reads the watermark of all it plays, and objects."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import attrs

from trialogue.audio.clocked import ClockedOutput
from trialogue.testing import Mark, decode
from trialogue.testing.watermark import FRAME_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue.agents.session import AgentSession

__all__ = ["Loudspeaker"]

FRAME: Final = 2 * FRAME_SAMPLES
REMEMBERED: Final = 64


@attrs.define(eq=False)
class _Sound:
    """One item, as its first piece said that it is."""

    item_id: str
    response_id: str
    config: str
    last: int = -1
    cut: bool = False


class Loudspeaker(ClockedOutput):
    """Plays on Trio's clock, and holds each 10 ms against what they say of themselves.

    Args:
        check: told of each rule whether it holds, and what broke it.
        made_for: the name of the agent that a configuration is of, or None.
        answers_for: the name of the agent that a response was begun for; None if it was
            not said to begin.

    Attributes:
        began: how many items were begun to be heard.
        began_at: when the last of them was (Trio's clock).
        frames: how many marks were read.
    """

    def __init__(
        self,
        check: Callable[[str, object, str], None],
        made_for: Callable[[str], str | None],
        answers_for: Callable[[str], str | None],
    ) -> None:
        super().__init__()
        self.began = self.frames = 0
        self.began_at = 0.0
        self._check = check
        self._made_for = made_for
        self._answers_for = answers_for
        self._sounds: OrderedDict[int, _Sound] = OrderedDict()
        self._rest = b""
        self._playing: _Sound | None = None

    def watch(self, session: AgentSession[Any]) -> None:
        """Look at what the session hands to its playout, and what it cuts there."""
        playout = session.playout
        push, interrupt, discard = playout.push, playout.interrupt, playout.discard

        def pushed(key: Any, item_id: str, pcm: bytes) -> bool:
            self.handed_over(key[1], item_id, pcm)
            return push(key, item_id, pcm)

        def interrupted(**options: Any) -> Any:
            stopped = interrupt(**options)
            self.cut({one.item_id for one in stopped if one.state != "done"})
            return stopped

        def discarded(item_id: str) -> Any:
            heard = discard(item_id)
            if not heard.complete:
                self.cut({item_id})
            return heard

        for name, spy in (
            ("push", pushed),
            ("interrupt", interrupted),
            ("discard", discarded),
        ):
            setattr(playout, name, spy)

    def handed_over(self, response_id: str, item_id: str, pcm: bytes) -> None:
        """Take note of an item that is to be heard, as its first piece comes."""
        if any(s.item_id == item_id for s in reversed(self._sounds.values())):
            return
        marks = decode(pcm[: 2 * FRAME])
        if marks:
            sound = _Sound(item_id, response_id, marks[0].config)
            self._sounds[marks[0].item] = sound
            if len(self._sounds) > REMEMBERED:
                self._sounds.popitem(last=False)

    def cut(self, items: set[str]) -> None:
        """Take note of items of which nothing more is to be heard."""
        for sound in self._sounds.values():
            sound.cut = sound.cut or sound.item_id in items

    def record(self, tick: int, pcm: bytes) -> None:
        """Read the marks of what was played; the sound may pause within one."""
        self._rest += pcm
        marks = decode(self._rest) if len(self._rest) >= FRAME else []
        if marks:
            self._rest = self._rest[2 * marks[-1].position + FRAME :]
            for mark in marks:
                self._heard(mark, self.time_of(tick))
        elif len(self._rest) > 2 * FRAME:
            self._rest = self._rest[-FRAME:]

    def _heard(self, mark: Mark, time: float) -> None:
        self.frames += 1
        sound = self._sounds.get(mark.item)
        if sound is None:
            self._check(
                "wrong prompt", False, f"heard {mark}, which nobody handed over"
            )
            return
        if sound.last < 0:
            self._begins(sound, time)
        elif sound is not self._playing:
            self._check("overlap", False, f"{sound.item_id} is heard beside another")
        self._check(
            "overlap",
            mark.seq == sound.last + 1,
            f"{sound.item_id}: {mark.seq} is heard behind {sound.last}",
        )
        self._check("after a cut", not sound.cut, f"{sound} is heard at {mark.seq}")
        self._check("wrong prompt", mark.config == sound.config, f"{sound}: {mark}")
        sound.last = mark.seq

    def _begins(self, sound: _Sound, time: float) -> None:
        self._playing = sound
        self.began += 1
        self.began_at = time
        owner = self._made_for(sound.config)
        agent = self._answers_for(sound.response_id)
        self._check(
            "wrong prompt",
            owner is not None and owner == agent,
            f"{sound.item_id} was made for {owner}, and is heard as {agent}'s",
        )
