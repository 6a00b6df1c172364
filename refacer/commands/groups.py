"""How a command is declared: a frozen dataclass of annotated fields among its parameters becomes options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from inspect import Parameter
from typing import Annotated, Any, get_origin, get_type_hints

import typer


def option(panel: str, help: str, *names: str, **settings: Any) -> Any:
    """A Typer option in a panel of `--help`."""
    return typer.Option(*names, help=help, rich_help_panel=panel, **settings)


def add_command(app: typer.Typer, function: Callable[..., None], example: str) -> None:
    """Add a function to the program as the command of its name, its groups spread into options."""
    app.command(function.__name__.replace("_", "-"), epilog=f"Example: {example}")(with_groups(function))


def with_groups(function: Callable[..., None]) -> Callable[..., None]:
    """Spread every dataclass among the parameters of `function` into one option a field, for Typer to see."""
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters = [
        flat
        for parameter in inspect.signature(function).parameters.values()
        for flat in _flattened(parameter.replace(annotation=hints[parameter.name]), groups)
    ]

    def command(**values: Any) -> None:
        built = {name: group(**{one: values.pop(one) for one in _options(group)}) for name, group in groups.items()}
        function(**values, **built)

    command.__doc__, command.__name__, command.__module__ = function.__doc__, function.__name__, function.__module__
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__dict__["__signature__"] = inspect.Signature(parameters)
    return command


def _flattened(parameter: Parameter, groups: dict[str, Any]) -> Iterator[Parameter]:
    """The parameter itself, or one for each field of its group; all keyword-only, so that any may have a default."""
    if parameter.name not in groups:
        yield parameter.replace(kind=Parameter.KEYWORD_ONLY)
        return
    group = groups[parameter.name]
    hints, defaults = _options(group), {item.name: item.default for item in fields(group)}
    for name, hint in hints.items():
        default = Parameter.empty if defaults[name] is MISSING else defaults[name]
        yield Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _options(group: Any) -> dict[str, Any]:
    """The annotated fields of a group; a field that it only inherits, without an option, keeps its default."""
    hints = get_type_hints(group, include_extras=True)
    return {item.name: hints[item.name] for item in fields(group) if get_origin(hints[item.name]) is Annotated}
