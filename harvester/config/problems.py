"""Translation of pydantic's errors into one line each, with the place where the value was written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harvester.config.entries import Entry
from harvester.config.wording import none_of, quoted

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_CONFIDENTIAL = frozenset({"url", "proxy", "ping_url", "login", "base_url"})  # may contain a password or a token
_WORDS: Mapping[str, str] = {
    "int": "must be a whole number",
    "float": "must be a number",
    "finite": "must be a finite number",
    "bool": "must be true or false",
    "string": "must be text, in quotes",
    "tuple": 'must be a list, like ["one", "two"]',
    "path": "must be a path, in quotes",
}
_LIMITS: Mapping[str, tuple[str, str]] = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def describe(error: ValidationError, entries: Mapping[str, Entry], missing: Callable[[str], str]) -> list[str]:
    """Return one line for each mistake of a section.

    Args:
        error: pydantic's error of the section.
        entries: the keys of the section as they were written.
        missing: returns the place to name for a key that is not among them.
    """
    lines = []
    for detail in error.errors(include_url=False):
        field = str((detail["loc"] or (detail.get("ctx", {}).get("field", ""),))[0])
        item = "".join(f"[{step + 1}]" for step in detail["loc"][1:] if isinstance(step, int))
        place = entries[field].place if field in entries else missing(field)
        lines.append(f"{place}{item}: {_sentence(detail, field)}")
    return lines


def _sentence(detail: ErrorDetails, field: str) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    written = "" if field in _CONFIDENTIAL else f"; it is {_written(detail['input'])}"
    if kind in _LIMITS:
        key, words = _LIMITS[kind]
        return f"must be {words} {context[key]:g}{written}"
    if kind in {"literal_error", "enum"}:
        return none_of(detail["input"], context["expected"].replace("'", "").replace(" or ", ", ").split(", "))
    if kind == "value_error":
        return str(context["error"])
    if kind == "field":
        return str(context["reason"])
    if kind in {"missing", "too_short"}:
        return "is missing" if kind == "missing" else "must not be empty"
    word = _WORDS.get(kind.partition("_")[0])
    return f"{word}{written}" if word else "has an invalid value"


def _written(value: Any) -> str:  # noqa: ANN401 - any value that can be written
    return quoted(value) if isinstance(value, str | int | float) else "a value of another kind"
