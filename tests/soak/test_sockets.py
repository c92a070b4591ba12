"""The soak over real sockets runs, counts, and objects: a few seconds of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
import trio
import trio.testing

from soak.cast import DAMAGED, Ear, clip, meant, sentence
from soak.hearing import Loudspeaker
from soak.lateness import Lateness, Span, watch
from soak.line import Happened
from soak.rules import FAULT_SECONDS, RULES, Breach, Rules, excused
from soak.samples import Sample, chart, slope
from soak.tracing import FRAMES, Ring, tree
from trialogue import ConnectionLost
from trialogue.testing import quiet
from trialogue.testing.watermark import encode

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent
SHOWN = Path("/proc/self/statm").exists()


@pytest.mark.skipif(not SHOWN, reason="there is no /proc to read memory from")
def test_a_soak_of_seconds_holds_every_rule(tmp_path: Path) -> None:
    """It is not clean, for it holds too few handoffs, and its report says so."""
    command = [sys.executable, str(FOLDER / "run.py"), "--minutes", "0.1"]
    options = ["--sessions", "2", "--seed", "3", "--rate", "0", "--out", str(tmp_path)]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=100, check=False
    )
    report = json.loads((tmp_path / "soak.json").read_text())

    assert done.returncode == 1, done.stdout + done.stderr
    assert "again: nox -s soak -- --seed 3" in done.stdout
    assert report["broken"] == {}
    assert set(report["checked"]) >= {"wrong prompt", "overlap", "tasks", "closing"}
    assert [why for why in report["failures"] if "handoffs" not in why] == []
    assert ET.fromstring((tmp_path / "soak.svg").read_text()).tag.endswith("svg")


# --- what objects ------------------------------------------------------------------


def _speaker(rules: Rules) -> Loudspeaker:
    names = {"00" * 8: "Kelly-1", "11" * 8: "Sunny-2"}
    answers = {"r1": "Kelly-1", "r2": "Sunny-2", "r3": "Sunny-2"}
    return Loudspeaker(rules.check, names.get, answers.get)


def _handed(speaker: Loudspeaker, response: str, item: int, config: str) -> bytes:
    pcm = encode(config * 8, 960, item=item)
    speaker.handed_over(response, f"item_{item}", pcm)
    return pcm


async def test_sound_in_order_breaks_no_rule() -> None:
    rules = Rules()
    speaker = _speaker(rules)
    first, second = (
        _handed(speaker, "r1", 1, "00"),
        _handed(speaker, "r2", 2, "11"),
    )
    for at, chunk in enumerate((first[:700], first[700:], second)):
        speaker.record(1000 * at, chunk)

    assert rules.broken == {}
    assert (speaker.frames, speaker.began) == (8, 2)


@pytest.mark.parametrize(
    ("rule", "play"),
    [
        ("wrong prompt", lambda s: s.record(0, _handed(s, "r3", 1, "00"))),
        ("wrong prompt", lambda s: s.record(0, encode("22" * 8, 480, item=9))),
        ("overlap", lambda s: [s.record(0, _handed(s, "r1", 1, "00"))] * 2),
        ("after a cut", lambda s: s.record(0, _cut(s, _handed(s, "r1", 1, "00")))),
    ],
    ids=["another's", "nobody's", "once", "cut"],
)
async def test_a_sound_that_should_not_be_is_counted(
    rule: str, play: Callable[[Loudspeaker], object]
) -> None:
    rules = Rules()
    speaker = _speaker(rules)
    play(speaker)
    if rule == "overlap":
        speaker.record(9000, encode("00" * 8, 960, item=1))

    assert rules.broken[rule]
    assert rule in rules.examples


def _cut(speaker: Loudspeaker, pcm: bytes) -> bytes:
    speaker.cut({"item_1"})
    return pcm


def test_a_sentence_says_what_is_wanted_and_whether_it_is_whole() -> None:
    ear = Ear()
    numbers = [sentence(7, "chat"), sentence(8, "transfer", "Max")]
    sound = quiet(100) + clip(numbers[0]) + quiet(300) + clip(numbers[1])

    heard = ear.transcribe(sound + quiet(100), 0, 1500)

    assert heard == " ".join(f"sentence {number}" for number in numbers)
    assert [meant(number)[0] for number in numbers] == ["chat", "transfer"]
    assert meant(numbers[1])[1] == "Max"
    heard = ear.transcribe(sound[:20_000] + sound[20_002:], 0, 1500)
    assert heard.startswith(f"{DAMAGED}: sentence {numbers[0]},")


def test_a_fault_excuses_what_it_takes_and_no_more() -> None:
    happened = [
        Happened(0.0, "cut"),
        Happened(1.0, "stall"),
    ]
    assert excused(happened) == FAULT_SECONDS["stall"]
    assert set(RULES) >= {"stall", "record", "tasks"}


def test_memory_that_grows_has_a_slope() -> None:
    def at(minute: int) -> Sample:
        return Sample(60.0 * minute, "soak", (100 + 0.5 * minute, 9), (9, 9), 1, 0, 0)

    samples = [at(minute) for minute in range(20)]
    assert slope(samples) == pytest.approx(5.0)
    assert slope(samples[:1]) == 0.0
    assert chart(samples).count("<path") == 6
    assert chart([]).endswith("</svg>\n")


def test_handoffs_are_tested_under_other_schedules(tmp_path: Path) -> None:
    """`nox -s schedules` runs many; here are two, of one file."""
    tests = FOLDER.parent / "agents" / "test_handoff.py"
    options = ["-q", "-p", "soak.schedules", "-p", "no:cacheprovider"]
    seeds = ["--schedules", "2", "--first-schedule", "40"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *seeds, str(tests)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        cwd=FOLDER.parents[1],
        env=_with_tests_on_the_path(),
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def _with_tests_on_the_path() -> dict[str, str]:
    paths = [str(FOLDER.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


async def test_a_process_that_is_kept_busy_says_by_how_much() -> None:
    """In real time: that is what it measures."""
    told: list[Span] = []
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, told.extend)
            await trio.testing.wait_all_tasks_blocked()
            time.sleep(0.3)  # noqa: ASYNC251 - that is the point
            await trio.sleep(0.3)
            nursery.cancel_scope.cancel()
    assert sum(done - due for due, done in told) >= 0.2


def test_a_moment_in_which_both_processes_were_late_counts_once() -> None:
    late = Lateness()
    late.note("client", [(1.0, 2.0), (5.0, 6.0)])
    late.note("server", [(1.5, 3.0), (5.2, 5.4)])

    assert late.within(0.0, 10.0) == pytest.approx(3.0)
    assert late.within(2.5, 5.5) == pytest.approx(1.0)
    assert late.net(0.0, 10.0) == pytest.approx(7.0)
    assert late.net(3.0, 5.0) == pytest.approx(2.0)
    assert late.seconds == pytest.approx({"client": 2.0, "server": 1.7})


async def test_a_breach_says_what_it_takes_to_trace_it(
    capsys: pytest.CaptureFixture[str], autojump_clock: object
) -> None:
    """The last frames of the session, sound only counted, and where its tasks wait."""
    ring = Ring()
    tap = ring.tap("ses_1")
    for number in range(60):
        tap.note(3, ">", f'{{"type":"response.create","event_id":"e{number}"}}')
        tap.note(3, "<", '{"type":"response.output_audio.delta","delta":"AAAA"}')
    tap.lost(3, ConnectionLost("it broke"))
    rules = Rules()

    async def waits() -> None:
        await trio.sleep(100)

    def breach() -> Breach:
        mine = tree(lambda task: "waits" in task.name)
        lines = ring.lines()
        return Breach(session=7, agent="Max", generation=3, frames=lines, tasks=mine)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits)
        await trio.testing.wait_all_tasks_blocked()
        rules.check("stall", False, "31 s for an answer", breach)
        rules.check("stall", True, "not this one", breach)
        nursery.cancel_scope.cancel()

    (text,) = rules.examples["stall"]
    assert text in capsys.readouterr().err
    assert "session 7, agent Max, connection 3" in text
    assert text.count("response.create") == FRAMES - 1
    assert "e59" in text
    assert "e10" not in text
    assert "1 response.output_audio.delta <3" in text
    assert "AAAA" not in text
    assert "lost: it broke" in text
    assert "test_sockets.py:" in text
    assert "waits" in text
