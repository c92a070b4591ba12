"""Named breakages of the source, and the two ways to make one.

A breakage is a function that takes a :class:`Patch` and makes the source wrong in
one way, in this process only. Its name is the mutant's name::

    @mutant("S5", "a rejected delete leaves its waiter hanging")
    def rejected_delete_hangs(patch: Patch) -> None:
        patch.source(
            "trialogue.realtime.ledger:Ledger.reject",
            "request.settled.set()",
            "pass",
        )
"""

from __future__ import annotations
import __future__

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

import attrs

MUTANTS_MODULE = "mutants"

_FUTURE_FLAGS = 0
for _feature in __future__.all_feature_names:
    _FUTURE_FLAGS |= getattr(__future__, _feature).compiler_flag


class MutantError(Exception):
    """A mutant that cannot be applied: its name, its target or its text is gone."""


@attrs.frozen
class Mutant:
    """One breakage: the row that should notice it, and what it breaks."""

    name: str
    row: str
    text: str
    apply: Callable[[Patch], None]


_registry: dict[str, Mutant] = {}


def mutant(
    row: str, text: str
) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Register the decorated function as a breakage that ``row`` must notice.

    Args:
        row: the behaviour's id; its tests are the ones run under the mutant.
        text: what is broken, in words that continue "a source in which ...".
    """

    def register(function: Callable[[Patch], None]) -> Callable[[Patch], None]:
        name = function.__name__
        if name in _registry:
            raise MutantError(f"two mutants are called {name!r}")
        _registry[name] = Mutant(name, row, text, function)
        return function

    return register


def load_mutants() -> dict[str, Mutant]:
    """Import ``tests/mutants``, all of it, and return its breakages by name."""
    package = importlib.import_module(MUTANTS_MODULE)
    for module in pkgutil.iter_modules(getattr(package, "__path__", ())):
        importlib.import_module(f"{MUTANTS_MODULE}.{module.name}")
    return dict(_registry)


def apply_mutant(name: str, *, rehearsal: bool = False) -> None:
    """Break the source in this process as the mutant ``name`` says.

    Args:
        rehearsal: only see whether it could be broken so.

    Raises:
        MutantError: there is no such mutant, or what it breaks no longer exists.
    """
    mutants = load_mutants()
    if name not in mutants:
        raise MutantError(f"tests/mutants has no such mutant; it has {list(mutants)}")
    try:
        mutants[name].apply(Patch(rehearsal=rehearsal))
    except (AttributeError, ImportError, LookupError) as error:
        raise MutantError(f"its target is gone: {error}") from error
    except SyntaxError as error:
        raise MutantError(f"its new text is no Python: {error}") from error


class Patch:
    """What a breakage may do. Nothing is undone: the process ends with the run.

    A target is written ``"package.module:Class.method"``. In a rehearsal everything is
    looked for, and nothing is changed.
    """

    def __init__(self, *, rehearsal: bool = False) -> None:
        self._rehearsal = rehearsal

    def replace(self, target: str, new: object) -> None:
        """Bind ``target``, which must exist, to ``new``.

        Modules that imported the old object by name keep it: replace it where it is
        used, or use :meth:`source`, which reaches everyone.
        """
        owner, name = _owner(target)
        getattr(owner, name)
        if not self._rehearsal:
            setattr(owner, name, new)

    def source(self, target: str, old: str, new: str) -> None:
        """Rewrite ``old``, which must stand once in the function, to ``new``.

        Both are written as they stand in the file, several lines with their margins.

        The function object stays and only its code changes, so whoever holds the
        function sees the breakage. Properties, static and class methods, and wrapped
        functions (context managers) are reached through.
        """
        function = _function(target)
        text = inspect.getsource(function)
        if text.count(old) != 1:
            raise MutantError(
                f"{target} holds {old!r} {text.count(old)} times, expected once"
            )
        code = _recompiled(function, text.replace(old, new))
        if code.co_freevars != function.__code__.co_freevars:
            raise MutantError(
                f"{target} uses {function.__code__.co_freevars} of its enclosing "
                f"scopes, its new text {code.co_freevars}: keep them in use"
            )
        if not self._rehearsal:
            function.__code__ = code


def _owner(target: str) -> tuple[Any, str]:
    module, _, path = target.partition(":")
    *parents, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for parent in parents:
        owner = getattr(owner, parent)
    return owner, name


def _function(target: str) -> FunctionType:
    owner, name = _owner(target)
    found: Any = inspect.getattr_static(owner, name)
    while not isinstance(found, FunctionType) or hasattr(found, "__wrapped__"):
        for inner in ("__wrapped__", "__func__", "fget", "func"):
            if hasattr(found, inner):
                found = getattr(found, inner)
                break
        else:
            raise MutantError(f"{target} is no function, but {found!r}")
    return found


def _recompiled(function: FunctionType, text: str) -> CodeType:
    """The code of ``text``, fit to replace the code of ``function``."""
    # A method's text is indented, and is a block of something only below an "if".
    tree = ast.parse("if True:\n" + text if text[0].isspace() else text)
    definition = next(
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    decorators, definition.decorator_list = definition.decorator_list, []
    # Names of enclosing scopes (zero-argument super() has one) must be free here too.
    free = [ast.arg(name) for name in function.__code__.co_freevars]
    outer = ast.parse("def outer(): pass").body[0]
    assert isinstance(outer, ast.FunctionDef)
    outer.args.args, outer.body = free, [definition]
    tree.body = [outer]
    first = min([definition.lineno, *(d.lineno for d in decorators)])
    ast.increment_lineno(tree, function.__code__.co_firstlineno - first)
    code = compile(
        ast.fix_missing_locations(tree),
        function.__code__.co_filename,
        "exec",
        flags=function.__code__.co_flags & _FUTURE_FLAGS,
        dont_inherit=True,
    )
    return _inner(_inner(code, "outer"), function.__name__)


def _inner(code: CodeType, name: str) -> CodeType:
    return next(
        const
        for const in code.co_consts
        if isinstance(const, CodeType) and const.co_name == name
    )
