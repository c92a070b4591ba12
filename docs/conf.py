"""How the pages are built: `nox -s docs`. Nothing is fetched from the network."""

from __future__ import annotations

import importlib
import re
from typing import Any, Final

from sphinx.ext.napoleon import Config, GoogleDocstring

project = "trialogue"
author = "the trialogue authors"
project_copyright = author

extensions = ["sphinx.ext.autodoc", "sphinxcontrib_trio", "myst_parser"]
html_theme = "furo"
html_title = "trialogue"
html_show_sourcelink = False
exclude_patterns = ["_build"]

# One backtick around a public name links to it; around anything else it is code.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
myst_heading_anchors = 3

NAMESPACES: Final = (
    "trialogue",
    "trialogue.events",
    "trialogue.audio",
    "trialogue.conversation",
    "trialogue.tools",
    "trialogue.testing",
)
"""From where public names are imported; a bare one is looked up in this order."""

GOOGLE_STYLE: Final = Config(
    napoleon_use_ivar=True,
    napoleon_custom_sections=[
        ("Raises, in the iteration", "raises"),
        ("The returned function raises", "raises"),
    ],
)

nitpick_ignore_regex = [
    # Other projects' names: their pages would have to be fetched to link to them.
    ("py:.*", r"(trio|ssl|collections|random|contextlib|os|re)\..*"),
    ("py:class", r"AbstractAsyncContextManager"),
    # Type variables.
    ("py:class", r"(trialogue\..*\.)?(A|P|Q|R|T|R_co)"),
    # Shapes of the provider's protocol, named as the provider names them.
    ("py:class", r"trialogue\.dialects\.openai\.wire\..*"),
    # The members of unions; the functions that make or read them are documented.
    ("py:class", r"trialogue\.testing\.faults\..*|ConnectFault"),
    ("py:class", r"trialogue\.tools\.outcome\..*"),
    # Written out where they are used.
    ("py:class", r"Instructions|MessageContent"),
    # What a session, a model or a tool is made of inside.
    ("py:class", r"(trialogue\..*\.)?(Dialect|Link|Drain|Connect|Request|Origin)"),
    (
        "py:class",
        r"(trialogue\..*\.)?(Listener|Machine|Conversation|ArgumentReader|_Decorator)",
    ),
]


def _public(name: str) -> str | None:
    """The full name of a public thing that a docstring or a signature calls `name`."""
    first = name.split(".")[0]
    for namespace in NAMESPACES:
        if hasattr(importlib.import_module(namespace), first):
            return f"{namespace}.{name}"
    return None


def resolve(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Find what a name means: a public name by its last part, or plain code."""
    if node.get("refdomain") != "py":
        return None
    name = re.sub(r"^trialogue\.[a-z_.]+\.(?=[A-Z])", "", node["reftarget"])
    target = _public(name)
    if target is not None:
        found = env.get_domain("py").resolve_xref(
            env, node["refdoc"], app.builder, "obj", target, node, content
        )
        if found is not None:
            return found
    # From prose: a parameter, a value, a name of the protocol.
    return content if node["reftype"] == "obj" else None


def read_docstring(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Turn a docstring of Google's style into reStructuredText.

    A property is read as a method is: what stands in front of its first colon is no
    type. Fields that are told of together get one line, which must not hold a space.
    """
    style = "method" if what in ("property", "attribute") else what
    read = GoogleDocstring(lines, GOOGLE_STYLE, app, style, name, obj, options).lines()
    together = re.compile(r"^(:ivar \w+(?:, \w+)+:)")
    lines[:] = [together.sub(_joined, line) for line in read]


def read_signature(
    app: Any, what: str, name: str, obj: Any, options: Any, shown: Any, returns: Any
) -> tuple[Any, Any]:
    """Show the clock by its name, and of an `async with` what it gives."""
    if shown is not None:
        shown = shown.replace("<built-in function time>", "time.time")
    if returns is not None and hasattr(obj, "__wrapped__"):
        returns = re.sub(r"^AsyncIterator\[(.*)\]$", r"\1", returns)
    return shown, returns


def _joined(found: re.Match[str]) -> str:
    return found[1].replace(", ", ",")


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("autodoc-process-signature", read_signature)
