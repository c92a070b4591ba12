"""Sound that came at once is handed on in one piece, and nothing of it is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trialogue.dialects.events import OutputAudio
from trialogue.realtime.joining import MOST, Joining

MS_20 = 960


def joined(sounds: list[OutputAudio]) -> list[OutputAudio]:
    joining = Joining()
    handed = [joining.add(sound) for sound in sounds]
    handed.append(joining.take())
    assert joining.take() is None
    return [one for one in handed if one is not None]


def sound(
    pcm: bytes, item: str = "i", response: str = "r", part: int = 0
) -> OutputAudio:
    return OutputAudio(response, item, pcm, part)


def test_five_deltas_of_20_ms_are_one_piece() -> None:
    pieces = [bytes([n]) * MS_20 for n in range(5)]
    assert joined([sound(pcm) for pcm in pieces]) == [sound(b"".join(pieces))]


def test_no_piece_of_several_is_longer_than_100_ms() -> None:
    handed = joined([sound(bytes(MS_20)) for _ in range(12)])
    assert [len(one.pcm) for one in handed] == [MOST, MOST, 2 * MS_20]


def test_a_delta_that_is_longer_stays_as_it_is() -> None:
    long = sound(bytes(3 * MOST))
    assert joined([sound(b"ab"), long, sound(b"cd")]) == [
        sound(b"ab"),
        sound(bytes(3 * MOST)),
        sound(b"cd"),
    ]


def test_what_is_of_another_item_response_or_part_stays_apart() -> None:
    apart = [
        sound(b"aa"),
        sound(b"bb", item="j"),
        sound(b"cc", item="j", response="s"),
        sound(b"dd", item="j", response="s", part=1),
    ]
    assert joined(apart) == apart


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ij"), st.sampled_from("rs"), st.integers(0, 2 * MOST)
        ),
        max_size=40,
    )
)
def test_nothing_is_lost_doubled_or_moved(
    deltas: list[tuple[str, str, int]],
) -> None:
    sounds = [
        sound(n.to_bytes(2, "big") * (size // 2), item, response)
        for n, (item, response, size) in enumerate(deltas)
    ]
    whole: list[tuple[str, str, bytes]] = []
    for one in [sound(s.pcm, s.item_id, s.response_id) for s in sounds]:
        whole.extend((one.response_id, one.item_id, bytes([b])) for b in one.pcm)
    handed = joined(sounds)
    assert [
        (one.response_id, one.item_id, bytes([b])) for one in handed for b in one.pcm
    ] == whole
