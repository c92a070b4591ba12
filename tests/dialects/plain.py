"""A made-up protocol as unlike OpenAI's as can be, to keep the session neutral.

One JSON object a line, one key each. There are no ids and no acknowledgements; tools
and instructions are set once; a tool's result is answered by itself, in call order.

To the server: `setup` `say` `result` `audio` `end_of_turn` `reply` `stop`.
From it: `hello` `heard` `text` `audio` `call` `done` `stopped` `error`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from trialogue._codec import b64decode, b64encode, dumps, loads
from trialogue.conversation.items import (
    AudioTranscribed,
    FunctionCall,
    FunctionCallOutput,
    Item,
    ItemStatus,
    Message,
    TextContent,
)
from trialogue.dialects import commands as cmd
from trialogue.dialects import events as ev
from trialogue.dialects.dialect import Capabilities, Encoded
from trialogue.dialects.options import Unchanged
from trialogue.errors import ConversionError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

PLAIN = Capabilities(
    mutable_instructions=False,
    mutable_tools=False,
    mutable_chat_context=False,
    mutable_options=False,
    per_response_configuration=False,
    per_response_tool_choice=False,
    message_truncation=False,
    auto_tool_reply_generation=True,
    acknowledges_updates=False,
    ordered=False,
)


class PlainDialect:
    """Makes up the ids that the protocol lacks: `response-1`, `item-1`, `call-1`.

    A session knows items and responses by their ids alone, whatever connection they
    came over: give each connection's dialect a `prefix` of its own.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._counts: dict[str, int] = {}
        self._keys: deque[str] = deque()
        self._response: str | None = None
        self._said: Message | None = None
        self._output: list[Item] = []

    def encode(self, command: cmd.Command, *, event_id: str) -> Encoded:
        frame = self._frame(command)
        text = "" if frame is None else dumps(frame)
        if isinstance(command, cmd.CreateResponse):
            # The dialect knows which response answers it: `decode` gives it the key.
            return Encoded(text, ("response", command.key))
        return Encoded(text)

    def _frame(self, command: cmd.Command) -> dict[str, Any] | None:
        match command:
            case cmd.UpdateSession():
                return {"setup": _setup(command)}
            case cmd.CreateItem(item=Message() as message) if message.text:
                return {"say": {"role": message.role, "text": message.text}}
            case cmd.CreateItem(item=FunctionCallOutput(output=output)):
                return {"result": output}
            case cmd.AppendAudio(pcm=pcm):
                return {"audio": b64encode(pcm)}
            case cmd.CommitAudio():
                return {"end_of_turn": True}
            case cmd.ClearAudio():
                return None
            case cmd.CreateResponse(key=key):
                self._keys.append(key)
                return {"reply": True}
            case cmd.CancelResponse():
                return {"stop": True}
            case _:
                raise ConversionError(f"{type(command).__name__} has no form here")

    def parse(self, text: str) -> Any:
        return loads(text)

    def decode(self, text: str) -> Sequence[ev.Event]:
        try:
            ((kind, value),) = loads(text).items()
        except (ValueError, AttributeError):
            raise ProtocolError("not one key in one object") from None
        match kind, value:
            case "hello", str(session_id):
                return [ev.SessionStarted(session_id)]
            case "heard", str(words):
                user = Message(self._new("item"), "user", (AudioTranscribed(words),))
                return _joined(user)
            case "text", str(words):
                opening, response_id, item_id = self._speaking(words)
                return [*opening, ev.OutputText(response_id, item_id, words)]
            case "audio", str(audio):
                opening, response_id, item_id = self._speaking("")
                pcm = b64decode(audio)
                return [*opening, ev.OutputAudio(response_id, item_id, pcm)]
            case "call", {"name": str(name), "args": dict(args)}:
                return self._called(name, dumps(args))
            case "done", _:
                return self._ended("completed")
            case "stopped", _:
                return self._ended("cancelled", reason="client_cancelled")
            case "error", str(message):
                return [ev.ErrorReported(message)]
            case _:
                return [ev.UnknownEvent(kind, {kind: value})]

    def _new(self, kind: str) -> str:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return f"{self._prefix}{kind}-{self._counts[kind]}"

    def _responding(self) -> tuple[list[ev.Event], str]:
        if self._response is not None:
            return [], self._response
        self._response = self._new("response")
        key = self._keys.popleft() if self._keys else None
        return [ev.ResponseCreated(self._response, key=key)], self._response

    def _speaking(self, words: str) -> tuple[list[ev.Event], str, str]:
        opening, response_id = self._responding()
        said = self._said
        if said is None:
            said = Message(self._new("item"), "assistant", (), "in_progress")
            opening.append(ev.OutputItemAdded(response_id, said, len(self._output)))
            opening.append(ev.ItemAdded(said, previous_known=False))
        content = (TextContent(said.text + words),)
        self._said = Message(said.id, "assistant", content, "in_progress")
        return opening, response_id, said.id

    def _finished(self, item: Item, response_id: str) -> list[ev.Event]:
        self._output.append(item)
        index = len(self._output) - 1
        done = ev.ItemDone(item, previous_known=False)
        return [done, ev.OutputItemDone(response_id, item, index)]

    def _called(self, name: str, arguments: str) -> list[ev.Event]:
        opening, response_id = self._responding()
        said = self._said_so_far(response_id, "completed")
        call = FunctionCall(self._new("item"), self._new("call"), name, arguments)
        index = len(self._output)
        added = ev.OutputItemAdded(response_id, call, index)
        joined = ev.ItemAdded(call, previous_known=False)
        done = self._finished(call, response_id)
        ready = ev.CallReady(response_id, call, index)
        return [*opening, *said, added, joined, *done, ready]

    def _said_so_far(
        self, response_id: str, status: ev.ResponseStatus
    ) -> list[ev.Event]:
        said, self._said = self._said, None
        if said is None:
            return []
        how: ItemStatus = "completed" if status == "completed" else "incomplete"
        return self._finished(
            Message(said.id, "assistant", said.content, how), response_id
        )

    def _ended(
        self, status: ev.ResponseStatus, reason: str | None = None
    ) -> list[ev.Event]:
        opening, response_id = self._responding()
        said = self._said_so_far(response_id, status)
        items = tuple(self._output)
        self._response, self._output = None, []
        done = ev.ResponseDone(response_id, status, reason=reason, items=items)
        return [*opening, *said, done]


def _joined(item: Item) -> list[ev.Event]:
    added = ev.ItemAdded(item, previous_known=False)
    return [added, ev.ItemDone(item, previous_known=False)]


def _setup(command: cmd.UpdateSession) -> dict[str, Any]:
    setup: dict[str, Any] = {}
    if not isinstance(command.instructions, Unchanged):
        setup["instructions"] = command.instructions
    if not isinstance(command.tools, Unchanged):
        setup["tools"] = [tool.name for tool in command.tools]
    return setup
