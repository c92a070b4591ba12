"""What a library beneath us logs: at its debug level, the words of the peer as well."""

from __future__ import annotations

import logging

from trialogue._redaction import without_keys

__all__ = ["strike_keys_from"]


class _Struck(logging.Filter):
    """Strikes keys out of records; it drops none."""

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        shown = without_keys(said)
        if shown != said:
            record.msg, record.args = shown, ()
        return True


_STRUCK = _Struck()


def strike_keys_from(logger: str) -> None:
    """Let no key that a peer quotes, in a close reason say, into this log (X1)."""
    logging.getLogger(logger).addFilter(_STRUCK)
