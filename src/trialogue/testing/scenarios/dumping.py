"""From a scenario to a TOML file that means it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import attrs

from trialogue.errors import ConfigurationError
from trialogue.testing.faults import (
    Action,
    Close,
    ConnectFault,
    Cut,
    Delay,
    Drop,
    Duplicate,
    Expire,
    FailResponse,
    Fault,
    Garbage,
    HalfOpen,
    Hold,
    Mixture,
    Reject,
    Silence,
    Stall,
)
from trialogue.testing.machine import Settings
from trialogue.testing.scenarios.loading import DO, NESTED, SETTINGS, fault_of
from trialogue.testing.scenarios.tables import EACH, fields_of_call, optional

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trialogue.testing.machine.settings import Dialect
    from trialogue.testing.scenarios.scenario import Scenario

__all__ = ["dump_scenario", "with_dialect"]

_NAMES: Final[Mapping[type[Any], str]] = {
    Close: "close",
    Cut: "cut",
    Delay: "late",
    Duplicate: "duplicate",
    Expire: "expire",
    FailResponse: "fail_response",
    Garbage: "garbage",
    HalfOpen: "half_open",
    Hold: "hold",
    Reject: "reject",
    Silence: "silence",
    Stall: "stall",
}
_CONNECTING: Final[Mapping[str | int, str]] = {
    "refuse": "refuse_connect",
    "silent": "silent_connect",
    "slow": "slow_accept",
}


def dump_scenario(scenario: Scenario) -> str:
    """Return a scenario as TOML: `load_scenario` reads the same from it.

    Raises:
        ConfigurationError: something in it is a function, as a fault's `match` or
            `Settings.accepts_model`, and has no form in a file.
    """
    lines = [*_pairs({"seed": scenario.seed})]
    lines += _section("[network]", dict(changes(scenario.network)))
    lines += _settings(scenario.settings)
    for fault in scenario.faults:
        lines += _section("[[faults]]", _fault(fault))
    for mixture in scenario.mixtures:
        lines += _section("[[mixture]]", _mixture(mixture))
    return "\n".join(lines) + "\n"


def _section(head: str, table: Mapping[str, Any]) -> Iterator[str]:
    if table:
        yield from ("", head, *_pairs(table))


def _pairs(table: Mapping[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        yield f"{key} = {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, str):
        # A basic string of TOML is one of JSON, where DEL is escaped too.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, frozenset):
        return _value(sorted(value))
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)  # an integer or a float, "inf" among them


def _settings(settings: Settings) -> Iterator[str]:
    told = dict(changes(settings))
    data = {field.name for field in SETTINGS}
    for name, value in told.items():
        if callable(value) or not (name in data or name in NESTED):
            msg = f"Settings.{name} has no form in a file: {value!r}"
            raise ConfigurationError(msg)
    nested = {
        name: dict(changes(told.pop(name, cls()))) for name, cls in NESTED.items()
    }
    dialect = {} if settings.dialect == "openai" else {"dialect": settings.dialect}
    yield from _section("[settings]", {**dialect, **told})
    for name, table in nested.items():
        for key, value in table.items():
            if value is None:
                msg = f"Settings.{name}.{key} = None has no form in a file"
                raise ConfigurationError(msg)
        yield from _section(f"[settings.{name}]", table)


def changes(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what is not as usual; of settings, as is usual for their dialect."""
    is_settings = isinstance(value, Settings)
    usual = Settings(dialect=value.dialect) if is_settings else type(value)()
    for field in attrs.fields(type(value)):
        now = getattr(value, field.name)
        if now != getattr(usual, field.name):
            yield field.name, now


def with_dialect(settings: Settings, dialect: Dialect) -> Settings:
    """Return the settings in another dialect, with what is usual there."""
    return Settings(**{**dict(changes(settings)), "dialect": dialect})


def _mixture(mixture: Mixture) -> dict[str, Any]:
    return {
        "seed": mixture.seed,
        "seconds": mixture.seconds,
        **({} if mixture.events is None else {"events": sorted(mixture.events)}),
        "spare": sorted(mixture.spare),
        **({} if mixture.connections is None else {"connections": mixture.connections}),
        **mixture.rates,
    }


def _fault(fault: Fault | ConnectFault) -> dict[str, Any]:
    do, given = _call(fault)
    table: dict[str, Any] = {"do": do}
    for field in fields_of_call(DO[do]):
        value = given.get(field.name, field.default)
        if value is None and optional(field.annotation)[1]:
            value = EACH if field.name == "nth" else ""
        if given.get(field.name, field.default) != field.default:
            table[field.name] = value
    # What no function makes, and what is a function itself, would be lost.
    if fault_of(table, "a fault") != fault:
        raise ConfigurationError(f"this fault has no form in a file: {fault!r}")
    return table


def _call(fault: Fault | ConnectFault) -> tuple[str, dict[str, Any]]:
    """Return the name of the function that makes it, and what may be its arguments."""
    if isinstance(fault, ConnectFault):
        given = {**attrs.asdict(fault), "status": fault.how}
        return _CONNECTING.get(fault.how, "refuse_upgrade"), given
    given = {
        **_arguments(fault.action),
        **_moment(fault),
        "event": fault.type,
        "nth": fault.nth,
        "connection": fault.connection,
        "onwards": fault.onwards,
    }
    return _name(fault), given


def _name(fault: Fault) -> str:
    if isinstance(fault.action, Drop):
        return "lose" if fault.direction == "in" else "swallow"
    return _NAMES[type(fault.action)]


def _arguments(action: Action) -> dict[str, Any]:
    given = attrs.asdict(action)
    given.pop("before", None)
    if isinstance(action, FailResponse):
        given["error_type"] = given.pop("type")
    return given


def _moment(fault: Fault) -> dict[str, Any]:
    if fault.at is not None:
        return {"at": fault.at}
    # A stall has only one side.
    before = getattr(fault.action, "before", False)
    return {"before" if before else "after": fault.type}
