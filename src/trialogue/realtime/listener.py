"""What the session tells the layer that owns its agents; every call is synchronous.

The base class does nothing, so that a session can be used alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trialogue.realtime.replies import CutItem, Response

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from trialogue.conversation.items import FunctionCall

__all__ = ["CutItem", "Listener"]


class Listener:
    """Override what you need. Called in the reader's steps: do not block or raise.

    Attributes:
        plays: replies are heard here, whoever takes a reply's stream beside it.
        stops_for_voice: the user's voice stops what is said, also where the provider
            does not see to that.
    """

    plays = False
    stops_for_voice = False

    def published(self, event: object) -> None:
        """An event was handed to the subscribers; it may come in any of our steps."""

    def response_created(self, response: Response) -> None:
        """A response began that may be heard."""

    def audio(self, response: Response, item_id: str, pcm: bytes) -> None:
        """Audio of a response that may be heard, PCM16 24 kHz mono."""

    def audio_ended(self, response: Response, item_id: str) -> None:
        """An item's audio is complete."""

    def text(self, response: Response, item_id: str, text: str) -> None:
        """More of what is said or written."""

    def message_ended(self, response: Response, item_id: str, text: str) -> None:
        """A message is final, with all that is said or written in it."""

    def call_ready(self, response: Response, call: FunctionCall) -> None:
        """A call is complete and may be run."""

    def call_refused(self, response: Response, call: FunctionCall) -> None:
        """A call of a response that must not act: answer it without running it."""

    def response_done(self, response: Response) -> None:
        """A response ended, or was lost; all its calls were announced."""

    def cut(
        self, response: Response | None, *, force: bool = False
    ) -> Sequence[CutItem]:
        """Stop playing a response (None: everything); say what was heard of each item.

        Items that had been heard in full are not listed. Of everything, the responses
        that may not be interrupted play on unless `force` is given.
        """
        return ()

    def heard_ms(self, response: Response) -> int:
        """How much of a response was played up to now."""
        return 0

    def playing(self) -> bool:
        """Whether something is still being played."""
        return False

    def running_calls(self) -> Collection[str]:
        """The ids (`call_id`) of calls that are being worked on."""
        return ()

    def working(self) -> bool:
        """Whether the next word is for such a call: its output brings the reply."""
        return False

    def user_started_speaking(self) -> None:
        """The user began to speak."""

    def user_stopped_speaking(self) -> None:
        """The user's voice ended."""

    def user_turn(self, item_id: str) -> None:
        """The user's turn is complete: it is an item now."""

    def transcribed(self, item_id: str, text: str) -> None:
        """The words of a user's turn are final."""

    def connection_changed(self) -> None:
        """Another connection serves, or none does for now."""

    def failed(self) -> None:
        """The session ended for good; its error is on the session."""
