"""A report as JSON: it reads back as it was, or says where it is none (M3)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from trialogue import ConfigurationError, Report
from trialogue.records.loading import FORMAT, VERSION

if TYPE_CHECKING:
    from reported import Held

SESSION = {"id": "x", "model": "m", "library": "1", "began": 0, "seconds": 1}
START = {"format": FORMAT, "version": VERSION, "session": SESSION}


@pytest.mark.behaviour("M3")
def test_a_report_reads_back_as_it_was(held: Held) -> None:
    report = held.report

    assert Report.from_json(report.to_json()) == report
    assert Report.from_json(report.to_json().encode()) == report
    assert Report.from_dict(report.to_dict()) == report
    assert Report.from_json(report.to_json()).to_html() == report.to_html()


@pytest.mark.behaviour("M3")
def test_its_json_is_plain_and_says_what_it_is(held: Held) -> None:
    """So that other programs can read it."""
    data = json.loads(held.report.to_json())

    assert list(data)[:3] == ["format", "version", "session"]
    assert (data["format"], data["version"]) == ("trialogue.report", 1)
    assert data["turns"][0].keys() >= {"began", "ended", "answered", "item_id"}
    assert data["metrics"]["usage"]["input_tokens"] == held.report.usage.input_tokens
    assert data == json.loads(json.dumps(held.report.to_dict()))


@pytest.mark.behaviour("M3")
def test_what_a_later_library_added_is_passed_over() -> None:
    turn = {"began": 1.0, "mood": "good"}
    later = {**START, "turns": [turn], "weather": {"sunny": True}}
    report = Report.from_json(json.dumps(later))

    assert report.turns[0].began == 1.0


@pytest.mark.behaviour("M3")
@pytest.mark.parametrize(
    ("data", "place"),
    [
        ([], "expected an object"),
        ({}, '"format": "trialogue.report"'),
        ({"format": "trialogue.chat_context", "version": 1}, '"format"'),
        ({**START, "version": 2}, "version: '2'"),
        ({**START, "version": True, "session": None}, "session"),
        ({"format": FORMAT, "version": VERSION}, "session"),
        ({**START, "session": {**SESSION, "id": 7}}, "report.session.id"),
        ({**START, "session": {**SESSION, "end": "gone"}}, "report.session.end"),
        ({**START, "session": {**SESSION, "seconds": "1"}}, "session.seconds"),
        ({**START, "session": {**SESSION, "seconds": 1e300}}, "too large"),
        ({**START, "items": None}, "report.items"),
        ({**START, "items": 5}, "report.items"),
        ({**START, "turns": [{"began": 0}, {"began": True}]}, "turns[1].began"),
        ({**START, "turns": [{"ended": 0}]}, "turns[0].began"),
        ({**START, "metrics": {"usage": {"input_tokens": 1.5}}}, "input_tokens"),
        ({**START, "omitted": {"turns": "many"}}, "omitted"),
    ],
)
def test_what_is_no_report_is_refused_with_the_place(data: Any, place: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Report.from_json(json.dumps(data))

    assert place in str(refused.value)


@pytest.mark.behaviour("M3")
@pytest.mark.parametrize(
    "text", ["", "{", "\x00", '{"a": NaN}', "[" * 100_000, "<html>"]
)
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not JSON"):
        Report.from_json(text)


@pytest.mark.behaviour("M3", "X1")
def test_a_refusal_does_not_quote_what_was_said() -> None:
    said = {**START, "items": [{"id": "1", "kind": "message", "text": ["my secret"]}]}
    with pytest.raises(ConfigurationError) as refused:
        Report.from_json(json.dumps(said))

    assert "items[0].text" in str(refused.value)
    assert "secret" not in str(refused.value)
