"""The page about the local server: its code runs, and it names all that there is."""

from __future__ import annotations

import argparse
import ast
import re
from pathlib import Path
from typing import Any

import pytest

import trialogue.testing
from trialogue.errors import ConfigurationError
from trialogue.testing import in_virtual_time, load_scenario
from trialogue.testing.faults import BROKEN_FRAMES
from trialogue.testing.faults.mixture import CONNECT_RATES, FRAME_RATES
from trialogue.testing.scenarios.loading import DO
from trialogue.testing.serve import add_arguments

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "server.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "examples" / "bad_day.toml"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@in_virtual_time
async def test_the_code_of_the_page_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {"__name__": "server_page"}
    for source in blocks("python"):
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(source, "docs/server.md", "exec", flags, dont_inherit=True)
        running = eval(code, names)
        if running is not None:
            await running
    assert "do = " in names["text"]


def test_the_scenario_of_the_page_is_the_example() -> None:
    assert blocks("toml") == [EXAMPLE.read_text(encoding="utf-8")]
    scenario = load_scenario(EXAMPLE)
    assert len(scenario.faults) == 6
    assert len(scenario.mixtures) == 1


def test_a_mistake_reads_as_the_page_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    (tmp_path / "bad_day.toml").write_text(
        text.replace("response.create", "response.crate")
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError) as raised:
        load_scenario("bad_day.toml")
    assert f"{raised.value}\n" in blocks("text")


def test_the_page_names_every_option_of_the_program() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    options = set(re.findall(r"--[a-z-]+", parser.format_help()))
    terms = re.findall(r"^(`--.*)\n: ", PAGE, re.MULTILINE)
    assert set(re.findall(r"--[a-z-]+", " ".join(terms))) == options


def test_the_page_names_every_fault_and_kind_of_garbage() -> None:
    for name in DO:
        assert f"| `{name}(" in PAGE
    for what in BROKEN_FRAMES:
        assert f'`"{what}"`' in PAGE


def test_every_rate_is_named_like_its_fault() -> None:
    rates = {*FRAME_RATES, *CONNECT_RATES} - {"drop"}
    assert rates < set(DO)
    assert set(DO) < set(trialogue.testing.__all__)
