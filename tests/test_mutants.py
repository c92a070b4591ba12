"""The mutants can be applied: none outlives the source that it breaks."""

from __future__ import annotations

import pytest

from quality.mutation import apply_mutant, load_mutants


@pytest.mark.parametrize("name", sorted(load_mutants()))
def test_what_a_mutant_breaks_is_there(name: str) -> None:
    """Said here, in milliseconds, and not only when mutants are tried."""
    apply_mutant(name, rehearsal=True)
