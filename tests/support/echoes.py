"""Secrets as a server may repeat them, and a search for them that shares no code with harvester/redaction.py."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable
from urllib.parse import quote, quote_plus, unquote, unquote_plus

ENCODERS: dict[str, Callable[[str], str]] = {
    "verbatim": str,
    "percent": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "lower hex": lambda text: re.sub("%..", lambda match: match[0].lower(), quote(text, safe="")),
    "json": lambda text: json.dumps(text)[1:-1],
    "php": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "unicode": lambda text: "".join(f"\\u{ord(char):04x}" for char in text),
    "markup": html.escape,
    "json in json": lambda text: json.dumps(json.dumps(text)[1:-1])[1:-1],
    "percent twice": lambda text: quote(quote(text, safe=""), safe=""),
}
_DECODERS: tuple[Callable[[str], str], ...] = (
    unquote,
    unquote_plus,
    html.unescape,
    lambda text: re.sub(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", _unescaped, text, flags=re.DOTALL),
)
PREFIX_LENGTH = 4  # characters of a secret that count as a leak


def basic(login: str, password: str) -> str:
    return base64.b64encode(f"{login}:{password}".encode()).decode()


def leaks(texts: Iterable[str], secrets: Iterable[str]) -> list[str]:
    """Return the texts that contain the prefix of a secret in any encoding."""
    prefixes = [secret[:PREFIX_LENGTH] for secret in secrets]
    return [text for text in texts if any(prefix in decoded for decoded in _decoded(text) for prefix in prefixes)]


def _decoded(text: str) -> set[str]:
    found = {text}
    for _ in range(3):
        found |= {decode(one) for one in found for decode in _DECODERS}
    return found


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else str(match[3])
