"""Conversations: items, immutable contexts, the one true record, and the diff.

Nothing here does I/O or knows a provider. `items` are the values; a `ChatContext` is a
conversation as a value, to read and to edit; `Record` is the reducer that keeps the
true state of a live conversation, with one `View` per connection of what its server
holds; the functions of `trialogue.conversation.diff` turn an edited context into
operations on that server.
"""

from __future__ import annotations

from trialogue.conversation.changes import Change, UnknownAnchor
from trialogue.conversation.context import ChatContext
from trialogue.conversation.edits import Create, Delete, Edit, Operation
from trialogue.conversation.items import (
    AudioPending,
    AudioTranscribed,
    AudioUnintelligible,
    Content,
    FunctionCall,
    FunctionCallOutput,
    ImageContent,
    Item,
    ItemStatus,
    Message,
    OpaqueItem,
    Role,
    TextContent,
    new_item_id,
)
from trialogue.conversation.order import ROOT
from trialogue.conversation.record import Record
from trialogue.conversation.replay import Replay
from trialogue.conversation.view import View

__all__ = [
    "ROOT",
    "AudioPending",
    "AudioTranscribed",
    "AudioUnintelligible",
    "Change",
    "ChatContext",
    "Content",
    "Create",
    "Delete",
    "Edit",
    "FunctionCall",
    "FunctionCallOutput",
    "ImageContent",
    "Item",
    "ItemStatus",
    "Message",
    "OpaqueItem",
    "Operation",
    "Record",
    "Replay",
    "Role",
    "TextContent",
    "UnknownAnchor",
    "View",
    "new_item_id",
]
