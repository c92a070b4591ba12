"""Test-wide configuration: behaviour marks, their report, and the mutant option."""

from __future__ import annotations

pytest_plugins = ["quality.plugin"]
