"""Writer of bodies as the server writes them, byte for byte like the published ones: the JSON of PHP, and XML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from xml.sax.saxutils import escape

Value = int | float | None

_DECLARATION = '<?xml version="1.0"?>\n'


def php_number(value: Value) -> str:
    """Return a number as PHP prints it: without a fraction of zero, and with no leading zero in the exponent."""
    if isinstance(value, int):
        return str(value)
    if value is None:
        return "null"
    if value != value:  # noqa: PLR0124 - only NaN differs from itself
        return "NaN"
    text = repr(value)
    if text.endswith(".0"):
        return text[:-2]
    mantissa, exponent, power = text.partition("e")
    if not exponent:
        return text
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{int(power):+d}"


def php_string(text: str) -> str:
    """Return a JSON string with the escapes of PHP."""
    return json.dumps(text).replace("/", "\\/")


def json_object(fields: Mapping[str, str]) -> bytes:
    """Return a flat JSON object of strings."""
    return ("{" + ",".join(f"{php_string(key)}:{php_string(text)}" for key, text in fields.items()) + "}").encode()


def xml_object(fields: Mapping[str, str]) -> bytes:
    """Return a flat XML document of texts."""
    inner = "".join(f"<{key}>{escape(text)}</{key}>" for key, text in fields.items())
    return f"{_DECLARATION}<result>{inner}</result>\n".encode()


def json_figures(figures: Mapping[str, Mapping[int, Value]]) -> bytes:
    """Return figures as JSON; an empty map is an empty array, as PHP writes it."""
    if not figures:
        return b"[]"
    return (
        "{" + ",".join(f"{php_string(name)}:{_json_map(values)}" for name, values in figures.items()) + "}"
    ).encode()


def xml_figures(figures: Mapping[str, Mapping[int, Value]]) -> bytes:
    """Return figures as XML."""
    inner = "".join(_xml_map(name, values) for name, values in figures.items())
    return f"{_DECLARATION}{f'<result>{inner}</result>' if inner else '<result/>'}\n".encode()


def _json_map(values: Mapping[int, Value]) -> str:
    if not values:
        return "[]"
    return "{" + ",".join([f'"{epoch}":{php_number(value)}' for epoch, value in values.items()]) + "}"


def _xml_map(name: str, values: Mapping[int, Value]) -> str:
    if not values:
        return f"<{name}/>"
    items = [
        f'<item timestamp="{epoch}"/>' if value is None else f'<item timestamp="{epoch}">{php_number(value)}</item>'
        for epoch, value in values.items()
    ]
    return f"<{name}>{''.join(items)}</{name}>"
