"""What a session should be like: what is sent, what needs a fresh connection."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialogue.dialects.commands import UpdateSession
from trialogue.dialects.events import Configured
from trialogue.dialects.options import UNCHANGED, SemanticVAD, SessionOptions
from trialogue.dialects.options import given as fields_of
from trialogue.errors import ServerError
from trialogue.realtime.configuration import (
    Configuration,
    is_empty,
    must_replace,
    update_for,
)
from trialogue.realtime.openai import OpenAIRealtime
from trialogue.tools.spec import ToolSpec

TOOL = ToolSpec("look", "Looks.", {"type": "object", "properties": {}})
OTHER = attrs.evolve(TOOL, name="listen")


def model(**flags: bool) -> OpenAIRealtime:
    return OpenAIRealtime(api_key="key", capabilities=flags)


def config(**changes: Any) -> Configuration:
    fields: dict[str, Any] = {
        "model": model(),
        "instructions": "Be brief.",
        "tools": (TOOL,),
    }
    return Configuration(**(fields | changes))


def why(
    wanted: Configuration,
    held: Configuration,
    *,
    edits_context: bool = False,
    assistant_audio: bool = False,
) -> str | None:
    return must_replace(
        wanted, held, edits_context=edits_context, assistant_audio=assistant_audio
    )


# --- what is sent ---------------------------------------------------------------------


def test_to_a_server_that_nothing_is_known_of_everything_is_sent() -> None:
    options = SessionOptions(voice="marin", input_format="pcmu")
    update = update_for(config(options=options), None)
    assert update == UpdateSession("Be brief.", (TOOL,), options)
    again = update_for(config(options=options), None, first=False)
    assert again.options == SessionOptions(voice="marin"), "formats are said once"


@pytest.mark.behaviour("H16")
def test_only_what_differs_is_sent() -> None:
    held = config(options=SessionOptions(voice="marin", speed=1.0))
    wanted = config(
        instructions="Be kind.", options=SessionOptions(voice="marin", speed=1.2)
    )
    assert update_for(wanted, held) == UpdateSession(
        "Be kind.", UNCHANGED, SessionOptions(speed=1.2)
    )
    assert update_for(config(tools=()), config()) == UpdateSession(UNCHANGED, ())


@pytest.mark.behaviour("H16")
def test_audio_formats_are_never_sent_again() -> None:
    held = config(options=SessionOptions(input_format="pcm16"))
    wanted = config(
        options=SessionOptions(input_format="pcmu", output_format="pcma", speed=1.1)
    )
    assert update_for(wanted, held).options == SessionOptions(speed=1.1)


def test_what_is_the_same_needs_no_update() -> None:
    formats = SessionOptions(output_format="pcma")
    assert is_empty(update_for(config(options=formats), config()))
    assert not is_empty(update_for(config(tools=()), config()))
    assert not is_empty(update_for(config(instructions=""), config()))
    manual = config(options=SessionOptions(turn_detection=None))
    assert not is_empty(update_for(manual, config()))


options = st.builds(
    SessionOptions,
    voice=st.sampled_from([UNCHANGED, "marin", "cedar"]),
    speed=st.sampled_from([UNCHANGED, 1.0, 1.2]),
    turn_detection=st.sampled_from([UNCHANGED, None, SemanticVAD()]),
    input_format=st.sampled_from([UNCHANGED, "pcm16", "pcmu"]),
)
configurations = st.builds(
    lambda words, tools, opts: config(instructions=words, tools=tools, options=opts),
    st.sampled_from(["", "Be brief.", "Be kind."]),
    st.sampled_from([(), (TOOL,), (TOOL, OTHER)]),
    options,
)


@given(configurations, configurations)
def test_an_update_brings_the_server_to_what_is_wanted(
    wanted: Configuration, held: Configuration
) -> None:
    """Applied to what the server holds, and nothing in it changes nothing."""
    update = update_for(wanted, held)
    words, tools = update.instructions, update.tools
    assert (held.instructions if words is UNCHANGED else words) == wanted.instructions
    assert (held.tools if tools is UNCHANGED else tools) == wanted.tools
    assert words != held.instructions
    assert tools != held.tools
    after = fields_of(held.options.merged(update.options))
    formats = {"input_format", "output_format"}
    for name, value in fields_of(wanted.options).items():
        assert name in formats or after[name] == value
    assert not formats & fields_of(update.options).keys()
    before = fields_of(held.options)
    assert all(
        before.get(n, UNCHANGED) != v for n, v in fields_of(update.options).items()
    )


# --- what needs a fresh connection ----------------------------------------------------


@pytest.mark.behaviour("H2")
def test_models_that_are_equal_by_value_share_a_connection() -> None:
    assert why(config(model=model()), config(model=model())) is None
    other = OpenAIRealtime("another", api_key="key")
    assert why(config(model=other), config()) == "another model"


@pytest.mark.behaviour("H2")
@pytest.mark.parametrize(
    ("flag", "changes", "reason"),
    [
        (
            "mutable_instructions",
            {"instructions": "Be kind."},
            "instructions are fixed",
        ),
        ("mutable_tools", {"tools": (OTHER,)}, "tools are fixed"),
        (
            "mutable_options",
            {"options": SessionOptions(speed=1.2)},
            "options are fixed",
        ),
    ],
)
def test_what_is_fixed_and_differs_takes_a_fresh_connection(
    flag: str, changes: dict[str, Any], reason: str
) -> None:
    """And what is fixed but the same, or differs but can be changed, does not."""
    fixed = model(**{flag: False})
    assert why(config(model=fixed, **changes), config(model=fixed)) == reason
    assert why(config(model=fixed), config(model=fixed)) is None
    assert why(config(**changes), config()) is None
    everything_else = {
        name: False
        for name in ("mutable_instructions", "mutable_tools", "mutable_options")
        if name != flag
    }
    others_fixed = model(**everything_else)
    differs = config(model=others_fixed, **changes)
    assert why(differs, config(model=others_fixed)) is None


@pytest.mark.behaviour("H2")
def test_fixed_conversation_takes_a_fresh_connection_only_if_it_is_edited() -> None:
    fixed = config(model=model(mutable_chat_context=False))
    assert why(fixed, fixed, edits_context=True) == "the conversation is fixed"
    assert why(fixed, fixed) is None
    assert why(config(), config(), edits_context=True) is None


@pytest.mark.behaviour("H2")
def test_voice_is_fixed_once_it_was_heard() -> None:
    held = config(options=SessionOptions(voice="marin"))
    other = config(options=SessionOptions(voice="cedar"))
    assert why(other, held) is None
    assert why(other, held, assistant_audio=True) == "the voice was heard"
    assert why(held, held, assistant_audio=True) is None
    silent = config(instructions="Be kind.", options=SessionOptions(voice="marin"))
    assert why(silent, held, assistant_audio=True) is None


def test_formats_that_differ_are_no_reason_by_themselves() -> None:
    fixed = model(mutable_options=False)
    wanted = config(model=fixed, options=SessionOptions(output_format="pcma"))
    assert why(wanted, config(model=fixed)) is None


# --- the server's echo ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("echo", "agrees"),
    [
        (Configured(), True),
        (Configured("Be brief.\nBe kind."), True),
        (Configured("\n Be brief.\r\nBe kind.\n"), True),
        (Configured("Be brief.\rBe kind."), True),
        (Configured("Be brief. Be kind."), False),
        (Configured(""), False),
        (Configured(tool_names=("listen", "look")), True),
        (Configured(tool_names=("look", "listen")), True),
        (Configured(tool_names=("look",)), False),
        (Configured("Be brief.\nBe kind.", ()), False),
    ],
)
def test_echo_is_compared_as_far_as_the_server_echoes(
    echo: Configured, agrees: bool
) -> None:
    """Line ends and outer white space may be normalised on either side."""
    asked = config(instructions="Be brief.\nBe kind.", tools=(TOOL, OTHER))
    assert asked.matches(echo) is agrees
    dos = config(instructions="Be brief.\r\nBe kind.\r\n", tools=(TOOL, OTHER))
    assert dos.matches(echo) is agrees


# --- verdicts -------------------------------------------------------------------------


async def test_only_the_first_verdict_counts() -> None:
    accepted, failed = config(), config()
    accepted.accept()
    accepted.fail(ServerError("too late"))
    failed.fail(ServerError("no"))
    failed.accept()
    assert (accepted.accepted, accepted.void, accepted.error) == (True, False, None)
    assert (failed.accepted, failed.void, str(failed.error)) == (False, True, "no")
    assert failed.acknowledged_at is None


async def test_edit_belongs_to_its_owners_epoch_and_waits_for_its_own_verdict() -> None:
    held = config(owner="somebody", deadline=5.0, refusals=1, carried=True)
    held.accept()
    edit = held.edited(instructions="Be kind.")
    assert edit.epoch is held.epoch
    assert (edit.owner, edit.tools) == ("somebody", (TOOL,))
    assert (edit.amends, edit.carried, edit.refusals) == (True, False, 0)
    assert not edit.verdict.is_set()
    assert edit.acknowledged_at is None
    edit.fail(ServerError("no"))
    assert not edit.void, "refusing an edit takes back only the edit"
    assert held.accepted
    assert config().epoch is not config().epoch


def test_an_option_that_the_next_agent_does_not_set_goes_back_to_its_default() -> None:
    """A tool choice forced by one agent does not bind the next."""
    forced = config(options=SessionOptions(tool_choice="required", speed=1.2))
    update = update_for(config(), forced)
    assert fields_of(update.options) == {"tool_choice": "auto", "speed": 1.0}


def test_an_option_without_a_known_default_needs_a_fresh_connection() -> None:
    """Nobody can tell which reasoning effort a server would have chosen."""
    held = config(options=SessionOptions(reasoning_effort="high"))
    reason = must_replace(config(), held, edits_context=False, assistant_audio=False)
    assert reason == "an option cannot be taken back"
