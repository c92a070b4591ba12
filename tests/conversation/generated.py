"""Hypothesis strategies for items and contexts."""

from __future__ import annotations

from hypothesis import strategies as st

from trialogue.conversation import (
    AudioPending,
    AudioTranscribed,
    AudioUnintelligible,
    ChatContext,
    FunctionCall,
    FunctionCallOutput,
    ImageContent,
    Message,
    OpaqueItem,
    TextContent,
)

IDS = st.sampled_from("abcdefgh")
CALL_IDS = st.sampled_from("123")
WORDS = st.text(st.characters(codec="utf-8"), max_size=12)
MS = st.none() | st.integers(0, 10_000)
STATUSES = st.sampled_from(["in_progress", "completed", "incomplete"])

PARTS = st.one_of(
    st.builds(TextContent, WORDS),
    st.builds(AudioPending, WORDS, MS),
    st.builds(AudioTranscribed, WORDS, MS),
    st.builds(AudioUnintelligible, WORDS, MS),
    st.builds(ImageContent, WORDS, st.sampled_from([None, "low", "high"])),
)
MESSAGES = st.builds(
    Message,
    IDS,
    st.sampled_from(["system", "user", "assistant"]),
    st.lists(PARTS, max_size=3).map(tuple),
    STATUSES,
    st.none() | WORDS,
    MS,
)
CALLS = st.builds(FunctionCall, IDS, CALL_IDS, WORDS, WORDS, STATUSES)
OUTPUTS = st.builds(FunctionCallOutput, IDS, CALL_IDS, WORDS, STATUSES)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner),
    max_leaves=4,
)
OPAQUE = st.builds(
    OpaqueItem, IDS, WORDS, st.dictionaries(WORDS, JSON, max_size=2), STATUSES
)
ITEMS = st.one_of(MESSAGES, CALLS, OUTPUTS, OPAQUE)
CONTEXTS = st.lists(ITEMS, max_size=6, unique_by=lambda item: item.id).map(
    lambda items: ChatContext(tuple(items))
)
