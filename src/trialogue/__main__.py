"""`python -m trialogue`: the demo, the local server, and pages of records."""

from __future__ import annotations

import sys
from typing import Final

from trialogue import __version__

_HELP: Final = f"""\
trialogue {__version__}: realtime speech-to-speech agents on Trio

usage: python -m trialogue demo [...]    a spoken conversation with two agents, and how
                                         long each handoff took; no key, no network
       python -m trialogue serve [...]   the local realtime server, to test against
       python -m trialogue report FILE   a conversation's record as a page to look at

Each of them says more with `--help`.
"""


def main(argv: list[str]) -> int:
    """Run a command and return its exit code; without one, say which there are."""
    match argv:
        case ["demo", *rest]:
            from trialogue.demo.cli import main as demo

            return demo(rest)
        case ["serve", *rest]:
            from trialogue.demo.brain import add_demo_script
            from trialogue.testing.serve import main as serve

            add_demo_script()
            return serve(rest)
        case ["report", *rest]:
            from trialogue.records.cli import main as report

            return report(rest)
        case [] | ["-h" | "--help"]:
            print(_HELP, end="")
            return 0
        case ["--version"]:
            print(__version__)
            return 0
        case [unknown, *_]:
            print(
                f"trialogue: no command {unknown!r}\n\n{_HELP}", end="", file=sys.stderr
            )
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
