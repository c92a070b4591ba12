"""OpenAI's protocol as it was in its beta, and is in Azure's dated versions (§13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from trialogue.dialects.openai.wire import UNSET
from trialogue.testing.machine.parsing import parse
from trialogue.testing.machine.speaking import beta_words as words
from trialogue.testing.machine.speaking.beta_events import EVENTS
from trialogue.testing.machine.speaking.beta_requests import as_asked
from trialogue.testing.machine.speaking.openai import own, retold

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from trialogue.testing.machine.host import Host
    from trialogue.testing.machine.outputs import Output, Refusal
    from trialogue.testing.script import Turn

__all__ = ["Beta"]

B = TypeVar("B", bound="Callable[[Turn], Any]")

_WARM: Final = 0.8


class Beta:
    """Says everything as the beta did.

    The machine knows no temperature, so the session's and the responses' are kept here.

    Args:
        host: the connection's.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._temperature = _WARM
        self._asked: dict[str, Any] = {}
        self._of_response: dict[str, float] = {}

    def read(
        self, text: str, supported: Collection[str], data: dict[str, Any] | None = None
    ) -> Any:
        """See `Speaking`."""
        self._asked = {}
        event = parse(text, supported, EVENTS, data)
        asked = own(as_asked, event)
        for name in ("session", "response"):
            given = getattr(getattr(event, name, UNSET), "temperature", UNSET)
            if given is not UNSET:
                self._asked[name] = given
        return asked

    def reworded(self, refusal: Refusal) -> Refusal:
        """See `Speaking`."""
        self._asked = {}
        return words.refusal(refusal)

    def brain(self, brain: B) -> B:
        """See `Speaking`."""
        return brain

    def told(self, outputs: list[Output]) -> list[Output]:
        """See `Speaking`."""
        return retold(outputs, self._said)

    def _said(self, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        match event["type"]:
            case "session.created":
                yield self._with_session(event)
                yield self._conversation()
            case "session.updated":
                self._temperature = self._asked.pop("session", self._temperature)
                yield self._with_session(event)
            case "conversation.item.done":
                return
            case "conversation.item.added":
                created = {**event, "type": "conversation.item.created"}
                yield {**created, "item": words.item(event["item"])}
            case "conversation.item.retrieved" | (
                "response.output_item.added" | "response.output_item.done"
            ):
                yield {**event, "item": words.item(event["item"])}
            case "response.created" | "response.done" as kind:
                yield self._with_response(event, over=kind == "response.done")
            case "response.function_call_arguments.done":
                event.pop("name", None)
                yield event
            case kind:
                yield {**event, "type": words.EVENT_TYPES.get(kind, kind)}

    def _with_session(self, event: dict[str, Any]) -> dict[str, Any]:
        return {**event, "session": words.session(event["session"], self._temperature)}

    def _with_response(self, event: dict[str, Any], *, over: bool) -> dict[str, Any]:
        shown = event["response"]
        if over:
            temperature = self._of_response.pop(shown["id"], self._temperature)
        else:
            temperature = self._asked.pop("response", self._temperature)
            self._of_response[shown["id"]] = temperature
        return {**event, "response": words.response(shown, temperature)}

    def _conversation(self) -> dict[str, Any]:
        return {
            "type": "conversation.created",
            "event_id": self._host.ids.new("event"),
            "conversation": {
                "id": self._host.conversation.id,
                "object": "realtime.conversation",
            },
        }
