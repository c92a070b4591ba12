"""Our wire classes and the published types are the same protocol, field by field."""

from __future__ import annotations

import json
import re
import types
import typing
from typing import Any, ClassVar, Literal, Union, get_args, get_origin

import attrs
import pydantic
import pytest

from published import CLIENT_MODELS, SERVER_MODELS, examples_of, strangers
from trialogue.dialects.openai.wire import (
    CLIENT_EVENTS,
    SERVER_EVENTS,
    Raw,
    decode_client_event,
    decode_server_event,
    encode_event,
)

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = {**SERVER_MODELS, **CLIENT_MODELS}
CLASSES: dict[str, Any] = {**SERVER_EVENTS, **CLIENT_EVENTS}


def decode(text: str) -> Any:
    if json.loads(text)["type"] in CLIENT_EVENTS:
        return decode_client_event(text)
    return decode_server_event(text)


def test_every_published_event_has_a_class_here_and_none_is_made_up() -> None:
    assert {"session.update", "response.create"} <= CLIENT_MODELS.keys()
    assert {"session.updated", "response.done"} <= SERVER_MODELS.keys()
    assert CLIENT_EVENTS.keys() == CLIENT_MODELS.keys()
    assert SERVER_EVENTS.keys() == SERVER_MODELS.keys()


@pytest.mark.parametrize("kind", MODELS)
def test_everything_the_published_type_can_say_is_read_and_written_back(
    kind: str,
) -> None:
    """Every field, every alternative: nothing is refused, dropped or changed."""
    for data in examples_of(MODELS[kind]):
        assert not strangers(MODELS[kind].model_validate(data)), "a poor example"
        event = decode(json.dumps(data))
        assert type(event) is CLASSES[kind]
        assert json.loads(encode_event(event)) == data


@pytest.mark.parametrize("kind", CLASSES)
def test_our_class_has_no_key_and_no_word_that_is_not_published(kind: str) -> None:
    """But for the few that are listed here, with the reason."""
    published, ours = merged(said(MODELS[kind])), merged(said(CLASSES[kind]))
    assert ".event_id" in ours
    extra = ours.keys() - published.keys()
    assert not {path for path in extra if not UNPUBLISHED.fullmatch(path)}
    for path in ours.keys() & published.keys():
        assert not published[path] or ours[path] <= published[path], path


def test_no_exception_is_listed_that_is_none() -> None:
    paths = set()
    for kind, cls in CLASSES.items():
        paths |= merged(said(cls)).keys() - merged(said(MODELS[kind])).keys()
    for reason in _REASONS:
        assert any(re.fullmatch(reason, path) for path in paths), reason


_REASONS = [
    # The session as a server shows it; the published class is that of a request.
    r"\.session<realtime>\.(id|object|expires_at)",
    # One class of ours serves both kinds of session.
    r"\.session<transcription>\..*",
    # One class of ours serves sessions, requests and responses.
    r"\.response\.audio\.output\.(speed|voice\.id)",
    # One class of ours serves items, items in requests, and references to items.
    r".*<item_reference>\.id",
    # Parts have short names in `response.content_part.*`, long ones elsewhere (§4.2);
    # servers were seen to mix them.
    r"\.part<(in|out)put_\w+>\.\w+",
    r".*\.content<(text|audio)>\.\w+",
    # One class of ours serves all errors.
    r"\.error\.event_id",
    # The one published event without an id; a server may still give it one.
    r"\.event_id",
    # What is being made has a status, whatever it is.
    r".*<mcp_\w+>\.(status|object)",
]
UNPUBLISHED = re.compile("|".join(_REASONS))
UNTAGGED = ("status_details", "error")
"""Objects whose type says what happened, not which other keys there are."""


def merged(said: Iterator[tuple[str, set[str]]]) -> dict[str, set[str]]:
    """Join what several classes say of one path; any word, if one of them says so."""
    found: dict[str, set[str]] = {}
    for path, words in said:
        before = found.get(path)
        both = before is None or (bool(before) and bool(words))
        found[path] = (before or set()) | words if both else set()
    return found


def said(tp: Any, path: str = "") -> Iterator[tuple[str, set[str]]]:
    """Walk an annotation: the path of every key, and the words that may stand there.

    A path names the objects that it goes through by their type; no words are any words.
    """
    args, origin = get_args(tp), get_origin(tp)
    if isinstance(tp, type) and issubclass(tp, pydantic.BaseModel):
        hints = {name: field.annotation for name, field in tp.model_fields.items()}
        yield from _keys(hints, path)
    elif attrs.has(tp) and tp is not Raw:
        yield from _keys(typing.get_type_hints(tp), path)
    elif origin in (Union, types.UnionType, list, tuple, typing.Annotated):
        for arg in args if origin is not typing.Annotated else args[:1]:
            yield from said(arg, path)


def _keys(hints: dict[str, Any], path: str) -> Iterator[tuple[str, set[str]]]:
    tags = {word for word in _words(hints.get("type")) if not path.endswith(UNTAGGED)}
    tags = tags if path else set()
    for place in [f"{path}<{tag}>" for tag in tags] or [path]:
        for name, hint in hints.items():
            if typing.get_origin(hint) is ClassVar or name == "type":
                continue
            yield f"{place}.{name}", _words(hint)
            yield from said(hint, f"{place}.{name}")


def _words(tp: Any) -> set[str]:
    """Return the words of an annotation, or none if it may be any word."""
    args, origin = get_args(tp), get_origin(tp)
    if origin is Literal:
        return {word for word in args if isinstance(word, str)}
    if origin in (Union, types.UnionType, list, tuple, ClassVar, typing.Annotated):
        found = [_words(arg) for arg in args if arg is not str]
        return set() if str in args else set().union(*found)
    return set()
