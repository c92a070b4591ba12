"""When a guardrail looks at a message that grows."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trialogue.agents.debouncing import Watch

Step = str | None
"""A piece that has come, or None: the check under way has returned."""


def looks(*steps: Step, length: int = 20, sentence_ends: bool = True) -> list[str]:
    """Return what is checked, where the message then ends and every check returns."""
    watch = Watch(length, sentence_ends=sentence_ends)
    found = [watch.checked() if step is None else watch.add(step) for step in steps]
    found += [watch.checked(), watch.end(), watch.checked(), watch.checked()]
    return [text for text in found if text is not None]


@pytest.mark.behaviour("G10")
@pytest.mark.parametrize(
    ("steps", "checked"),
    [
        ((), []),
        (("   ", None), []),
        (("Hello",), ["Hello"]),
        (("a" * 19,), ["a" * 19]),
        (("a" * 20, None), ["a" * 20]),
        (("a" * 20, None, "b" * 19, "c"), ["a" * 20, "a" * 20 + "b" * 19 + "c"]),
        (("a" * 10, "b" * 10, None, "  \n"), ["a" * 10 + "b" * 10]),
        # At the end of a sentence, as soon as it is certain to be one.
        (("One. ", None, "two"), ["One. ", "One. two"]),
        (("One.", " two", None), ["One. two"]),
        (("3.", "5 m", None), ["3.5 m"]),
        (("Yes! ", None, "No", "? ", None), ["Yes! ", "Yes! No? "]),
        (('"One." ', None, "two"), ['"One." ', '"One." two']),
        (
            ("\u306f\u3044\u3002", None, "a"),
            ["\u306f\u3044\u3002", "\u306f\u3044\u3002a"],
        ),
        # One at a time: what comes meanwhile is in the next, all of it.
        (("One. ", "Two. ", "Three. ", None), ["One. ", "One. Two. Three. "]),
        (("One. ", "two", None, "."), ["One. ", "One. two."]),
    ],
)
def test_a_message_is_looked_at_when_enough_is_new_and_at_its_ends(
    steps: tuple[Step, ...], checked: list[str]
) -> None:
    """Each look is at all that has come."""
    assert looks(*steps) == checked


@pytest.mark.behaviour("G10")
def test_the_ends_of_sentences_can_be_left_out() -> None:
    """Then only the length counts, and the end."""
    assert looks("One. ", None, "Two. ", sentence_ends=False) == ["One. Two. "]


@pytest.mark.behaviour("G10")
def test_the_final_form_of_a_message_counts() -> None:
    """A provider may correct what it has sent piece by piece."""
    watch = Watch(5, sentence_ends=True)
    assert watch.add("I hear") == "I hear"
    assert watch.checked() is None
    assert watch.end("I'm here") == "I'm here"


def test_a_message_that_is_ended_twice_is_looked_at_once() -> None:
    """By its own end, and by that of its reply."""
    watch = Watch(5, sentence_ends=True)
    assert watch.end("done") == "done"
    assert watch.checked() is None
    assert watch.end() is None


PIECES = st.lists(
    st.one_of(st.none(), st.text("ab .!\n", min_size=1, max_size=12)), max_size=30
)


@pytest.mark.behaviour("G10")
@given(PIECES, st.integers(1, 30), st.booleans())
@example(["aaaa. ", "bbbb. ", None, "c"], 3, True)
@example(["aaaa", "bbbb", None, "c", None], 3, False)
@example([None, None, "a. b", None], 30, True)
def test_nothing_is_left_out_and_nothing_piles_up(
    steps: list[Step], length: int, sentence_ends: bool
) -> None:
    """Whatever comes when: at most one check is under way, each of all the text, and
    when none is, less than the length is unseen; the last one is of the whole."""
    watch = Watch(length, sentence_ends=sentence_ends)
    text, last, under_way = "", "", False

    def looked(found: str | None) -> None:
        nonlocal last, under_way
        if found is not None:
            assert not under_way
            assert found == text
            assert len(found) > len(last)
            under_way, last = True, found
        if not under_way:
            unseen = text[len(last) :]
            assert len(unseen) < length or not unseen.strip()

    for step in steps:
        if step is None and under_way:
            under_way = False
            looked(watch.checked())
        elif step is not None:
            text += step
            looked(watch.add(step))
    looked(watch.end())
    while under_way:
        under_way = False
        looked(watch.checked())
    assert last.strip() == text.strip()
