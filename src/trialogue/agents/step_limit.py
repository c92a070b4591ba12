"""How many responses in a row may call tools, whichever agents they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from trialogue.realtime.replies import Response

__all__ = ["StepLimit"]


@attrs.define(eq=False)
class StepLimit:
    """Counts the steps of one session: responses in a row that call tools.

    A model that calls a tool, reads its output, calls the next and so on would never
    speak, nor stop. The row ends when the user has said or written something, when a
    response has called nothing, and when nothing more was asked for; a handoff does not
    end it.

    Attributes:
        most: how many steps are run; None for any number.
    """

    most: int | None
    _taken: int = 0

    def take(self) -> int:
        """A response calls tools; return how many steps it is beyond the limit."""
        self._taken += 1
        return 0 if self.most is None else max(0, self._taken - self.most)

    def reset(self) -> None:
        """The row has ended."""
        self._taken = 0

    def ended(self, response: Response) -> None:
        """A response ended; one that called nothing ends the row.

        Not so words that a tool has asked for: they stand in the middle of a step.
        """
        asked_by_tool = response.reply is not None and response.reply.within is not None
        if not (response.calls or response.out_of_band or asked_by_tool):
            self.reset()
