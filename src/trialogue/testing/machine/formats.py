"""Audio formats of the wire to and from the server's own: 16 bit, 24 kHz (§10).

For G.711 three samples are made of one, and one is taken of three: good enough to
converse over, and exact in time.
"""

from __future__ import annotations

from array import array
from typing import Any

from trialogue.dialects.openai import g711
from trialogue.dialects.openai.wire.session import PCMA, PCMU

__all__ = ["decoded", "encoded"]


def _law(audio_format: Any) -> g711.Law | None:
    match audio_format:
        case PCMU():
            return "pcmu"
        case PCMA():
            return "pcma"
    return None


def decoded(data: bytes, audio_format: Any) -> bytes:
    """Return the PCM of audio in that format."""
    law = _law(audio_format)
    if law is None:
        return data
    samples = g711.decode(law, data)
    return array("h", (one for one in samples for _ in range(3))).tobytes()


def encoded(pcm: bytes, audio_format: Any) -> bytes:
    """Return PCM in that format; a rest of less than three samples is dropped."""
    law = _law(audio_format)
    if law is None:
        return pcm
    return g711.encode(law, array("h", pcm[: len(pcm) // 6 * 6])[::3])
