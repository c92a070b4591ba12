"""The benchmarks run and print their table; what they measure is claimed by nobody."""

from __future__ import annotations

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage

from bench.figures import Figures, table
from bench.load import CREATE, UPGRADE, frames_of
from bench.run import BENCHMARKS, main
from bench.serving import written


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
