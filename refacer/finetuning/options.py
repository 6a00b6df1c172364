"""Two configurations of a run compared, in the words of the command line."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

from refacer.commands import finetune as command

MAY_CHANGE = {"kimg", "tick_kimg", "sample_count", "accumulate", "batch_gpu", "compile"}
"""Options that a resumed run may change without becoming another run; the device is none of its options."""

SPELLED = {
    "tick_kimg": "--tick",
    "base_sha256": "--base",
    "data_sha256": "the pictures",
    "data_count": "the number of pictures",
}


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What differs, as text; what an older version did not record is not compared."""
    flat_old, flat_new = _flat(old), _flat(new)
    names = [n for n in flat_new if n in flat_old and n not in MAY_CHANGE and flat_old[n] != flat_new[n]]
    return ", ".join(f"{spelled(n)} ({_short(flat_old[n])} there, {_short(flat_new[n])} here)" for n in names)


def spelled(name: str) -> str:
    """The option that sets a value; its own name where there is none."""
    typed = inspect.signature(command.finetune).parameters
    return SPELLED.get(name) or (f"--{name.replace('_', '-')}" if name in typed else name)


def _short(value: Any) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 and text.isalnum() else text


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    items: dict[str, Any] = {}
    for name, value in values.items():
        items.update(value if isinstance(value, Mapping) else {name: value})
    return json.loads(json.dumps(items))
