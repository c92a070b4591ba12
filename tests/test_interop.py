"""What `nox -s interop` would see, without the programs of other projects.

Our client holds the conversation with our server, over TCP; and the log of it is then
taken apart, to see that whatever is missing there is noticed.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import trio

from interop import run
from interop.aimock import talk
from interop.cast import ANSWER, GREETING, LOOK_UP, REFUNDS, TRANSFER
from interop.modes import MODES, REFERENCE, median, ours, table
from interop.processes import NotAsExpected, serving
from interop.script import make_brain
from interop.seen import Frame, errors, problems
from stage import until
from trialogue.testing import Utterances, open_realtime_server

if TYPE_CHECKING:
    from pathlib import Path


async def test_our_client_holds_the_conversation_and_all_of_it_is_seen() -> None:
    async with open_realtime_server(make_brain(Utterances()), port=0) as server:
        await talk(server.url)
        [connection] = server.connections
        log = [Frame.of(line) for line in connection.report()]

    assert problems(log, modality="text") == []
    assert problems(log, modality="audio") == [
        "missing on the wire: the caller's voice",
        "missing on the wire: a story",
        "missing on the wire: its interruption",
        "missing on the wire: how much of it was heard",
        "missing on the wire: its truncation",
        "missing on the wire: the second agent's voice",
    ]


def frame(kind: str, *, incoming: bool = False, **fields: Any) -> Frame:
    return Frame(0, incoming, {"type": kind, **fields})


def update(instructions: str) -> Frame:
    session = {"type": "realtime", "instructions": instructions}
    return frame("session.update", incoming=True, session=session)


def call(name: str) -> Frame:
    item = {"type": "function_call", "name": name}
    return frame("response.output_item.done", item=item)


def output(text: str) -> Frame:
    item = {"type": "function_call_output", "output": text}
    return frame("conversation.item.create", incoming=True, item=item)


def said(words: str) -> Frame:
    return frame("response.output_text.done", text=words)


WHOLE = [
    update("You are the front desk of a shop."),
    call(LOOK_UP),
    output("It was shipped on Monday"),
    said(ANSWER),
    call(TRANSFER),
    update(REFUNDS),
    said(GREETING),
]


def test_a_whole_conversation_lacks_nothing() -> None:
    assert problems(WHOLE, modality="text") == []


@pytest.mark.parametrize("left_out", range(len(WHOLE)))
def test_each_step_that_is_missing_is_named(left_out: int) -> None:
    log = WHOLE[:left_out] + WHOLE[left_out + 1 :]
    [problem] = problems(log, modality="text")
    assert problem.startswith("missing on the wire: ")


SPOKEN = [
    WHOLE[0],
    frame("input_audio_buffer.committed"),
    frame("response.output_audio.delta"),
    frame("response.done", response={"status": "cancelled"}),
    frame("conversation.item.truncate", incoming=True),
    frame("conversation.item.truncated"),
    *WHOLE[1:-1],
    frame("response.output_audio.delta"),
    WHOLE[-1],
]


def test_in_speech_the_caller_has_to_be_heard_and_to_interrupt() -> None:
    assert problems(SPOKEN, modality="audio") == []
    whole = frame("response.done", response={"status": "completed"})
    assert problems([*SPOKEN[:3], whole, *SPOKEN[4:]], modality="audio") == [
        "missing on the wire: its interruption"
    ]


def test_words_of_the_second_agent_before_its_instructions_do_not_count() -> None:
    log = [*WHOLE[:5], WHOLE[6], WHOLE[5]]
    assert problems(log, modality="text") == [
        f"missing on the wire: the words {GREETING!r}"
    ]


def mirrored(seen: Frame) -> Frame:
    return Frame(seen.connection, not seen.incoming, seen.event)


@pytest.mark.parametrize("number", [0, 2, 5])
def test_what_the_server_says_is_not_what_the_client_said(number: int) -> None:
    log = list(WHOLE)
    log[number] = mirrored(log[number])
    assert len(problems(log, modality="text")) == 1


def test_an_error_that_was_answered_is_a_problem_unless_it_is_forgiven() -> None:
    error = {"type": "invalid_request_error", "code": "no_such_thing", "message": "No."}
    log = [*WHOLE, frame("error", error=error)]

    assert errors(log) == [("no_such_thing", "No.")]
    assert problems(log, modality="text") == [
        "the server answered an error: no_such_thing: No."
    ]
    assert problems(log, modality="text", forgiven={"no_such_thing"}) == []


@pytest.mark.parametrize(
    ("does", "why"),
    [
        ("sys.exit(3)", "the exit status"),
        ("", "missing on the wire: the first agent's instructions"),
    ],
    ids=["fails", "only says that it was there"],
)
def test_a_client_that_fails_or_did_nothing_makes_the_run_fail(
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    does: str,
    why: str,
) -> None:
    """A process of its own, against the server in another."""
    program = tmp_path / "client.py"
    program.write_text(f"import sys\n{does}\n")
    monkeypatch.setitem(run.CLIENTS, "openai", run.Client(str(program), ("text",)))
    assert run.main(["openai"]) == 1
    assert why in capfd.readouterr().out


CHATTY = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("listening on http://here", flush=True)
sys.stdout.write("." * 2**20)
sys.stdout.flush()
pathlib.Path(sys.argv[1]).touch()
while True:
    time.sleep(0.01)
"""


async def test_a_server_may_print_as_much_as_it_likes(tmp_path: Path) -> None:
    """More than a pipe holds, and it goes on."""
    program, went_on = tmp_path / "server.py", tmp_path / "went_on"
    program.write_text(CHATTY)
    with trio.fail_after(20):
        async with serving([sys.executable, str(program), str(went_on)]) as url:
            assert url == "http://here"
            await until(went_on.exists)


async def test_a_server_that_ends_before_it_serves_is_told_of(tmp_path: Path) -> None:
    program = tmp_path / "server.py"
    program.write_text("print('no port is free')")
    with pytest.raises(NotAsExpected, match="did not come up; it said: no port"):
        async with serving([sys.executable, str(program)]):
            pytest.fail("unreachable")


@pytest.mark.parametrize("mode", MODES, ids=str)
async def test_our_handoff_is_measured_in_each_mode(mode: Any) -> None:
    async with open_realtime_server(make_brain(Utterances()), port=0) as server:
        handoff, reply = await ours(server.url, mode)

    assert 0 <= handoff <= reply


def test_the_table_has_a_line_for_each_mode_and_the_medians() -> None:
    seen = {mode: median([(0.1, 0.3), (0.2, 9.0), (5.0, 0.4)]) for mode in MODES}
    head, *lines = table({"reference": REFERENCE, "seen": seen}).splitlines()

    assert head.split() == ["mode", "reference", "seen"]
    assert [line[:11].strip() for line in lines] == list(map(str, MODES))
    assert lines[0].split()[2:] == ["0.000/0.105", "0.200/0.400"]
