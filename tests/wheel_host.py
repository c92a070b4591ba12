"""A host application of the built wheel, run where nothing but the wheel is installed.

Not a test module: ``nox -s wheel`` runs it, isolated and with warnings as errors, in a
new environment. It ends with an exit status of 0, or says what is missing.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.resources
import importlib.util
import pkgutil
import sys
from pathlib import Path

import trialogue

EXTRAS = ("orjson", "pybase64")


def check_installation() -> None:
    """The package comes from the wheel, whole, typed, and without its extras."""
    home = Path(trialogue.__file__).parent
    assert home.is_relative_to(sys.prefix), f"{home} was not installed from the wheel"
    assert trialogue.__version__ == importlib.metadata.version("trialogue")
    package = importlib.resources.files("trialogue")
    assert package.joinpath("py.typed").is_file(), "the wheel lacks py.typed"
    for extra in EXTRAS:
        assert importlib.util.find_spec(extra) is None, f"{extra} should be absent"


def check_imports() -> int:
    """Every module can be imported with the declared dependencies alone."""
    names = [
        module.name
        for module in pkgutil.walk_packages(trialogue.__path__, "trialogue.")
        if not module.name.endswith("__main__")
    ]
    for name in names:
        importlib.import_module(name)
    return len(names)


def main() -> None:
    """Check what was installed, and run it."""
    check_installation()
    print(f"the wheel is whole: {check_imports()} modules import")


if __name__ == "__main__":
    main()
