"""The user's turns as the program says where they are, and whether it listens at all.

With `turn_detection=None` nobody finds a turn in the sound. The program says where one
begins (a button is pressed), where it ends (let go: the agent answers), or that it is
thrown away. What is said between two turns is in neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trialogue.errors import ConfigurationError
from trialogue.realtime.requests import RequestState

if TYPE_CHECKING:
    from collections.abc import Callable

    from trialogue.realtime.requests import UpdateReport
    from trialogue.realtime.session import RealtimeSession

__all__ = ["UserTurns"]

PASSED_BY = {RequestState.LOST, RequestState.NOT_SENT}
"""What becomes of a commit that no server took: the sound is still ours to give."""


class UserTurns:
    """Manual turns of one session, and its microphone's switch.

    Attributes:
        muted: the microphone is not listened to, except in a turn that was started.
        open: a turn was started and is neither committed nor cleared.
        on_change: is called when a turn was started or is over.
    """

    def __init__(self, realtime: RealtimeSession) -> None:
        self._realtime = realtime
        self.muted = False
        self.open = False
        self.on_change: Callable[[], None] = lambda: None
        self._committing = 0

    @property
    def busy(self) -> bool:
        """Whether a turn is open, or on its way to the server."""
        return self.open or self._committing > 0

    def from_microphone(self, pcm: bytes) -> bytes:
        """Return what of the microphone's sound the session is given.

        While nobody listens a provider that finds the turns is given silence, in which
        an open turn ends; else nothing is given, so that nothing stays behind.
        """
        if self.open or not self.muted:
            return pcm
        return b"" if self._realtime.turns_are_manual() else bytes(len(pcm))

    async def start(self) -> None:
        """See `AgentSession.start_user_turn`."""
        self._check_manual("start_user_turn")
        self.open = True
        self._realtime.interrupt()
        self._realtime.listener.user_started_speaking()
        self.on_change()
        # NB: what is dropped ends with what came before this very step.
        if self._realtime.listening.uncommitted:
            await self._realtime.clear_audio()
        else:
            await trio.lowlevel.checkpoint()

    async def commit(self, *, reply: bool, ack_timeout: float) -> UpdateReport:
        """See `AgentSession.commit_user_turn`."""
        self._close("commit_user_turn")
        self._committing += 1
        try:
            report = await self._commit(trio.current_time() + ack_timeout)
            if report.ok and reply:
                self._realtime.replying.owe()
        finally:
            self._committing -= 1
            self.on_change()
            self._realtime.changed.pulse()
        return report

    async def _commit(self, by: float) -> UpdateReport:
        left = by - trio.current_time()
        report = await self._realtime.commit_audio(ack_timeout=left)
        while report.requests[0].state in PASSED_BY and trio.current_time() < by:
            # Its connection ended: the next one has been given the sound.
            left = by - trio.current_time()
            report = await self._realtime.commit_audio(ack_timeout=left)
        return report

    async def clear(self, *, ack_timeout: float) -> UpdateReport:
        """See `AgentSession.clear_user_turn`."""
        self._close("clear_user_turn")
        return await self._realtime.clear_audio(ack_timeout=ack_timeout)

    def _close(self, what: str) -> None:
        self.open = False
        self.on_change()
        self._check_manual(what)

    def _check_manual(self, what: str) -> None:
        self._realtime.check_open()
        if not self._realtime.turns_are_manual():
            msg = (
                f"{what}() is for turns that the program finds, and the provider finds "
                "them here; set SessionOptions(turn_detection=None)"
            )
            raise ConfigurationError(msg)
