"""What `nox -s bench-peers` would do, without the peers, and where its table stands.

What it measures is claimed by nobody.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - the neutral server runs on it
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.load import UPGRADE, frame, frames_of
from peers.cast import MODES
from peers.contestants import CONTESTANTS, ENVIRONMENTS
from peers.frames import TEXT, Line, accepted, framed, unframed
from peers.neutral import merged
from peers.processes import Failed, measured
from peers.run import PAGES, ROWS, Work, main
from peers.samples import Samples, Spread, round_trips
from peers.table import BEGIN, END, replaced, written

LITTLE = Work(((20, 20), (100, 20)), 40, times=1, sessions=2, seconds=0.2, settle=0.2)

linux = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="memory is read from /proc"
)


# --- everything, by us ----------------------------------------------------------------


@linux
@pytest.mark.parametrize("row", ROWS)
def test_trialogue_does_each_row(row: str) -> None:
    """In a process of its own, with the server in another: as it is measured."""
    seen = ROWS[row](LITTLE, sys.executable, "trialogue_client.py")

    match row:
        case "handoff":
            assert all(seen["trips"][mode][0] >= 1 for mode in MODES)
            assert all(seen["trips"][mode][0] >= 4 for mode in MODES[2:])
            assert seen["right"] == [True] * len(MODES)
        case "refused":
            assert seen["outcome"] == [[True, True]]
        case "sound":
            assert len(seen["costs"]) == 2
            assert min(*seen["costs"], seen["appends"]) > 0
        case "crowd":
            assert seen["pieces"] > 0
            assert seen["p50"] <= seen["p99"]
            assert seen["alone"] > 10_000_000


@linux
def test_what_fails_is_told_with_its_reason() -> None:
    """Arguments that no program takes."""
    with pytest.raises(Failed, match=r"trialogue_client.py.*no_such_row"):
        measured(sys.executable, "trialogue_client.py", "no_such_row", {})


def test_a_program_that_handed_over_more_often_than_was_seen_fails() -> None:
    own = {"done": [MODES[0]], "heard": [True]}
    with pytest.raises(ValueError, match="1 handoffs, and 0 seen"):
        round_trips(own, {"handoffs": [{"seconds": 1.0}]}, 0.025)


# --- the server -----------------------------------------------------------------------


def test_the_server_reads_what_clients_write() -> None:
    """Whole frames; the rest is kept."""
    sent = frame("x" * 300) + frame("y")

    assert unframed(sent) == ([(TEXT, b"x" * 300), (TEXT, b"y")], b"")
    assert unframed(sent[:-1])[0] == [(TEXT, b"x" * 300)]
    assert unframed(sent[:1]) == ([], sent[:1])


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_the_server_writes_what_clients_read(size: int) -> None:
    assert frames_of(framed(b"x" * size)) == ([(TEXT, b"x" * size)], b"")


def test_the_upgrade_is_accepted_with_the_digest_of_its_key() -> None:
    request = UPGRADE.replace("AAAAAAAAAAAAAAAAAAAAAA==", "dGhlIHNhbXBsZSBub25jZQ==")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n" in accepted(request.encode())


def test_a_line_delivers_later_and_in_order() -> None:
    async def talk() -> list[tuple[str, float]]:
        loop, came = asyncio.get_running_loop(), asyncio.Queue[tuple[str, float]]()
        began = loop.time()
        line = Line(
            loop, 0.02, lambda item: came.put_nowait((item, loop.time() - began))
        )
        line.put("first")
        line.put("second")
        return [await came.get(), await came.get()]

    (first, at), (second, later) = asyncio.run(talk())
    assert (first, second) == ("first", "second")
    assert 0.02 <= at <= later


def test_a_session_is_patched_to_any_depth() -> None:
    old = {"a": {"b": 1, "c": 2}, "d": 3}
    assert merged(old, {"a": {"b": 9}, "e": 4}) == {
        "a": {"b": 9, "c": 2},
        "d": 3,
        "e": 4,
    }
    assert old["a"] == {"b": 1, "c": 2}


# --- the table ------------------------------------------------------------------------


def sound(cost: float, **more: Any) -> dict[str, Any]:
    seen = {"costs": [cost, 2 * cost], "frame": cost, "frames": 100, "appends": 100}
    return {**seen, **more}


def test_a_ratio_is_to_the_floor_of_the_same_round() -> None:
    """A round in which the machine was slow changes nothing."""
    samples = Samples()
    for number, slower in enumerate((1, 10, 2)):
        samples.add("floor", "sound", number, sound(slower * 1e-5))
        samples.add("trialogue", "sound", number, sound(slower * 3e-5))
    samples.add("trialogue", "sound", 3, sound(1.0))  # the floor failed in this one

    ratio = samples.ratio("trialogue", "sound", lambda one: one["frame"])
    assert ratio is not None
    assert (ratio.median, ratio.least, ratio.most) == pytest.approx((3, 3, 3))
    assert Spread.of([]) is None


def handed(acknowledged: bool, *trips: float) -> dict[str, Any]:
    by_mode = {mode: list[float]() for mode in MODES} | {MODES[0]: list(trips)}
    return {"trips": by_mode, "acknowledged": [acknowledged], "right": [True]}


def crowd(cpu: float, heard: int = 1000) -> dict[str, Any]:
    pieces = {"pieces": heard, "expected": 1000}
    return {"cpu": cpu, "p99": 0.0123, "alone": 4e7, "each": 8e4, **pieces}


def test_the_tables_say_what_was_seen_and_what_there_is_not() -> None:
    samples = Samples(conditions={"date": "2026-11-27", "sessions": 100})
    samples.about["openai-agents"] = {"openai-agents": "0.24.0"}
    samples.about["trialogue"] = {"trialogue": "0.1.0", "engine": "trio-websocket"}
    for number in range(2):
        samples.add("floor", "sound", number, sound(1e-5))
        samples.add("floor", "crowd", number, crowd(0.25))
        samples.add("livekit-agents", "sound", number, sound(2e-5, appends=20))
        samples.add("livekit-agents", "crowd", number, crowd(0.5))
        samples.add("trialogue", "crowd", number, crowd(0.99, heard=500))
        samples.add("openai-agents", "handoff", number, handed(False, 1.0, 1.25))
    samples.add("openai-agents", "crowd", 0, crowd(0.99))
    samples.add("openai-agents", "refused", 0, {"outcome": [[True, False]]})

    table = written(samples)
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    handing = {row[0]: row[1:] for row in cells[2:9]}
    carried = {row[0]: row[1:] for row in cells[11:]}
    assert [*handing] == [*carried] == [one.name for one in CONTESTANTS]
    assert handing["openai-agents"] == [
        *("1.12 (1.00 to 1.25)", "n/a (1)", "n/a (1)", "n/a (1)"),
        *("with the update", "words under the old prompt"),
    ]
    assert carried["livekit-agents"] == [
        *("2.00 (2.00 to 2.00)", "2.00 (2.00 to 2.00)", "2.00 (2.00 to 2.00) (3)"),
        *("2.00 (2.00 to 2.00)", "12.3 (12.3 to 12.3)"),
        *("40 (40 to 40)", "80 (80 to 80)"),
    ]
    assert carried["trialogue"][3] == "7.92 (7.92 to 7.92) (2)"
    assert carried["openai-agents"][3] == "3.96 (3.96 to 3.96) (2)"
    assert carried["raw trio-websocket"] == ["n/a"] * 7
    assert "2026-11-27" in table
    assert "rounds: 0 of handoffs, 2 of sound, 2 of 100 sessions" in table
    assert "openai-agents 0.24.0" in table
    assert "trialogue 0.1.0, on the engine trio-websocket" in table


def test_samples_that_were_kept_are_joined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rounds of different runs are different rounds; what failed stays so."""
    for name, cost in (("a", 1e-5), ("b", 1e-3)):
        samples = Samples(conditions={"date": "2026-11-27"})
        samples.add("floor", "sound", 0, sound(cost))
        samples.add("trialogue", "sound", 0, sound(2 * cost))
        samples.add("trialogue", "refused", 0, {"outcome": [[True, True]]})
        samples.failed += ["livekit-agents, sound: no"] if name == "b" else []
        samples.save(tmp_path / name)

    assert main(["--join", str(tmp_path / "a")]) == 0
    assert main(["--join", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    printed = capsys.readouterr().out
    assert "| trialogue | 2.00 (2.00 to 2.00)" in printed
    assert "| words under its own prompt |" in printed


def test_only_what_is_between_the_marks_is_replaced() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"

    assert replaced(page, "new") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    with pytest.raises(ValueError, match="bench-peers: begin"):
        replaced("no marks", "new")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_pages_show_the_table_of_a_run_with_its_date_and_versions(
    page: Path,
) -> None:
    text = page.read_text(encoding="utf-8")
    table = text.partition(BEGIN)[2].partition(END)[0]

    for contestant in CONTESTANTS:
        assert table.count(f"| {contestant.name} |") == 2
    assert re.search(r"\n20\d\d-\d\d-\d\d, \d+ cores, CPython 3\.\d+", table)
    assert re.search(r"livekit-agents \d+\.\d+\.\d+", table)
    assert re.search(r"openai-agents \d+\.\d+\.\d+", table)
    assert "on the engine" in table


def test_each_environment_is_somebodys() -> None:
    assert {one.environment for one in CONTESTANTS} == set(ENVIRONMENTS)
