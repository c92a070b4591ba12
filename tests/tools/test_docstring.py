"""The description and the parameters, out of each style of docstring."""

from __future__ import annotations

import pytest

from trialogue.tools.docstring import parse_docstring

GOOGLE = """Look up the weather,
    here or there.

    More for people who read the source.

    Args:
        city: The city,
            or the region.
        unit (str, optional): Celsius: or not.

        days: How far ahead.

    Returns:
        str: not a parameter.
    """

NUMPY = """Look up the weather,
    here or there.

    Parameters
    ----------
    city : str
        The city,
        or the region.
    unit : str, optional
        Celsius: or not.
    days
        How far ahead.

    Returns
    -------
    str
        Not a parameter.
    """

SPHINX = """Look up the weather,
    here or there.

    :param city: The city,
        or the region.
    :param str unit: Celsius: or not.
    :param days: How far ahead.
    :returns: not a parameter.
    """


@pytest.mark.parametrize(
    "text", [GOOGLE, NUMPY, SPHINX], ids=["google", "numpy", "sphinx"]
)
def test_each_style_gives_the_same_description_and_parameters(text: str) -> None:
    found = parse_docstring(text)
    assert found.description == "Look up the weather, here or there."
    assert found.parameters == {
        "city": "The city, or the region.",
        "unit": "Celsius: or not.",
        "days": "How far ahead.",
    }


def test_numpy_names_that_share_an_entry_share_its_text() -> None:
    found = parse_docstring("X.\n\nParameters\n----------\na, b : int\n    Sides.\n")
    assert found.parameters == {"a": "Sides.", "b": "Sides."}


def test_a_section_without_a_blank_line_before_it_is_no_description() -> None:
    found = parse_docstring("Look.\nArgs:\n    city: Where.\n")
    assert found.description == "Look."
    assert found.parameters == {"city": "Where."}


@pytest.mark.parametrize("text", [None, "", "  \n "])
def test_no_docstring_is_an_empty_one(text: str | None) -> None:
    found = parse_docstring(text)
    assert (found.description, found.parameters) == ("", {})


def test_a_docstring_of_sections_only_has_no_description() -> None:
    assert parse_docstring("Args:\n    city: Where.").description == ""


def test_a_sphinx_entry_ends_at_a_blank_line() -> None:
    found = parse_docstring("X.\n\n:param a: One\n    two.\n\n    Not this.\n")
    assert found.parameters == {"a": "One two."}
