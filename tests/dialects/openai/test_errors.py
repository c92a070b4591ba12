"""What the provider's errors mean to whoever waits."""

from __future__ import annotations

import json

import pytest

from trialogue.dialects.events import ErrorClass, ErrorReported
from trialogue.dialects.openai import OpenAIDialect

BENIGN, CONFLICT, DUPLICATE, PERMANENT, STATE, TRANSIENT, TERMINAL = (
    ErrorClass.BENIGN,
    ErrorClass.CONFLICT,
    ErrorClass.DUPLICATE,
    ErrorClass.PERMANENT,
    ErrorClass.STATE,
    ErrorClass.TRANSIENT,
    ErrorClass.TERMINAL,
)


def error(**fields: str | None) -> ErrorReported:
    text = json.dumps({"type": "error", "event_id": "event_1", "error": fields})
    (event,) = OpenAIDialect().decode(text)
    assert isinstance(event, ErrorReported)
    return event


@pytest.mark.parametrize(
    ("code", "error_class", "kinds"),
    [
        ("invalid_api_key", TERMINAL, ()),
        ("insufficient_quota", TERMINAL, ()),
        ("billing_hard_limit_reached", TERMINAL, ()),
        ("account_deactivated", TERMINAL, ()),
        ("invalid_model", TERMINAL, ()),
        ("missing_model", TERMINAL, ()),
        ("beta_api_shape_disabled", TERMINAL, ()),
        ("session_expired", STATE, ()),
        ("cannot_update_voice", STATE, ("configured",)),
        ("input_audio_buffer_commit_empty", STATE, ("committed",)),
        ("conversation_already_has_active_response", CONFLICT, ("response",)),
        ("item_create_duplicate_item_id", DUPLICATE, ("item",)),
        ("item_create_invalid_previous_item_id", STATE, ("item",)),
        ("item_create_invalid_content", PERMANENT, ("item",)),
        ("invalid_tool_call_id", STATE, ("item",)),
        ("item_retrieve_invalid_item_id", STATE, ("retrieved",)),
        ("invalid_value", PERMANENT, ()),
        ("invalid_json", PERMANENT, ()),
        ("string_above_max_length", PERMANENT, ()),
        ("rate_limit_exceeded", TRANSIENT, ()),
        ("inference_rate_limit_exceeded", TRANSIENT, ()),
        ("something_new", STATE, ()),
    ],
)
def test_codes(code: str, error_class: ErrorClass, kinds: tuple[str, ...]) -> None:
    event = error(type="invalid_request_error", code=code, message="")
    assert (event.error_class, event.kinds) == (error_class, kinds)


@pytest.mark.behaviour("R3")
@pytest.mark.parametrize(
    ("code", "message", "kinds"),
    [
        ("response_cancel_not_active", "", ()),
        ("item_delete_invalid_item_id", "", ("deleted",)),
        ("item_truncate_invalid_item_id", "", ("truncated",)),
        (None, "Cancellation failed: no active response found", ()),
        (
            None,
            "Error deleting item: the item with id 'i1' does not exist.",
            ("deleted",),
        ),
        (None, "Only model output audio messages can be truncated", ("truncated",)),
        (
            "unsupported_content_type",
            "Only model output audio messages can be truncated",
            ("truncated",),
        ),
        (
            "invalid_value",
            "Audio content of 900ms is already shorter than 1000ms",
            ("truncated",),
        ),
    ],
)
def test_races_are_benign(
    code: str | None, message: str, kinds: tuple[str, ...]
) -> None:
    event = error(type="invalid_request_error", code=code, message=message)
    assert (event.error_class, event.kinds) == (BENIGN, kinds)


@pytest.mark.parametrize(
    ("param", "kinds"),
    [
        ("session.audio.input.foo", ("configured",)),
        ("session", ("configured",)),
        ("item.content[0].text", ("item",)),
        ("response.input[0]", ("response",)),
        ("audio_end_ms", ("truncated",)),
        ("audio", ()),
        (None, ()),
    ],
)
def test_the_parameter_tells_the_kind_of_request(
    param: str | None, kinds: tuple[str, ...]
) -> None:
    event = error(code="unknown_parameter", message="Unknown parameter", param=param)
    assert (event.error_class, event.kinds) == (PERMANENT, kinds)


@pytest.mark.parametrize(
    ("message", "error_class", "kinds"),
    [
        (
            "Conversation already has an active response in progress: resp_1. Wait",
            CONFLICT,
            ("response",),
        ),
        (
            "Error adding item: an item with id 'i1' already exists.",
            DUPLICATE,
            ("item",),
        ),
        (
            "Error adding item: the previous item with id 'i0' does not exist.",
            STATE,
            ("item",),
        ),
        (
            "Cannot update a conversation's voice if assistant audio is present.",
            STATE,
            ("configured",),
        ),
        (
            "Error committing input audio buffer: buffer too small. Expected at least"
            " 100ms of audio, but buffer only has 0.00ms of audio.",
            STATE,
            ("committed",),
        ),
        ("Your session hit the maximum duration of 60 minutes.", STATE, ()),
        ("Unknown parameter: 'session.voice'.", PERMANENT, ("configured",)),
        ("A sentence nobody has seen before", STATE, ()),
    ],
)
def test_without_a_code_the_message_tells(
    message: str, error_class: ErrorClass, kinds: tuple[str, ...]
) -> None:
    param = "session.voice" if "parameter" in message else None
    event = error(code=None, message=message, param=param)
    assert (event.error_class, event.kinds) == (error_class, kinds)


@pytest.mark.parametrize(
    ("kind", "error_class"),
    [
        ("server_error", TRANSIENT),
        ("rate_limit_error", TRANSIENT),
        ("tokens", TRANSIENT),
        ("authentication_error", TERMINAL),
        ("invalid_request_error", STATE),
    ],
)
def test_without_code_or_known_message_the_type_tells(
    kind: str, error_class: ErrorClass
) -> None:
    event = error(type=kind, code=None, message="Oh no.")
    assert event.error_class is error_class


@pytest.mark.parametrize(
    ("message", "refs"),
    [
        ("Error deleting item: the item with id 'item_9' does not exist.", ("item_9",)),
        (
            "Conversation already has an active response in progress: resp_7. Wait",
            ("resp_7",),
        ),
        ("No tool call found for 'call_abc'.", ("call_abc",)),
        ("Tool call with call_id 'x1' was not found.", ("x1",)),
        ("Unknown parameter: 'session.voice'.", ()),
    ],
)
def test_ids_are_read_from_the_message(message: str, refs: tuple[str, ...]) -> None:
    assert error(message=message).refs == refs


def test_every_field_is_kept() -> None:
    event = error(
        type="invalid_request_error",
        code="unknown_parameter",
        message="Unknown parameter: 'session.voice'.",
        param="session.voice",
        event_id="c9",
    )
    assert event == ErrorReported(
        message="Unknown parameter: 'session.voice'.",
        code="unknown_parameter",
        type="invalid_request_error",
        param="session.voice",
        event_id="c9",
        kinds=("configured",),
        error_class=PERMANENT,
    )


def test_an_empty_error_is_an_error() -> None:
    assert error() == ErrorReported(message="")


@pytest.mark.behaviour("X1")
@pytest.mark.parametrize(
    "key",
    ["sk-proj-abcDEF123456", "ek_68af296e8e408191", "xai-0123456789", "sk-***wxyz"],
)
def test_keys_that_a_provider_quotes_are_struck_out(key: str) -> None:
    event = error(code="invalid_api_key", message=f"Incorrect API key provided: {key}.")
    assert key not in repr(event)
    assert "[key]" in event.message
    done = {
        "type": "response.done",
        "response": {
            "id": "r",
            "status": "failed",
            "status_details": {"error": {"message": f"Authorization: Bearer {key}"}},
        },
    }
    assert key not in repr(OpenAIDialect().decode(json.dumps(done)))
