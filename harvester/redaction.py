r"""Removal of secrets from foreign text: what a server, a proxy or a database driver writes.

A border (the API's HTTP, the database's driver) has one `Redactor`. Each secret is registered before it is sent across
the border: what was not sent cannot be echoed. Each foreign text passes `Redactor.redact` before it is shortened,
stored, logged or put into an exception. Our own text does not pass it: with the password "main", the name of the
account "main" must stay readable.

An echo is found verbatim; percent-encoded (hex digits of either case, UTF-8 or Latin-1, "+" for a blank); with the
escapes of JSON (`\u00e9`, `\/`, `\"`) or Python (`\xe9`); with the entities of XML and HTML; in the Base64 of a Basic
authorization; and in mixtures of these, nested up to MAX_ENCODING_LAYERS deep. The text is decoded layer by layer, and
each decoded character has its position in the original, where the match is masked.

A text may be cut inside a secret, by the server or on the way. So a prefix of a secret is masked as well, from
MIN_PREFIX_LENGTH characters on, at the end of the text and before an ellipsis; also an escape sequence that was cut.

A secret shorter than MIN_PREFIX_LENGTH is masked only where it is a word of its own ("password=ab", not "about"). To
mask it inside other words would make every text unreadable and would reveal the secret.

Rejected: a regular expression per secret with all forms of each character (a password may have 64 KiB, and nested
encodings multiply the forms); masking a body before it is parsed (a password "calls" would destroy every answer).
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from urllib.parse import unquote, urlsplit

MASK = "***"
MIN_PREFIX_LENGTH = (
    4  # characters of a secret that are masked where the text was cut; a shorter secret is masked as a word
)
MAX_SEARCHED_LENGTH = 2048  # characters that are searched; the rest is dropped, messages are far shorter
MAX_ENCODING_LAYERS = 4  # of encodings around each other
MAX_TEMPORARY_PAIRS = 8  # temporary pairs remembered; a late answer repeats the last one or the one before

_HEX = "[0-9a-fA-F]"
_PERCENT_UTF_8 = re.compile(
    "%[0-7]H|%[cdCD]H%[89abAB]H|%[eE]H(?:%[89abAB]H){2}|%[fF][0-7](?:%[89abAB]H){3}".replace("H", _HEX)
)
_PERCENT_BYTE = re.compile("%HH".replace("H", _HEX))
_BACKSLASH = re.compile(
    r"\\u[dD][89abAB]HH\\u[dD][c-fC-F]HH|\\uHHHH|\\U000HHHHH|\\U0010HHHH|\\xHH|\\[^uUx]".replace("H", _HEX), re.DOTALL
)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX]H{1,6}|[a-zA-Z]{2,31});".replace("H", _HEX))
_PLUS = re.compile(r"\+")
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_CUT_ESCAPE = re.compile(
    r"(?:%H?"
    r"|(?:\\u[dD][89abAB]HH)?(?:\\(?:uH{0,3}|xH?|UH{0,7})?)?"
    r"|&#?[0-9a-zA-Z]{0,31})\Z".replace("H", _HEX)
)
_CLOSING_MARKS = " \t\r\n\"'`)]}>.,;:\\"
_ELLIPSIS = re.compile(r"\.\.\.|\u2026")
_URL_QUERY_PASSWORD = re.compile(r"((?:ssl)?password=)[^&]*", re.IGNORECASE)
_URL_USER_PASSWORD = re.compile(r"^([a-z0-9+]+://[^:/?@]*):.*@", re.IGNORECASE | re.DOTALL)


def hide_url_password(url: str) -> str:
    """Return the URL with its passwords masked; of a malformed URL too much is masked rather than too little."""
    return _URL_QUERY_PASSWORD.sub(rf"\1{MASK}", _URL_USER_PASSWORD.sub(rf"\1:{MASK}@", url))


class Redactor:
    """Filter for the texts that come over one border; it knows the secrets that were sent over it."""

    def __init__(self, *secrets: str | None) -> None:
        """Register `secrets`; None and empty ones are ignored."""
        self._secrets: set[str] = set()
        self._pairs: deque[frozenset[str]] = deque(maxlen=MAX_TEMPORARY_PAIRS)
        self.add(*secrets)

    def add(self, *secrets: str | None) -> None:
        """Register secrets permanently."""
        self._secrets.update(chain.from_iterable(_forms(secret) for secret in secrets if secret))

    def add_login(self, login: str, password: str) -> None:
        """Register a password permanently, also in a Basic authorization; the login is no secret."""
        self.add(password, *_basic(login, password))

    def add_url_login(self, url: str | None) -> None:
        """Register the password in a URL permanently, as it is written there and decoded."""
        try:
            parts = urlsplit(url or "")
        except ValueError:  # libpq accepts more than valid URLs; its parser finds the password
            return
        if parts.password:
            self.add(parts.password)
            self.add_login(unquote(parts.username or ""), unquote(parts.password))

    def add_temporary(self, login: str, password: str) -> None:
        """Register a temporary login and password; the oldest of MAX_TEMPORARY_PAIRS is dropped."""
        found = (login, password, *_basic(login, password))
        self._pairs.append(frozenset(chain.from_iterable(_forms(secret) for secret in found if secret)))

    def redact(self, text: str) -> str:
        """Return the first MAX_SEARCHED_LENGTH characters of a foreign text with MASK in the place of every secret."""
        text = text[:MAX_SEARCHED_LENGTH]
        return _masked(text, self._found(text))

    def is_clean(self, text: str) -> bool:
        """Return True if the text certainly repeats no secret; False for one that is too long to be searched."""
        return not self._known or (len(text) <= MAX_SEARCHED_LENGTH and not self._found(text))

    @property
    def _known(self) -> set[str]:
        return self._secrets.union(*self._pairs)

    def _found(self, text: str) -> list[tuple[int, int]]:
        if not (secrets := self._known):
            return []
        return sorted(span for view in _views(text) for span in _found_in(view, secrets))

    def __repr__(self) -> str:
        return f"Redactor({len(self._known)} forms)"


@dataclass(frozen=True, slots=True)
class _View:
    """Text after some layers of decoding.

    Character `i` comes from the original's characters `starts[i]` to `starts[i + 1]`. A text that ends here was cut at
    the original's `end`.
    """

    text: str
    starts: list[int]
    end: int

    def decoded(self, pattern: re.Pattern[str], decode: Callable[[str], str]) -> _View:
        """Return the view with each match of `pattern` replaced by the one character that `decode` makes of it."""
        texts: list[str] = []
        starts: list[int] = []
        end = 0
        for match in pattern.finditer(self.text):
            if len(char := decode(match[0])) == 1:
                texts += (self.text[end : match.start()], char)
                starts += self.starts[end : match.start() + 1]
                end = match.end()
        return _View("".join([*texts, self.text[end:]]), starts + self.starts[end:], self.end)

    def without_cut_escape(self) -> _View:
        """Return the view without an escape sequence that was cut at its end."""
        match = _CUT_ESCAPE.search(self.text)
        if match is None or not match[0]:
            return self
        keep = match.start()
        return _View(self.text[:keep], self.starts[: keep + 1], self.end)


def _views(text: str) -> Iterator[_View]:
    """Yield the text, then its decoded forms layer by layer, each different one once."""
    layer = [_View(text, list(range(len(text) + 1)), len(text))]
    seen: set[str] = set()
    for _ in range(MAX_ENCODING_LAYERS + 1):
        following: list[_View] = []
        for view in chain.from_iterable((one, one.without_cut_escape()) for one in layer):
            if view.text in seen:
                continue
            seen.add(view.text)
            yield view
            following += (view.decoded(pattern, decode) for mark, pattern, decode in _DECODERS if mark in view.text)
        layer = following


def _found_in(view: _View, secrets: set[str]) -> Iterator[tuple[int, int]]:
    """Yield the stretches of the original text that are a secret, whole or cut."""
    text, starts, ends = view.text, view.starts, _cuts(view.text)
    for secret in secrets:
        for at in _positions(text, secret):
            end = at + len(secret)
            if len(secret) >= MIN_PREFIX_LENGTH or _is_word(text, at, end):
                yield starts[at], starts[end]
        if len(secret) > MIN_PREFIX_LENGTH:
            for at in _positions(text, secret[:MIN_PREFIX_LENGTH]):
                for end in ends[bisect_left(ends, at + MIN_PREFIX_LENGTH) : bisect_left(ends, at + len(secret))]:
                    if secret.startswith(text[at:end]):
                        yield starts[at], view.end if end == len(text) else starts[end]


def _cuts(text: str) -> list[int]:
    """Return where the text may have been cut: at its end or among the closing marks there, and at each ellipsis."""
    last = len(text.rstrip(_CLOSING_MARKS))
    return sorted({*range(last, len(text) + 1), *(match.start() for match in _ELLIPSIS.finditer(text))})


def _positions(text: str, part: str) -> Iterator[int]:
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)


def _is_word(text: str, start: int, end: int) -> bool:
    """Return True if no letter or digit continues the stretch on either side."""
    before = start > 0 and text[start].isalnum() and text[start - 1].isalnum()
    after = end < len(text) and text[end - 1].isalnum() and text[end].isalnum()
    return not (before or after)


def _masked(text: str, spans: list[tuple[int, int]]) -> str:
    pieces: list[str] = []
    done = 0
    for start, end in spans:
        if start > done or not pieces:
            pieces += (text[done:start], MASK)
        done = max(done, end)
    return "".join([*pieces, text[done:]])


def _forms(secret: str) -> set[str]:
    """Return the secret, the same stripped of blanks, and its UTF-8 bytes read as Latin-1."""
    garbled = secret.encode("utf-8", "surrogatepass").decode("latin-1")
    return {secret, secret.strip(), garbled} - {""}


def _basic(login: str, password: str) -> Iterator[str]:
    """Yield the Base64 of `login:password`: of UTF-8 and Latin-1, in both alphabets, without padding."""
    pair = f"{login}:{password}"
    for encoding in ("utf-8", "latin-1"):
        encoded = base64.b64encode(pair.encode(encoding, "replace")).decode().rstrip("=")
        yield encoded
        yield encoded.translate(str.maketrans("+/", "-_"))


def _bytes(escape: str) -> bytes:
    return binascii.unhexlify(escape.replace("%", ""))


def _backslash(escape: str) -> str:
    if len(escape) == len("\\n"):
        return _CONTROLS.get(escape[1], escape[1])
    codes = [int(code, 16) for code in re.split(r"\\[uUx]", escape)[1:]]
    return "".join(map(chr, codes)).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_DECODERS: tuple[tuple[str, re.Pattern[str], Callable[[str], str]], ...] = (
    # The mark without which there is no match, the matches, and the character that each stands for.
    ("%", _PERCENT_UTF_8, lambda escape: _bytes(escape).decode("utf-8", "replace")),
    ("%", _PERCENT_BYTE, lambda escape: _bytes(escape).decode("latin-1")),
    ("+", _PLUS, lambda _: " "),
    ("\\", _BACKSLASH, _backslash),
    ("&", _ENTITY, html.unescape),
)
