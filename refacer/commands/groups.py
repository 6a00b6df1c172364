"""Option groups: a dataclass of annotated fields becomes options, so that commands can share them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from inspect import Parameter
from typing import Any, get_type_hints


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
        built = {name: group(**{f.name: values.pop(f.name) for f in fields(group)}) for name, group in groups.items()}
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
    hints = get_type_hints(group, include_extras=True)
    for item in fields(group):
        yield Parameter(item.name, Parameter.KEYWORD_ONLY, default=_default(item), annotation=hints[item.name])


def _default(item: Field[Any]) -> Any:
    """The field's default; Typer makes a list of its own for each call."""
    if item.default_factory is not MISSING:
        return item.default_factory()
    return Parameter.empty if item.default is MISSING else item.default
