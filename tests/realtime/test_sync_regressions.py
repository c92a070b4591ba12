"""Conversations that once went wrong, each told as the shortest plan that shows it."""

from __future__ import annotations

from typing import Any

import pytest

from syncing import Act, Edit, Pass, Plan, Run, Step, tell
from trialogue.conversation import Message
from wire import Fault


def told(*steps: Step, seed: int = 0) -> Run:
    """Tell a plan and see that no rule was broken."""
    run = tell(Plan(steps, seed))
    assert run.problems == []
    return run


def frames(run: Run, kind: str, connection: int = -1) -> list[dict[str, Any]]:
    """Return the frames of a type on a connection, either direction."""
    log = run.provider.wires[connection].log
    return [entry.event for entry in log if entry.event["type"] == kind]


@pytest.mark.behaviour("S15", "S21")
def test_a_turn_that_is_moved_before_its_words_are_known_goes_as_sound() -> None:
    """Nothing of what the user said is lost by an edit that comes before its words."""
    run = told(Act("speak"), Act("speak"), Edit("reverse"))
    created = frames(run, "conversation.item.create")
    parts = [part for e in created for part in e["item"]["content"]]
    assert [part for part in parts if part["type"] == "input_audio"]
    assert not [part for part in parts if part.get("text") == "[unintelligible]"]
    assert "turn 2." in " ".join(i.text for i in run.record if isinstance(i, Message))


@pytest.mark.behaviour("R9", "U3")
@pytest.mark.parametrize("pause", [0.02, 0.03, 0.1])
def test_speech_cut_while_a_fresh_server_is_told_of_it_is_told_anew(
    pause: float,
) -> None:
    """The words go over in full, since they play on; cut meanwhile, they are fewer."""
    run = told(Act("ask"), Pass(0.5), Act("renew"), Pass(pause), Act("interrupt"))
    held = run.provider.last.machine.conversation
    (words,) = (h.text for h in held if h.item.role == "assistant")
    assert words.startswith("Reply")
    assert words != "Reply 0.0 in a few words."


@pytest.mark.behaviour("R9")
def test_a_program_that_cuts_more_than_was_heard_has_its_way() -> None:
    """The record says of a reply what the server still has of it."""
    run = told(
        Act("ask"), Pass(0.7), Act("interrupt"), Pass(1.0), Edit("truncate", to=0)
    )
    (reply,) = run.record
    assert isinstance(reply, Message)
    assert reply.heard_ms == 100


@pytest.mark.behaviour("U3", "R9")
def test_speech_that_an_edit_made_text_is_cut_as_text() -> None:
    """What no server can truncate any more is told anew, with the words heard."""
    run = told(
        Act("write"), Act("speak"), Edit("reverse"), Pass(0.03), Act("interrupt")
    )
    reply = next(i for i in run.record if isinstance(i, Message) and i.heard_ms)
    created = frames(run, "conversation.item.create")
    assert sum(e["item"]["id"] == reply.id for e in created) == 2


@pytest.mark.behaviour("U3", "S22")
@pytest.mark.parametrize("pause", [0.2, 0.5])
def test_speech_is_cut_though_its_item_was_not_announced_yet(pause: float) -> None:
    """Its sound came from the server, so the server has it."""
    late = Fault("late", "conversation.item")
    run = told(late, Act("ask"), Pass(pause), Act("interrupt"))
    assert frames(run, "conversation.item.truncate")


@pytest.mark.behaviour("S22")
def test_a_turn_whose_commit_is_told_after_its_answer_is_answered_once() -> None:
    """An answer that has begun is not waited for."""
    run = told(Fault("late", "input_audio_buffer.committed"), Act("speak"), Pass(10.0))
    assert len(frames(run, "response.created")) == 1


@pytest.mark.behaviour("S22", "C2")
def test_a_turn_that_an_edit_put_behind_its_answer_is_not_answered_again() -> None:
    """Also not on a fresh connection, which finds it as the last item."""
    told(Act("speak"), Act("renew"), Edit("move", at=0, to=0))
