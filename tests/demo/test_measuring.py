"""What the table makes of a server's log."""

from __future__ import annotations

from typing import Any

import pytest

from trialogue.agents.events import HandoffTimings
from trialogue.demo.measuring import Mode, Row, row_of
from trialogue.demo.server_log import Stamped
from trialogue.demo.table import as_text, heading, tool_driven

REUSE = Mode(reuse=True, copy=True)
FRESH = Mode(reuse=False, copy=True)
TIMINGS = HandoffTimings("before", "after", 5.0, 5.0, acknowledged=5.062)
CALL = {"output": [{"type": "function_call", "name": "hand_over"}]}


def came(at_ms: float, kind: str, connection: int = 0, **fields: Any) -> Stamped:
    return Stamped(connection, at_ms / 1000, True, {"type": kind, **fields})


def left(
    at_ms: float, kind: str, connection: int = 0, *, lost: bool = False, **fields: Any
) -> Stamped:
    return Stamped(connection, at_ms / 1000, False, {"type": kind, **fields}, lost)


def burst(connection: int = 0, *, lost: bool = False) -> list[Stamped]:
    """An update, an item and a request for a reply, and their answers."""
    return [
        came(60, "session.update", connection),
        left(60, "session.updated", connection, lost=lost),
        came(61, "conversation.item.create", connection, item={"id": "a"}),
        left(61, "conversation.item.added", connection, item={"id": "a"}),
        came(62, "input_audio_buffer.append", connection),
        came(63, "response.create", connection),
        left(100, "response.output_audio.delta", connection),
        came(110, "conversation.item.create", connection, item={"id": "later"}),
    ]


def before(connection: int = 0) -> list[Stamped]:
    return [
        came(-200, "session.update", connection),
        left(-200, "session.updated", connection),
        came(-100, "response.create", connection),
        left(0, "response.done", connection, response=CALL),
    ]


def row(mode: Mode, log: list[Stamped], timings: HandoffTimings = TIMINGS) -> Row:
    return row_of(mode, 60, log, timings)


def test_the_clock_starts_when_the_call_has_left_the_server() -> None:
    found = row(REUSE, before() + burst())

    assert found.handoff_ms == pytest.approx(60)
    assert found.reply_ms == pytest.approx(63)
    assert found.first_audio_ms == pytest.approx(100)
    assert found.acknowledged_ms == pytest.approx(62)
    assert found.connect_ms == 180


def test_only_what_was_sent_for_the_handoff_counts() -> None:
    """Not what came before the call, after the first audio, or from the microphone."""
    found = row(REUSE, before() + burst())

    assert found.messages == 3
    assert found.session_updates == 1
    assert found.connections == 0
    assert found.acknowledged == "2/2"
    assert found.burst == (
        "session.update",
        "conversation.item.create",
        "response.create",
    )


def test_a_connection_opened_for_the_handoff_counts() -> None:
    assert row(FRESH, before() + burst(connection=1)).connections == 1


def test_an_answer_that_was_withheld_is_no_acknowledgement() -> None:
    """Nor is the answer to the update that the client sends again."""
    again = [came(120, "session.update"), left(120, "session.updated")]

    assert row(REUSE, before() + burst(lost=True) + again).acknowledged == "1/2"


def test_what_never_came_is_null() -> None:
    """JSON has no NaN."""
    silent = HandoffTimings("before", "after", 5.0, 5.0)
    found = row(REUSE, before(), silent).to_json()

    assert found["handoff_ms"] is None
    assert found["reply_ms"] is None
    assert found["first_audio_ms"] is None
    assert found["acknowledged_ms"] is None
    assert found["acknowledged"] == "0/0"


def test_a_log_without_a_call_is_refused() -> None:
    with pytest.raises(ValueError, match="calls a tool"):
        row(REUSE, burst())


def test_the_budget_follows_the_way_of_handing_over() -> None:
    assert row(REUSE, before() + burst()).budget_ms == pytest.approx(76)
    assert row(FRESH, before() + burst()).budget_ms == pytest.approx(279)


def test_the_json_has_exactly_these_keys() -> None:
    assert list(row(REUSE, before() + burst()).to_json()) == [
        "mode",
        "rtt_ms",
        "connect_ms",
        "handoff_ms",
        "acknowledged_ms",
        "reply_ms",
        "first_audio_ms",
        "connections",
        "messages",
        "session_updates",
        "acknowledged",
    ]


def test_rows_stand_under_their_headings() -> None:
    found = row(REUSE, before() + burst())

    assert len(as_text(found)) == len(heading())
    assert as_text(found).startswith("reuse copy")


def test_the_handoff_by_a_tool_is_told_in_full() -> None:
    (told,) = tool_driven([row(REUSE, before() + burst())])

    assert "session.update -> conversation.item.create -> response.create" in told
    assert "3.0 over one round trip" in told
