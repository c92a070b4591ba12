"""From a TOML file to a scenario."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Union, get_args, get_origin

from trialogue.dialects.openai.wire import CLIENT_EVENTS
from trialogue.errors import ConfigurationError
from trialogue.testing import faults
from trialogue.testing.faults.mixture import CONNECT_RATES, FRAME_RATES, mixture
from trialogue.testing.machine import Pace, Settings
from trialogue.testing.machine.quirks import XAIQuirks
from trialogue.testing.network import Network
from trialogue.testing.scenarios.scenario import Scenario
from trialogue.testing.scenarios.tables import (
    Table,
    check_keys,
    fields_of_call,
    known_name,
)
from trialogue.tools.annotations import Namespace, is_union
from trialogue.tools.records import RecordField, fields_of

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping

    from trialogue.testing.faults import ConnectFault, Fault, Mixture

__all__ = ["DO", "SETTINGS", "fault_of", "load_scenario"]

DO: Final[Mapping[str, Callable[..., Fault | ConnectFault]]] = {
    make.__name__: make
    for make in (
        faults.swallow,
        faults.lose,
        faults.reject,
        faults.late,
        faults.hold,
        faults.duplicate,
        faults.fail_response,
        faults.quota,
        faults.cut,
        faults.close,
        faults.expire,
        faults.silence,
        faults.half_open,
        faults.stall,
        faults.garbage,
        faults.refuse_connect,
        faults.refuse_upgrade,
        faults.silent_connect,
        faults.slow_accept,
    )
}
"""What a table of `[[faults]]` may do: the functions, by name."""

_WHOSE: Final = {
    "lose": ("in", "a request of the client", "swallow"),
    "reject": ("in", "a request of the client", "swallow"),
    "swallow": ("out", "an answer of the server", "lose"),
}

_MIXTURE: Final = (
    RecordField("seed", int, False),
    RecordField("seconds", float, False),
    RecordField("events", list[str], False),
    RecordField("spare", list[str], False),
    RecordField("connections", int, False),
    *(RecordField(rate, float, False) for rate in (*FRAME_RATES, *CONNECT_RATES)),
)
_TOP: Final = ("seed", "network", "settings", "faults", "mixture")


NESTED: Final[Mapping[str, type[Any]]] = {"pace": Pace, "xai": XAIQuirks}
"""The settings that are tables of their own."""


def _data_of(fields: Iterable[RecordField]) -> Iterator[RecordField]:
    """Yield the fields that are data, each with what of it is; functions are not."""
    for field in fields:
        members = get_args(field.annotation) if is_union(field.annotation) else ()
        kinds = [one for one in members or (field.annotation,) if not _is_function(one)]
        if kinds and field.name not in NESTED:
            annotation: Any = Union[tuple(kinds)]  # noqa: UP007 - made, not written
            yield RecordField(field.name, annotation, False)


def _is_function(annotation: Any) -> bool:
    return get_origin(annotation) is Callable


SETTINGS: Final = tuple(_data_of(fields_of(Settings, Namespace({}))))
"""The settings that are data; what is a function has no place in a file."""


def load_scenario(path: str | os.PathLike[str]) -> Scenario:
    """Read a scenario from a TOML file.

    Raises:
        ConfigurationError: it says something that means nothing: the message names the
            file, the table and the key, and what was expected there.
        OSError: the file cannot be read.
    """
    file = Path(path)
    try:
        with file.open("rb") as stream:
            data = tomllib.load(stream)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: this is no TOML: {error}") from error
    try:
        return _scenario(data)
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {error}") from error


def _scenario(data: Mapping[str, Any]) -> Scenario:
    check_keys(data, _TOP, "the file")
    top = Table([RecordField("seed", int, False)], "the file")
    seed = top.read({key: data[key] for key in data if key == "seed"}).get("seed", 0)
    return Scenario(
        faults=[
            fault_of(table, f"[[faults]] {number}")
            for number, table in enumerate(_tables(data, "faults"), 1)
        ],
        mixtures=_mixtures(data, seed),
        network=_network(_table(data, "network")),
        settings=_settings(_table(data, "settings")),
        seed=seed,
    )


def _table(data: Mapping[str, Any], name: str, full: str = "") -> Mapping[str, Any]:
    table = data.get(name, {})
    if not isinstance(table, dict):
        full = full or name
        raise ConfigurationError(f"{full}: expected a table, [{full}]")
    return table


def _tables(data: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    tables = data.get(name, [])
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise ConfigurationError(f"{name}: expected tables, [[{name}]] each")
    return tables


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Say where something was refused."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from error


def fault_of(table: Mapping[str, Any], where: str) -> Fault | ConnectFault:
    """Make the fault that a table stands for.

    Raises:
        ConfigurationError: there is none such.
    """
    if "do" not in table:
        names = ", ".join(DO)
        raise ConfigurationError(f"{where}: do: expected one of {names}, got nothing")
    do = known_name(table["do"], DO, f"{where}: do")
    make = DO[do]
    rest = {key: value for key, value in table.items() if key != "do"}
    where = f"{where} ({do})"
    arguments = Table(fields_of_call(make), where).read(rest)
    if do in _WHOSE:
        _check_direction(do, arguments["type"], where)
    with _at(where):
        return make(**arguments)


def _check_direction(do: str, kind: str, where: str) -> None:
    direction, wanted, other = _WHOSE[do]
    if (direction == "in") != (kind in CLIENT_EVENTS):
        msg = f"{where}: event: expected {wanted}, got {kind!r} (is it do = {other!r}?)"
        raise ConfigurationError(msg)


def _mixtures(data: Mapping[str, Any], seed: int) -> list[Mixture]:
    found = data.get("mixture", [])
    if isinstance(found, dict):
        return [_mixture(found, seed, "[mixture]")]
    return [
        _mixture(table, seed, f"[[mixture]] {number}")
        for number, table in enumerate(_tables(data, "mixture"), 1)
    ]


def _mixture(table: Mapping[str, Any], seed: int, where: str) -> Mixture:
    arguments: dict[str, Any] = {"seed": seed, **Table(_MIXTURE, where).read(table)}
    with _at(where):
        return mixture(**arguments)


def _network(table: Mapping[str, Any]) -> Network:
    values = Table(fields_of(Network, Namespace({})), "[network]").read(table)
    with _at("[network]"):
        return Network(**values)


def _settings(table: Mapping[str, Any]) -> Settings:
    values = Table(SETTINGS, "[settings]", NESTED).read(
        {key: value for key, value in table.items() if key not in NESTED}
    )
    for name, cls in NESTED.items():
        if name in table:
            full = f"settings.{name}"
            keys = Table(fields_of(cls, Namespace({})), f"[{full}]")
            values[name] = cls(**keys.read(_table(table, name, full)))
    return Settings(**values)
