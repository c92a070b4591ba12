"""A key that does not show itself."""

from __future__ import annotations

import attrs

__all__ = ["Secret"]


@attrs.frozen(repr=False)
class Secret:
    """A credential; repr and text hide it (X1). `reveal` is for the header alone."""

    _value: str

    def __repr__(self) -> str:
        return "Secret(...)"

    def reveal(self) -> str:
        """Return the credential itself."""
        return self._value
