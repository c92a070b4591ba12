"""The benchmarks run and print their table; what they measure is claimed by nobody."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage

from bench import run
from bench.byhand import configured, raw_spoken
from bench.figures import Figures, table
from bench.load import CREATE, UPGRADE, frames_of
from bench.plots import draw
from bench.processes import started
from bench.raw import RAW
from bench.report import entries_of, read, written_to
from bench.rows import Row, at_most, interleaved, plus, times
from bench.run import BENCHMARKS, COMPARED, main
from bench.sender import written

if TYPE_CHECKING:
    from pathlib import Path

# NB: real sockets, servers in processes of their own, and real time, as they are what
# is measured; a few seconds each.


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_runs_and_prints_its_figures(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A few times only: whether a budget is kept depends on the machine."""
    assert main([name, "--times", "3"]) in {0, 1}
    head, row = capsys.readouterr().out.splitlines()

    assert head.split() == [
        *("milliseconds", "times", "median", "p90", "p99", "worst", "budget")
    ]
    assert " 3 " in row
    assert row.split()[-1] in {"kept", "MISSED"}


def test_a_profile_says_where_the_time_went(capsys: pytest.CaptureFixture[str]) -> None:
    """It holds no budget: a profile makes everything slower."""
    assert main(["scopes", "--times", "2", "--profile"]) == 0

    assert "tottime" in capsys.readouterr().out


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nonsense"])

    assert "handoffs, scopes" in capsys.readouterr().err


def test_figures_are_percentiles_of_what_was_measured() -> None:
    """The median decides; one slow time out of a hundred does not."""
    figures = Figures("work", (*[0.001] * 89, *[0.002] * 10, 0.5), budget=0.0015)

    assert figures.kept
    assert figures.cells() == (
        *("work", "100", "1.000", "2.000", "2.000", "500.000", "1.50", "kept"),
    )
    assert not Figures("work", (0.002, 0.003), budget=0.0015).kept
    assert table([Figures("work", (0.001,))]).splitlines()[1].split()[:2] == [
        *("work", "1")
    ]


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_the_load_reads_what_a_server_writes(size: int) -> None:
    """Whole frames, and what is not whole yet is kept."""
    sent = written(b"x" * size) + written(b"y")

    assert frames_of(sent) == ([(1, b"x" * size), (1, b"y")], b"")
    frames, rest = frames_of(sent[:-1])
    assert frames_of(rest + sent[-1:])[0] == [(1, b"y")]
    assert frames == [(1, b"x" * size)]


def test_the_load_writes_what_a_server_reads() -> None:
    server = WSConnection(ConnectionType.SERVER)
    server.receive_data(UPGRADE.encode())
    assert [type(event) for event in server.events()] == [Request]
    server.send(AcceptConnection())
    server.receive_data(CREATE)
    (event,) = server.events()

    assert isinstance(event, TextMessage)
    assert event.data == '{"type":"response.create"}'


@pytest.mark.parametrize("name", COMPARED)
def test_what_has_a_floor_runs_and_is_written_down(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As little as there is of each: what it came to is not looked at."""
    file, folder = tmp_path / "rows.json", tmp_path / "plots"

    wanted = ["--quick", "--json", str(file), "--plots", str(folder)]
    assert main([name, *wanted]) == 0

    printed = capsys.readouterr().out
    entries = read(file)
    assert entries
    for entry in entries:
        row = entry.row
        assert entry.group == name
        assert row.name in printed
        assert len(row.ours) == 1
        assert min(row.ours) > 0 or row.unit == "kB"
        assert row.floor or "taken off" in row.name
    for picture in folder.iterdir():
        ElementTree.parse(picture)


def test_every_target_is_held() -> None:
    """Who takes one of these away loosens a target."""
    assert {"modes", "cold", "lengths", "receive", "play"} <= set(COMPARED)
    assert {"microphone", "hundred", "memory"} <= set(COMPARED)


@pytest.mark.parametrize(
    ("target", "ours", "kept"),
    [
        (times(1.25), (12.5, 12.5, 99.0), True),
        (times(1.25), (12.6, 12.6, 1.0), False),
        (plus(3.0), (13.0, 13.0, 99.0), True),
        (plus(3.0), (13.1, 13.1, 1.0), False),
        (at_most(60.0), (60.0, 60.0, 99.0), True),
        (at_most(60.0), (60.1, 60.1, 1.0), False),
        (None, (99.0, 99.0, 99.0), True),
    ],
)
def test_a_missed_target_makes_the_exit_status_one(
    target: object,
    ours: tuple[float, ...],
    kept: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The median decides; without `--check` the table alone says so."""
    row = Row("work", "ms", ours, (10.0, 10.0, 10.0), target=target)  # type: ignore[arg-type]
    monkeypatch.setitem(run.COMPARED, "work", lambda size: [row])

    assert main(["work"]) == 0
    assert "MISSED" in capsys.readouterr().out or kept
    assert main(["work", "--check"]) == int(not kept)
    assert ("1 of 1 missed" in capsys.readouterr().out) is not kept


def test_each_repetition_is_compared_with_its_neighbour() -> None:
    """A bad minute makes both slower, and says nothing."""
    row = Row("work", "us", (11.0, 110.0, 12.0), (10.0, 100.0, 10.0), target=times(1.1))

    assert row.values == pytest.approx([1.1, 1.1, 1.2])
    assert row.kept


def test_sides_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []

    def side(name: str) -> dict[str, float]:
        order.append(name)
        return {"ms": float(len(order))}

    seen = interleaved({"a": lambda: side("a"), "b": lambda: side("b")}, 2)

    assert order == ["a", "b", "b", "a", "a", "b"]
    assert seen == {"a": {"ms": (4.0, 5.0)}, "b": {"ms": (3.0, 6.0)}}


def test_a_file_keeps_what_was_not_measured_again(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    old = Row("old", "ms", (1.0,), (2.0,), target=plus(1.0))
    written_to(file, entries_of({"one": [old], "two": [old]}))
    new = Row("new", "ms", (3.0,))
    written_to(file, entries_of({"one": [new]}))

    assert [(e.group, e.row) for e in read(file)] == [("two", old), ("one", new)]
    assert json.loads(file.read_text())[0]["verdict"] == "kept"


def test_a_file_is_shown_without_measuring(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Red in the file is red again."""
    file, folder = tmp_path / "rows.json", tmp_path / "plots"
    row = Row("work", "ms", (5.0,), (1.0,), target=plus(1.0))
    written_to(file, entries_of({"receive": [row]}))
    show = ["--show", "--json", str(file), "--plots", str(folder)]

    assert main(show) == 0
    assert main([*show, "--check"]) == 1
    assert capsys.readouterr().out.count("MISSED") == 2
    assert [path.name for path in folder.iterdir()] == ["receive.svg"]


def test_a_picture_shows_what_was_measured(tmp_path: Path) -> None:
    """Text in it that means something to XML does no harm."""
    row = Row("CPU: a < b & c", "us", (10.0, 12.0, 11.0), (8.0, 8.0, 8.0))
    row = Row(row.name, row.unit, row.ours, row.floor, target=times(1.5))
    (drawn,) = draw(tmp_path, entries_of({"receive": [row]}))

    words = "".join(ElementTree.parse(drawn).getroot().itertext())
    assert "a < b & c" in words
    assert "11" in words


@pytest.mark.parametrize("engine", RAW)
async def test_the_floor_does_the_same_work_on_every_engine(engine: str) -> None:
    """It takes every sample of a reply, and no other."""
    if importlib.util.find_spec(engine.replace("-", "_")) is None:
        pytest.skip(f"{engine} is not installed")
    heard: list[bytes] = []
    with started("sender.py") as server:
        async with configured(server.port, "flood-20-500", engine=engine) as link:
            await raw_spoken(link, heard.append)
        ended = json.loads(server.line())

    assert [len(pcm) for pcm in heard] == [960] * 500
    assert ended == {"frames": 0, "bytes": 0}
