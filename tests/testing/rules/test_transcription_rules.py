"""The local server keeps the rules of transcription (protocol §16.38-41)."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from by_hand import PLAIN, Event, Talk, refusal, types
from trialogue.testing.machine import Pace
from trialogue.testing.script import Say
from trialogue.testing.speech import Utterances, quiet

NAME = "conversation.item.input_audio_transcription."
LOGPROBS = "item.input_audio_transcription.logprobs"


def heard(events: list[Event]) -> list[Event]:
    """Return the events of transcription."""
    return [event for event in events if event["type"].startswith(NAME)]


def ends(events: list[Event]) -> list[Event]:
    """Return the events that end the transcription of a turn."""
    return [event for event in heard(events) if not event["type"].endswith(".delta")]


def wanting(
    model: str = "gpt-4o-transcribe", **options: Any
) -> tuple[Talk, Utterances]:
    """A connection whose user is to be transcribed."""
    said = Utterances()
    settings = attrs.evolve(PLAIN, **options)
    talk = Talk(lambda turn: Say("Hm.", ms=100), transcriber=said, settings=settings)
    talk.update(audio={"input": {"transcription": {"model": model}}})
    return talk, said


def test_rule_38_only_what_is_configured_at_the_commit_is_transcribed() -> None:
    """Only if configured at commit time."""
    talk, said = wanting()
    for transcription in (None, {"model": "gpt-4o-transcribe"}, None):
        talk.update(audio={"input": {"transcription": transcription}})
        talk.append(said.say(f"with {transcription}") + quiet(300))
        # Too late for the turn that was just committed, either way.
        talk.update(audio={"input": {"transcription": None}})
        talk.run()
    [completed] = ends(talk.seen)
    assert completed["item_id"] == talk.order()[2]
    assert completed["transcript"].startswith("with {'model'")


@pytest.mark.parametrize("delay", [150, 4000])
def test_rule_38_a_transcript_comes_after_the_scripted_delay(delay: int) -> None:
    """Asynchronous, scripted delay; exactly one `completed` per item."""
    talk, said = wanting(pace=Pace(transcript_ms=(delay,)))
    events = talk.append(said.say("good morning") + quiet(200))
    assert heard(events) == []
    assert types(events)[-1] == "response.created"
    assert heard(talk.run(delay / 1000 - 0.021)) == []
    talk.run()
    [completed] = ends(talk.seen)
    deltas = [e["delta"] for e in heard(talk.seen) if e["type"].endswith(".delta")]
    assert completed["transcript"] == "".join(deltas) == "good morning"
    assert (len(deltas), completed["content_index"]) == (2, 0)
    assert {e["item_id"] for e in heard(talk.seen)} == {talk.order()[0]}


def test_rule_38_a_transcription_that_fails_says_so_once() -> None:
    """Exactly one `completed` or `failed` per item."""
    talk, said = wanting(unintelligible=lambda text: "mumble" in text)
    line = said.say("mumble mumble") + quiet(300) + said.say("clear") + quiet(300)
    talk.append(line)
    talk.run()
    failed, completed = ends(talk.seen)
    mumbled, _, clear, *_ = talk.order()
    assert (failed["type"], failed["item_id"]) == (f"{NAME}failed", mumbled)
    assert failed["content_index"] == 0
    assert failed["error"] == {
        "type": "transcription_error",
        "code": "audio_unintelligible",
        "message": "The audio could not be transcribed.",
        "param": None,
    }
    assert not any("mumble" in str(event) for event in heard(talk.seen))
    assert (completed["type"], completed["item_id"]) == (f"{NAME}completed", clear)
    [event] = talk.say("conversation.item.retrieve", item_id=mumbled)
    assert event["item"]["content"][0]["transcript"] is None


def test_rule_38_nothing_said_is_completed_too() -> None:
    """A turn of which nothing is known has an empty transcript, and no deltas."""
    talk, _ = wanting()
    talk.append(quiet(200))
    talk.say("input_audio_buffer.commit")
    talk.run()
    [only] = heard(talk.seen)
    assert (only["type"], only["transcript"]) == (f"{NAME}completed", "")


@pytest.mark.parametrize("include", [None, [LOGPROBS]])
def test_rule_39_completed_has_usage_and_logprobs_only_if_included(
    include: list[str] | None,
) -> None:
    """`completed` has `usage`; logprobs only if included."""
    talk, said = wanting()
    talk.update(include=include)
    talk.append(said.say("grüß dich now", 800) + quiet(200))
    talk.run()
    *deltas, completed = heard(talk.seen)
    usage = completed["usage"]
    assert usage["type"] == "tokens"
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["input_token_details"]["audio_tokens"] == 10  # of a second
    assert usage["output_tokens"] > 0
    if include is None:
        assert not any("logprobs" in event for event in (*deltas, completed))
        return
    for event in (*deltas, completed):
        tokens = event["logprobs"]
        text = event.get("delta") or event["transcript"]
        assert "".join(token["token"] for token in tokens) == text
        assert bytes(b for token in tokens for b in token["bytes"]) == text.encode()
        assert all(token["logprob"] <= 0 for token in tokens)


def test_rule_39_whisper_tells_all_at_once_and_is_paid_by_the_second() -> None:
    """whisper-1 sends one delta with the whole text; its usage is a duration."""
    talk, said = wanting("whisper-1")
    talk.append(said.say("all at once", 800) + quiet(200))
    talk.run()
    delta, completed = heard(talk.seen)
    assert delta["delta"] == completed["transcript"] == "all at once"
    assert completed["usage"] == {"type": "duration", "seconds": 1.0}


def test_rule_40_transcripts_come_after_the_response_and_in_any_order() -> None:
    """Must be able to deliver after `response.done`, and turn 2 before turn 1."""
    talk, said = wanting(pace=Pace(transcript_ms=(15_000, 10, 4000)))
    for text in ("one", "two", "three"):
        talk.append(said.say(text) + quiet(300))
        talk.run(1.5)
    talk.run()
    kinds = [
        event.get("transcript") or event["type"]
        for event in talk.seen
        if event["type"] in ("response.done", f"{NAME}completed")
    ]
    done = "response.done"
    assert kinds == [done, "two", done, done, "three", "one"]
    items = [event["item_id"] for event in ends(talk.seen)]
    assert items == [talk.order()[n] for n in (2, 4, 0)]


def test_rule_41_the_transcript_is_stored_on_the_item() -> None:
    """Transcript is stored on the item (visible in `retrieved`)."""
    talk, said = wanting(pace=Pace(transcript_ms=(2000,)))
    talk.append(said.say("remember me") + quiet(300))
    item_id = talk.order()[0]

    def stored() -> Any:
        [event] = talk.say("conversation.item.retrieve", item_id=item_id)
        return event["item"]["content"][0]["transcript"]

    talk.run(1)
    assert stored() is None
    talk.run()
    assert stored() == "remember me"
    talk.say("conversation.item.delete", item_id=item_id)
    gone = refusal(talk.say("conversation.item.retrieve", item_id=item_id))
    assert gone["code"] == "item_retrieve_invalid_item_id"
