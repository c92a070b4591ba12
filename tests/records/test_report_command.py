"""`python -m trialogue report`, and the demo's `--report` (M3)."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pages import read_page
from trialogue import Report
from trialogue.demo import cli as demo
from trialogue.demo import conversation
from trialogue.records.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from reported import Held


@pytest.fixture
def saved(held: Held, tmp_path: Path) -> Path:
    path = tmp_path / "talk.json"
    path.write_text(held.report.to_json(), encoding="utf-8")
    return path


@pytest.mark.behaviour("M3")
def test_a_saved_report_becomes_a_page_beside_it(held: Held, saved: Path) -> None:
    """As a user runs it."""
    ran = subprocess.run(
        [sys.executable, "-m", "trialogue", "report", str(saved)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    page = saved.with_suffix(".html")

    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"{page}\n"
    assert page.read_text(encoding="utf-8") == held.report.to_html()


@pytest.mark.behaviour("M3")
def test_the_page_goes_where_it_is_wanted(
    held: Held, saved: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    other = tmp_path / "other.html"
    assert main([str(saved), "-o", str(other)]) == 0
    assert main([str(saved), "--output", "-"]) == 0

    assert other.read_bytes() == held.report.to_html().encode()
    written = f"{other}\n".encode() + held.report.to_html().encode()
    assert capsysbinary.readouterr().out == written
    assert not saved.with_suffix(".html").exists()


@pytest.mark.behaviour("M3")
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"<html></html>", "not JSON"),
        (b"[1, 2]", "not a report"),
        (b'{"format": "trialogue.report", "version": 9}', "version"),
        (b'{"format": "trialogue.report", "version": 1}', "session"),
        (None, "cannot read"),
    ],
)
def test_a_bad_file_is_one_clear_line_and_exit_code_2(
    content: bytes | None,
    problem: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "talk.json"
    if content is not None:
        path.write_bytes(content)
    code = main([str(path)])
    captured = capsys.readouterr()

    assert code == 2
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("trialogue report: ")
    assert problem in captured.err
    assert str(path) in captured.err
    assert not path.with_suffix(".html").exists()


@pytest.mark.behaviour("M3")
def test_a_page_that_cannot_be_written_is_one_line(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([str(saved), "-o", str(tmp_path / "no" / "page.html")])
    captured = capsys.readouterr()

    assert code == 1
    assert captured.err.startswith("trialogue report: cannot write ")


@pytest.mark.parametrize("suffix", ["html", "json"])
def test_the_demo_leaves_a_record_if_it_is_asked_to(
    suffix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of a caller who says nothing and is greeted all the same."""
    monkeypatch.setattr(conversation, "caller_pcm", lambda muted: bytes(4800))
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    record = tmp_path / f"record.{suffix}"
    serve = [sys.executable, "-m", "trialogue", "serve", "--port", "0"]
    with subprocess.Popen(
        [*serve, "--script", "demo"], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip().removeprefix("listening on ")
            code = demo.main(
                [
                    *("--model", "openai:gpt-realtime", "--base-url", url, "--quiet"),
                    *("--output", str(tmp_path / "talk.wav"), "--report", str(record)),
                ]
            )
        finally:
            server.kill()

    assert code == 0
    assert str(record) in capsys.readouterr().out
    text = record.read_text(encoding="utf-8")
    if suffix == "json":
        report = Report.from_json(text)
        assert [said.agent for said in report.speech] == ["Kelly"]
        assert report.session.end == "input_ended"
    else:
        assert "agent:Kelly" in read_page(text).lanes


def test_the_demo_finds_out_first_whether_it_can_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = demo.main(
        [
            *("--output", str(tmp_path / "talk.wav")),
            *("--report", str(tmp_path / "no" / "record.html")),
        ]
    )

    assert code == 1
    assert "cannot write the record" in capsys.readouterr().err


def test_a_table_alone_has_no_record(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        demo.main(["--table-only", "--report", "record.html"])

    assert "--report" in capsys.readouterr().err
