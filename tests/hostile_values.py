"""Values and texts that a server hardly expects, for clients that mean no good."""

from __future__ import annotations

from typing import Any

__all__ = ["DEPTHS", "JUNK", "NOISE"]


def _nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"type": value}
    return value


JUNK: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63, -(2**64), 10**30),
    *(0.5, -0.0, 1e308, float("nan"), float("inf"), float("-inf")),
    *("", " ", "x", "none", "auto", "inf", "audio", "root", "null", "\0", "\x7f"),
    *("\ud800", "a\udfff", "é" * 40, "\u2028", "😀", "'; drop table", "../../etc"),
    *("x" * 33, "x" * 513, "x" * 70_000, "AAAA", "AAA=", "A", "====", "AA\nAA", "*"),
    *([], {}, [[]], [None], {"type": None}, {"type": []}, {"type": "message"}),
    *({"": ""}, ["x"], [{}], {"a": [1]}, {"type": "http_error"}, {"tool_names": 7}),
    *({"type": "function"}, {"type": "mcp"}, {"type": "item_reference", "id": "x"}),
    *({"type": "audio/pcm", "rate": 8000}, {"id": "voice_1"}, {"type": "server_vad"}),
    *(["text", "audio"], ["audio", "audio"], {"__class__": "x", "self": 1}),
    *(_nested(40), _nested(90), _nested(300), "\0deep", "\0deeper"),
    *([0] * 3000, {str(n): n for n in range(300)}),
]  # fmt: skip
"""Values that are hardly ever what is expected."""
DEPTHS = {"\0deep": 240, "\0deeper": 990}
"""Words in place of lists nested so deep that `json` may not be able to write them."""

NOISE = [
    *("", " ", "\0", "null", "true", "[]", "{}", '"text"', "12", "NaN", "Infinity"),
    *("{", "}", "[" * 5000, '{"a":' * 5000, "[" * 200_000, '{"type"', "{'type':'x'}"),
    *('{"type":1}', '{"type":null}', '{"type":""}', '{"type":"response.done"}'),
    *('{"type":"\\ud800"}', '{"type":"x","event_id":"\\udc00"}', "\ufeff{}", "\ud800"),
    '{"type":"response.create","type":"response.cancel"}',
    '{"type":"response.cancel","event_id":"\\ud800\\ud800"}',
    '{"type":"session.update","session":{"type":"realtime","instructions":"\\udfff"}}',
    '{"type":"session.update","session":{"type":"realtime","audio":'
    '{"input":{"noise_reduction":{"type":"far_field","strength":1e999}}}}}',
    '{"type":"session.update","session":{"type":"realtime","truncation":'
    '{"type":"retention_ratio","retention_ratio":-1e999}}}',
    '{"type":"conversation.item.truncate","item_id":"x","content_index":0,'
    '"audio_end_ms":' + "9" * 5000 + "}",
    '{"type":"input_audio_buffer.append","audio":"' + "A" * 9 + '"}',
    "x" * 100_000,
]
