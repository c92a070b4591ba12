"""The fault matrix: its measures notice what they are there for, and a few rows run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from faults.cast import MICROPHONE, PROMPTS, clip
from faults.measures import Figures, figures_of
from faults.microphone import Microphone
from faults.rows import ROWS, Row, row_of
from faults.run import MARKS, main
from faults.table import COLUMNS, cells, markdown, misses
from trialogue.testing import config_hash, decode
from trialogue.testing.watermark import encode

if TYPE_CHECKING:
    from pathlib import Path

DESK, REFUNDS = (config_hash(PROMPTS[name], ()) for name in ("desk", "refunds"))


def sound(config: str, item: int, ms: int) -> bytes:
    return encode(config, ms * 24, item=item)


def reports() -> tuple[dict[str, Any], bytes, dict[str, Any]]:
    """Return what client and server say of a conversation in which nothing is wrong."""
    said = [["hello", 0, 39, 10.0], ["money", 100, 139, 20.0]]
    said.append(["question", 300, 339, 30.0])
    client = {
        "agents": [[5.0, "desk"], [20.3, "refunds"]],
        "told": [],
        "error": None,
        "said": said,
        "asked_to_leave": 32.0,
        "left": 32.1,
        "tasks": 0,
        "runs": [[10.5, 19_200], [20.5, 48_000], [30.5, 19_200]],
    }
    made = [("hello", "desk", 10.4), ("money", "refunds", 20.4)]
    made.append(("question", "refunds", 30.4))
    pcm = sound(DESK, 0, 400) + sound(REFUNDS, 1, 1000) + sound(REFUNDS, 2, 400)
    server = {
        "responses": [
            {
                "response": f"resp_{n}",
                "answers": answers,
                "agent": agent,
                "connection": 0,
                "created": created,
            }
            for n, (answers, agent, created) in enumerate(made)
        ],
        "marks": ["resp_0", "resp_1", "resp_2"],
        "prompts": {DESK: "desk", REFUNDS: "refunds"},
        "connections": [
            {
                "heard": [[0, 400]],
                "turns": [{"heard": [[first, last]]} for _, first, last, _ in said],
                "users": [name for name, *_ in said],
            }
        ],
    }
    return client, pcm, server


def measured(
    client: dict[str, Any],
    pcm: bytes,
    server: dict[str, Any],
    row: Row | None = None,
) -> Figures:
    """Measure, over a baseline in which nothing is wrong."""
    base = figures_of(ROWS[0], *reports(), MARKS, None)
    return figures_of(row or ROWS[1], client, pcm, server, MARKS, base)


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    figures = measured(*reports())

    assert attrs.evolve(figures, answers=()) == Figures(stall=0.0, recovered="same")
    assert misses(figures) == []


def test_words_under_the_prompt_of_who_has_handed_over_are_found() -> None:
    """Begun after the handoff; what was begun before it is heard to its end."""
    client, pcm, server = reports()
    pcm = pcm.replace(sound(REFUNDS, 1, 1000), sound(DESK, 1, 1000))
    assert measured(client, pcm, server).wrong == 1.0

    server["responses"][1]["created"] = 20.2
    assert measured(client, pcm, server).wrong == 0.0
    # What the next agent asks for as it is entered arrives 20 ms later.
    server["responses"][1]["created"] = 20.3 + 0.021
    assert measured(client, pcm, server).wrong == 1.0


def test_words_of_who_never_became_current_are_found() -> None:
    client, pcm, server = reports()
    client["agents"] = [[5.0, "desk"]]
    figures = measured(client, pcm, server)

    assert figures.wrong == 1.4
    assert misses(figures) == ["1.4 s heard under a wrong prompt"]


def test_a_stall_is_what_is_over_the_fault_itself() -> None:
    client, pcm, server = reports()
    client["runs"][1][0] += 4.0
    assert measured(client, pcm, server).stall == 4.0

    row = attrs.evolve(ROWS[1], lasts=3.0)
    assert measured(client, pcm, server, row).stall == 1.0


def test_a_gap_within_an_answer_is_a_stall_too() -> None:
    client, pcm, server = reports()
    client["runs"][1:2] = [[20.5, 24_000], [23.5, 24_000]]
    figures = measured(client, pcm, server)

    assert figures.stall == 2.5
    assert misses(figures) == ["stalled for 2.50 s beyond the fault"]


def test_an_answer_of_which_the_end_is_missing_is_cut() -> None:
    client, pcm, server = reports()
    pcm = pcm.replace(sound(REFUNDS, 1, 1000), sound(REFUNDS, 1, 500))
    client["runs"][1][1] = 24_000
    figures = measured(client, pcm, server)

    assert (figures.unanswered, figures.cut) == (0, 1)


def test_an_answer_that_never_comes_is_lost_and_so_is_one_never_asked_for() -> None:
    client, pcm, server = reports()
    client["runs"].pop()
    pcm = pcm[:-19_200]
    figures = measured(client, pcm, server)
    assert (figures.unanswered, figures.stall) == (1, None)
    assert figures.recovered == "not"

    client["said"].pop()
    figures = measured(client, pcm, server)
    assert (figures.unanswered, figures.stall) == (1, None)
    assert misses(figures) == ["no answer in 20 s"]


def test_words_that_no_turn_holds_are_lost_though_some_server_heard_them() -> None:
    """A turn that is torn in two is not whole."""
    client, pcm, server = reports()
    server["connections"][0]["turns"][1]["heard"] = [[100, 119]]
    figures = measured(client, pcm, server)

    assert figures.lost == 200
    assert misses(figures) == ["200 ms of the caller's words lost"]


def test_silence_that_no_server_heard_is_told_apart() -> None:
    client, pcm, server = reports()
    server["connections"][0]["heard"] = [[0, 199], [210, 400]]
    figures = measured(client, pcm, server)

    assert (figures.lost, figures.silence_lost) == (0, 100)
    assert "(100 silent)" in cells(ROWS[0], "trialogue", figures)[3]


def test_sound_that_one_connection_has_twice_is_repeated() -> None:
    """On two connections it is not: the second knew nothing of it."""
    client, pcm, server = reports()
    server["connections"].append({"heard": [[380, 400]], "turns": [], "users": []})
    assert measured(client, pcm, server).repeated == 0

    server["connections"][0]["heard"] = [[0, 400], [380, 400]]
    assert measured(client, pcm, server).repeated == 210


def test_words_that_stand_twice_in_the_conversation_are_repeated() -> None:
    client, pcm, server = reports()
    server["connections"][0]["users"].append("money")
    assert measured(client, pcm, server).repeated == 400


def test_another_connection_or_agent_at_the_end_is_told() -> None:
    client, pcm, server = reports()
    server["responses"][2]["connection"] = 1
    assert measured(client, pcm, server).recovered == "fresh"

    client["agents"] = [[5.0, "desk"]]
    pcm = pcm.replace(sound(REFUNDS, 2, 400), sound(DESK, 2, 400))
    assert measured(client, pcm, server).recovered == "fresh, with desk"


def test_tasks_that_are_left_and_errors_are_told() -> None:
    client, pcm, server = reports()
    client |= {"tasks": 2, "error": "ConnectionLost", "told": ["A", "A", "B"]}
    figures = measured(client, pcm, server)

    assert misses(figures) == ["2 tasks left"]
    row = cells(ROWS[0], "trialogue", figures)
    assert row[5:7] == ("2", "A, B, raises ConnectionLost")


def test_of_a_session_that_is_left_the_leaving_is_timed() -> None:
    row = row_of("the session left as the update is read")
    client, pcm, server = reports()
    client["said"].pop()
    client["left"] = 34.5
    figures = measured(client, pcm, server, row)

    assert (figures.stall, figures.recovered) == (2.5, "left")


def test_the_microphone_says_where_in_it_the_sentences_are() -> None:
    """Whatever is cut out of it can be told by the numbers that are missing."""
    microphone = Microphone()
    before = microphone.next()
    microphone.say("money")
    spoken = b"".join(microphone.next() for _ in range(30))
    [(name, first, last, _)] = microphone.said

    assert (name, first, last) == ("money", 2, 41)
    marks = decode(before + spoken)
    assert [mark.seq for mark in marks] == list(range(62))
    assert {mark.config for mark in marks} == {MICROPHONE}
    assert len(clip("money")) == 40 * 480


def test_a_row_that_means_nothing_says_why() -> None:
    row = row_of("nothing, fresh connection")
    table = markdown("openai-agents", [row], {row.name: None})

    assert "n/a: a handoff never takes a fresh connection" in table
    assert {line.count("|") for line in table.splitlines()} == {len(COLUMNS) + 1}


def test_no_two_rows_have_one_name() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


# Real processes and real time are what it is about: it cannot be any faster.
def test_rows_are_played_over_real_sockets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How long they stalled is not looked at: the machine may have much else to do."""
    file = tmp_path / "faults.json"
    assert main(["dropped at response.create", "--json", str(file), "--no-check"]) == 0
    rows = json.loads(file.read_text())["trialogue"]

    columns = ("problem", "wrong", "lost", "repeated", "unanswered", "tasks", "error")
    for name, recovered in (
        ("nothing", "same"),
        ("dropped at response.create", "fresh"),
    ):
        found = tuple(rows[name][column] for column in columns)
        assert found == ("", 0.0, 0, 0, 0, 0, None), name
        assert rows[name]["recovered"] == recovered
    assert rows["dropped at response.create"]["told"] == ["ConnectionEnded"]
    assert "dropped at response.create" in capsys.readouterr().out


def test_a_row_that_does_not_exist_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["nonsense"])

    assert "nonsense" in capsys.readouterr().err
