"""Conversations that a search once found to go wrong: the shortest plan of each.

`tell` judges them by all of its rules; the name says what broke.
"""

from __future__ import annotations

import pytest

from syncing import Act, Edit, Pass, Plan, tell
from wire import Fault

FOUND: dict[str, Plan] = {
    "an edit that is refused on a fresh server leaves what that was given": Plan(
        (
            Edit("clear"),
            Fault("cut_after", "conversation.item"),
            Pass(0.03),
            Edit("replace", at=5, patience=30.0),
            Fault("quote", "conversation.item.delete"),
            Act("speak"),
        )
    ),
    "a deletion that was refused without being named is not a success": Plan(
        (
            Edit("clear", stale=True, patience=0.05),
            Fault("mute", "conversation.item.delete"),
            Edit("replace"),
            Act("write"),
            Pass(0.2),
        )
    ),
    "a reply that only the conversation told of is lost with its connection": Plan(
        (
            Act("speak"),
            Act("ask"),
            Pass(0.7),
            Fault("cut_after", "response.done"),
            Act("speak"),
        ),
        seed=45339,
    ),
    "a call that only the conversation told of is run by nobody": Plan(
        (
            Act("write"),
            Edit("truncate", at=4, to=4, patience=0.05),
            Act("ask"),
            Act("speak"),
            Edit("truncate", at=2, to=7, patience=30.0),
            Act("ask"),
            Pass(0.2),
            Act("renew"),
            Act("reword"),
        ),
        seed=53807,
    ),
    "a deletion that was refused twice is undone": Plan(
        (
            Fault("reject", "conversation.item.delete"),
            Fault("quote", "conversation.item.delete"),
            Fault("swallow", "error"),
            Act("speak"),
            Act("ask"),
            Edit("remove", at=2),
            Act("ask"),
            Pass(2.0),
            Edit("remove", at=4),
        )
    ),
    "a deletion told late does not delete what took its place": Plan(
        (
            Edit("clear"),
            Act("speak"),
            Edit("reverse"),
            Fault("late", "conversation.item.deleted"),
            Pass(0.2),
            Edit("insert", at=5, to=5, patience=0.05),
        )
    ),
    "an error that named nothing was blamed on an update that was taken": Plan(
        (
            Fault("mute", "conversation.item.delete"),
            Act("ask"),
            Pass(0.2),
            Edit("clear"),
            Act("reword"),
            Pass(10.0),
        )
    ),
    "an answer to the user serves the outputs that a reply was owed for": Plan(
        (
            Act("ask"),
            Act("speak"),
            Fault("mute", "response.create"),
            Act("speak"),
            Act("speak"),
        )
    ),
    "what was deleted while it was looked for is not made again": Plan(
        (
            Pass(2.0),
            Act("renew"),
            Pass(0.7),
            Fault("lose", "conversation.item.create"),
            Edit("clear", at=7, patience=0.05),
            Edit("insert", at=3, to=4, patience=30.0),
            Pass(0.2),
            Act("save"),
            Act("ask"),
            Edit("clear", at=6, to=4, stale=True, patience=0.05),
            Act("ask"),
            Pass(2.0),
            Edit("replace", at=4, to=7, patience=30.0),
        ),
        seed=11596,
    ),
    "what an answer passed over is not reported before it was looked for": Plan(
        (
            Fault("lose", "conversation.item.create"),
            Edit("insert", at=5, to=7),
            Pass(0.7),
            Act("write"),
        )
    ),
    "a move of which neither half was answered is made again": Plan(
        (
            Edit("clear"),
            Fault("swallow", "error"),
            Act("speak"),
            Fault("lose", "conversation.item.delete"),
            Edit("move", to=2),
            Act("interrupt"),
            Pass(2.0),
        )
    ),
    "speech that the program cut is not heard beyond that": Plan(
        (Act("ask"), Pass(0.7), Edit("truncate", at=6, to=1), Act("speak")),
        seed=49279,
    ),
    "of two truncations the one that was lost is asked for again": Plan(
        (
            Act("ask"),
            Pass(0.7),
            Fault("lose", "conversation.item.truncate"),
            Act("interrupt"),
            Edit("truncate", to=2),
            Act("write"),
        )
    ),
    "a truncation that is refused may be taken the second time": Plan(
        (
            Fault("quote", "conversation.item.truncate"),
            Act("speak"),
            Act("interrupt"),
            Pass(10.0),
        )
    ),
    "an announcement told twice counts once": Plan(
        (
            Fault("cut_after", "conversation.item.delete"),
            Act("speak"),
            Edit("remove", at=7, to=7, patience=30.0),
            Act("speak"),
            Act("speak"),
            Fault("twice", "conversation.item.added"),
            Edit("remove", at=5, to=4),
            Edit("reverse", to=1),
            Act("write"),
            Act("speak"),
        )
    ),
    "a reply without a word cannot be moved": Plan(
        (
            Edit("clear", at=4, patience=30.0),
            Edit("replace", at=7, to=5, patience=30.0),
            Act("write"),
            Fault("cut", "error"),
            Edit("insert", to=4),
            Fault("cut", "input_audio_buffer.speech_started"),
            Act("reword"),
            Pass(10.0),
            Act("ask"),
            Act("speak"),
            Edit("reverse", at=6, to=2, patience=30.0),
        ),
        seed=26845,
    ),
    "a reply in the making is moved with the words that are known": Plan(
        (
            Act("ask"),
            Act("ask"),
            Fault("cut_after", "conversation.item.done"),
            Pass(0.7),
            Act("write"),
            Edit("move", at=3, to=2, patience=0.05),
            Edit("reverse", at=6, to=6, patience=30.0),
        )
    ),
    "an output that is refused while it is on its way again is on its way": Plan(
        (
            *[Act("speak")] * 10,
            Act("renew"),
            Act("speak"),
            Act("speak"),
            Edit("move", at=7, patience=0.05),
            Edit("reverse", at=7, to=5, stale=True, patience=30.0),
            Act("write"),
            Fault("reject", "conversation.item.create"),
            Act("reword"),
            Edit("reverse", at=5, to=2, patience=0.05),
            Pass(2.0),
        ),
        seed=29,
    ),
    "a creation that a later deletion did not find was lost": Plan(
        (
            Act("ask"),
            Pass(0.7),
            Edit("insert", at=1, to=7, patience=30.0),
            Fault("lose", "conversation.item.create"),
            Edit("move", at=6, to=5),
            Act("speak"),
        )
    ),
    "an item made again and only called final is there": Plan(
        (
            Act("ask"),
            Act("ask"),
            Pass(2.0),
            Edit("insert", to=1),
            Act("renew"),
            Act("ask"),
            Pass(0.2),
            Fault("swallow", "conversation.item.added"),
            Edit("move", at=4, to=2, patience=30.0),
            Pass(2.0),
        )
    ),
    "what was never called final is so when its response ends": Plan(
        (
            Fault("swallow", "conversation.item.done"),
            Fault("swallow", "response.output_item.done"),
            Act("ask"),
            Pass(10.0),
            Fault("cut", "conversation.item.create"),
            Edit("clear", at=2, to=7, stale=True, patience=0.05),
            Pass(2.0),
        )
    ),
    "a truncation in doubt is asked for again": Plan(
        (
            Fault("mute", "conversation.item.truncate"),
            Edit("clear", to=2),
            Act("speak"),
            Act("interrupt"),
            Edit("replace", at=3, to=2, patience=0.05),
            Act("speak"),
        ),
        seed=16250,
    ),
    "of an item on its way twice the first to be called final is not the last": Plan(
        (
            Edit("clear", to=7, stale=True, patience=30.0),
            Pass(0.7),
            Act("write"),
            Act("write"),
            Fault("swallow", "conversation.item.added"),
            Edit("reverse", at=2, to=5),
            Pass(2.0),
        )
    ),
    "an old turn that an edit put last is not answered on a fresh connection": Plan(
        (
            Act("speak"),
            Act("speak"),
            Edit("reverse", at=2, to=5, patience=0.05),
            Act("renew"),
        )
    ),
    "a reply that an edit wrote over keeps to the edit": Plan(
        (Act("ask"), Pass(0.2), Edit("replace", at=7, to=4))
    ),
    "an output without its call stays away": Plan(
        (
            Act("speak"),
            Act("ask"),
            Pass(2.0),
            Fault("swallow", "response.done"),
            Act("speak"),
            Edit("clear", at=1, to=7, patience=30.0),
        )
    ),
    "an output that is refused without its call is dropped": Plan(
        (
            Act("speak"),
            Act("speak"),
            Act("ask"),
            Pass(2.0),
            Edit("move", at=4, to=7, patience=0.05),
            Edit("remove", at=6, to=2, patience=30.0),
            Fault("quote", "conversation.item.create"),
            Pass(2.0),
        ),
        seed=63384,
    ),
    "an item that was never announced joins at the end of its response": Plan(
        (
            Fault("swallow", "conversation.item"),
            Act("ask"),
            Pass(10.0),
            Edit("clear", at=2, to=6),
            Act("ask"),
            Act("ask"),
        )
    ),
    "a deletion that was lost is not believed because of its replacement": Plan(
        (
            Act("speak"),
            Edit("remove", at=4, to=6, patience=0.05),
            Edit("insert", at=5, to=3, stale=True),
            Edit("replace", patience=30.0),
            Fault("lose", "conversation.item.delete"),
            Pass(0.7),
        )
    ),
    "a turn whose commit is told after the next turn is answered once": Plan(
        (
            Fault("late", "input_audio_buffer.committed"),
            Act("speak"),
            Act("speak"),
        )
    ),
    "a reply that an edit wrote over while it was made is whole": Plan(
        (Act("ask"), Pass(0.2), Edit("replace"), Act("renew"))
    ),
    "what a server would not tell is asked once more": Plan(
        (
            Fault("lose", "conversation.item.create"),
            Fault("reject", "conversation.item.retrieve"),
            Act("write"),
            Pass(0.2),
            Act("write"),
            Pass(0.7),
        )
    ),
    "what a server will not tell is owed no longer": Plan(
        (
            Fault("swallow", "conversation.item"),
            Fault("reject", "conversation.item.retrieve"),
            Fault("reject", "conversation.item.retrieve"),
            Act("write"),
            Pass(0.2),
            Act("write"),
            Pass(0.7),
        )
    ),
}


@pytest.mark.behaviour("S11", "S14", "S16", "S22")
@pytest.mark.parametrize("plan", FOUND.values(), ids=FOUND)
def test_once_it_is_quiet_the_record_is_what_the_server_holds(plan: Plan) -> None:
    """And nothing is owed, nothing took effect twice, and every report was true."""
    assert tell(plan).problems == []
