"""An MCP server for the tests that does what none should: the standard library alone.

Its argument is JSON: how it behaves at its start and its end, and what it lists. What
it does in a call is the name of the tool.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from typing import Any

PLAN: dict[str, Any] = json.loads(sys.argv[1])
TOOLS = (
    *("echo", "die", "mute", "deaf", "refuse", "nonsense", "huge", "giant", "garbage"),
    *("process_id", "slow", "forget", "lie", "flood"),
)
SCHEMA = {"type": "object"}
INTERNAL = "psycopg.OperationalError: password=hunter2"
listed: list[dict[str, Any]] = PLAN.get(
    "tools", [{"name": name, "inputSchema": SCHEMA} for name in TOOLS]
)
lock = threading.Lock()


def write(message: dict[str, Any]) -> None:
    line = json.dumps({"jsonrpc": "2.0", **message})
    with lock:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def raw(text: str) -> None:
    with lock:
        sys.stdout.write(text)
        sys.stdout.flush()


def text(words: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": words}]}


def changed() -> None:
    write({"method": "notifications/tools/list_changed"})


def call(name: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """The result of a call; None for no answer."""
    match name:
        case "die":
            os._exit(1)
        case "mute":
            return None
        case "deaf":
            time.sleep(60)
        case "slow":
            time.sleep(arguments.get("seconds", 0.3))
        case "nonsense":
            return {"content": "what?"}
        case "huge":
            return text("x" * arguments["size"])
        case "giant":
            raw("x" * arguments["size"])
            return None
        case "garbage":
            raw('Debug: here!\n{"half": \n\n[1, 2]\n{"jsonrpc": "2.0", "id": "who"}\n')
        case "flood":
            raw("garbage\n" * 3000)
            return None
        case "process_id":
            return text(str(os.getpid()))
        case "forget":
            listed[:] = [tool for tool in listed if tool["name"] != arguments["name"]]
            changed()
        case "lie":
            listed[:] = [{"name": f"t{n}", "inputSchema": SCHEMA} for n in range(200)]
            changed()
    return text(json.dumps(arguments))


def list_tools(params: dict[str, Any]) -> dict[str, Any]:
    if PLAN.get("endless"):
        return {"tools": listed[:1], "nextCursor": "again"}
    size = PLAN.get("page", len(listed) or 1)
    at = int(params.get("cursor", 0))
    page: dict[str, Any] = {"tools": listed[at : at + size]}
    if at + size < len(listed):
        page["nextCursor"] = str(at + size)
    return page


def answer(message: dict[str, Any]) -> None:
    method, number = message.get("method"), message.get("id")
    params = message.get("params") or {}
    if number is None or method is None:
        return
    match method:
        case "initialize":
            result: dict[str, Any] | None = {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {"listChanged": True}},
                "serverInfo": {"name": "raw", "version": "1"},
            }
        case "tools/list":
            result = list_tools(params)
        case "tools/call" if params["name"] == "refuse":
            code = (params.get("arguments") or {}).get("code", -32603)
            write({"id": number, "error": {"code": code, "message": INTERNAL}})
            return
        case "tools/call" if params["name"] == "slow":
            threading.Thread(
                target=lambda: write(
                    {"id": number, "result": call("slow", params.get("arguments", {}))}
                ),
                daemon=True,
            ).start()
            return
        case "tools/call":
            result = call(params["name"], params.get("arguments") or {})
        case _:
            write({"id": number, "error": {"code": -32601, "message": "no method"}})
            return
    if result is not None:
        write({"id": number, "result": result})


def main() -> None:
    if "pid_file" in PLAN:
        with open(PLAN["pid_file"], "a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")
    if PLAN.get("start") == "die":
        sys.exit(3)
    if PLAN.get("start") == "hang":
        time.sleep(60)
    if PLAN.get("start") == "garbage":
        raw("Welcome!\n\n")
    if PLAN.get("end") == "stay":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin:
        answer(json.loads(line))
    if PLAN.get("end") == "stay":
        time.sleep(60)


if __name__ == "__main__":
    main()
