"""What of a reply has arrived: bounded, in order, readable from several places."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialogue.realtime.reply_log import Cursor, Log

PIECES = st.lists(st.tuples(st.sampled_from("ab"), st.text("xyz", max_size=6)))


def drain(cursor: Cursor[str]) -> str:
    taken = iter(cursor.take, None)
    return "".join(piece.value for piece in taken if piece is not None)


@given(PIECES)
def test_every_cursor_reads_every_piece_once_in_order(
    pieces: list[tuple[str, str]],
) -> None:
    """Those of one message, and those of all, however many read at once."""
    log = Log[str](10_000)
    early = Cursor(log)
    for item_id, text in pieces:
        log.append(item_id, text)
    late, only_a = Cursor(log), Cursor(log, "a")
    everything = "".join(text for _, text in pieces)
    assert drain(early) == drain(late) == everything
    assert drain(only_a) == "".join(text for item_id, text in pieces if item_id == "a")
    assert drain(early) == ""


@given(PIECES, st.integers(1, 12), st.data())
def test_what_is_read_and_what_is_missed_are_together_what_came(
    pieces: list[tuple[str, str]], limit: int, data: st.DataObject
) -> None:
    """Whenever somebody reads, and whatever the bound: nothing is doubled or unseen."""
    log = Log[str](limit)
    cursors = {wanted: Cursor(log, wanted) for wanted in (None, "a", "b")}
    read = dict.fromkeys(cursors, "")
    for item_id, text in pieces:
        log.append(item_id, text)
        held = [len(piece.value) for piece in log.pieces]
        assert sum(held) <= max([limit, *held[-1:]])
        for wanted, cursor in cursors.items():
            if data.draw(st.booleans()):
                piece = cursor.take()
                read[wanted] += "" if piece is None else piece.value
    for wanted, cursor in cursors.items():
        read[wanted] += drain(cursor)
        came = "".join(t for i, t in pieces if wanted in (None, i))
        assert len(read[wanted]) + cursor.missed == len(came)
        if not cursor.missed:
            assert read[wanted] == came


def test_what_was_read_in_time_is_not_missed_when_it_makes_room() -> None:
    log = Log[bytes](4, unit=2)
    cursor = Cursor(log)
    for sample in range(20):
        log.append("a", bytes([sample, 0]))
        piece = cursor.take()
        assert piece is not None
        assert (piece.value, piece.end) == (bytes([sample, 0]), sample + 1)
    assert cursor.missed == 0
    assert Cursor(log).peek() is not None
    late = Cursor(log, "a")
    assert late.take() is not None
    assert late.missed == 16


@pytest.mark.parametrize("wanted", [None, "a"])
def test_a_log_that_starts_over_is_read_from_its_new_start(wanted: str | None) -> None:
    log = Log[str](100)
    cursor = Cursor(log, wanted)
    log.append("a", "old")
    assert cursor.peek() is not None
    log.restart()
    assert cursor.peek() is None
    log.append("a", "new")
    assert drain(cursor) == "new"
    assert log.received("a") == log.received() == 3
    assert cursor.missed == 0
