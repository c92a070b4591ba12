"""The page about records names every field of the JSON, list by list."""

from __future__ import annotations

import re
import typing
from pathlib import Path

import attrs
import pytest

from trialogue import Report

PAGE = Path(__file__).parents[2] / "docs" / "records.md"
SECTION = PAGE.read_text(encoding="utf-8").split("## The JSON")[1].split("\n## ")[0]
ENTRIES = {
    name: text
    for names, text in re.findall(r"^(`.+)\n: ((?:.+\n)+)", SECTION, re.MULTILINE)
    for name in re.findall(r"`(\w+)`", names)
}


def test_each_list_has_its_entry_in_the_order_of_the_json() -> None:
    assert list(ENTRIES) == [field.name for field in attrs.fields(Report)]


@pytest.mark.parametrize("name", sorted(ENTRIES.keys() - {"metrics", "omitted"}))
def test_each_field_is_named_and_no_other_is(name: str) -> None:
    hint = typing.get_type_hints(Report)[name]
    record = next(iter(typing.get_args(hint)), hint)
    fields = {field.name for field in attrs.fields(record)}
    named = set(re.findall(r"`([a-z_]+)`", ENTRIES[name]))

    assert named == fields
