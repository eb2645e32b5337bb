"""Secrets in foreign text are masked in every encoding, whole or cut; nothing else is masked."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from harvester.redaction import MASK, MAX_SEARCHED_LENGTH, MAX_TEMPORARY_PAIRS, Redactor
from tests.support.examples import examples

# Each encodes one character as a server may do it.
CHARACTERS: dict[str, Callable[[str], str]] = {
    "verbatim": str,
    "percent": lambda char: quote(char, safe=""),
    "path": quote,
    "form": quote_plus,
    "lower hex": lambda char: (
        quote(char, safe="") if char.isalnum() and char.isascii() else quote(char, safe="").lower()
    ),
    "all percent": lambda char: "".join(f"%{byte:02x}" for byte in char.encode()),
    "latin-1": lambda char: quote(char, safe="", encoding="latin-1"),
    "json": lambda char: json.dumps(char)[1:-1],
    "php": lambda char: json.dumps(char)[1:-1].replace("/", "\\/"),
    "unicode": lambda char: "".join(f"\\u{unit:04X}" for unit in utf16(char)),
    "python": lambda char: char.encode("unicode_escape").decode(),
    "markup": html.escape,
    "decimal entities": lambda char: f"&#{ord(char)};",
    "hex entities": lambda char: f"&#x{ord(char):x};",
}
LAYERS = [
    *((name,) for name in CHARACTERS),
    ("json", "json"),
    ("percent", "percent"),
    ("json", "form"),
    ("form", "json"),
]
LAYERS += [("markup", "percent"), ("json", "markup"), ("json", "json", "percent")]
BEFORE = ("", "password=", '{"error":"wrong: ', "<b>", "%41 ", "\\u0041 ", "&amp;", "a+b ")
AFTER = ("", "&tool=dev", '"}', "</b>", "...", " %41", " \\n")
SECRETS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=4, max_size=40)


def utf16(char: str) -> list[int]:
    raw = char.encode("utf-16-be")
    return [int.from_bytes(raw[at : at + 2]) for at in range(0, len(raw), 2)]


def fits(secret: str, layers: tuple[str, ...]) -> bool:
    return "latin-1" not in layers or ord(max(secret)) < 256


def encoded(char: str, layers: tuple[str, ...]) -> str:
    for layer in layers:
        char = "".join(CHARACTERS[layer](one) for one in char)
    return char


@given(SECRETS, st.sampled_from(LAYERS), st.sampled_from(BEFORE), st.sampled_from(AFTER))
@example('p4ss/wörd+ "x\\', ("json", "json", "percent"), "", "")
@examples(600)
def test_a_secret_is_masked_in_every_encoding(secret: str, layers: tuple[str, ...], before: str, after: str) -> None:
    assume(fits(secret, layers) and secret.strip()[:4] not in before + after)
    text = before + "".join(encoded(char, layers) for char in secret) + after
    assert Redactor(secret).redact(text) == before + MASK + after


@given(SECRETS, st.sampled_from(LAYERS), st.sampled_from(BEFORE), st.data())
@examples(600)
def test_a_cut_secret_leaks_fewer_than_four_characters(
    secret: str, layers: tuple[str, ...], before: str, data: st.DataObject
) -> None:
    assume(fits(secret, layers) and secret[:4] not in before and not set(secret) & set('."}\u2026'))
    pieces = [encoded(char, layers) for char in secret]
    whole = data.draw(st.integers(4, len(secret) - 1)) if len(secret) > 4 else 4
    part = data.draw(st.integers(0, max(0, len(pieces[whole]) - 1))) if whole < len(pieces) else 0
    end = data.draw(st.sampled_from(["", "...", '"', '"}', "\u2026"])) if not part else ""
    cut = "".join(pieces[:whole]) + (pieces[whole][:part] if part else "")
    assert Redactor(secret).redact(before + cut + end) == before + MASK + end


@given(SECRETS.map(lambda text: text.replace("%", "")), st.data())
@examples(300)
def test_a_mixture_of_encodings_is_masked(secret: str, data: st.DataObject) -> None:
    names = ["all percent", "unicode", "hex entities"]
    plain = str.isalnum
    text = "".join(
        char if plain(char) and data.draw(st.booleans()) else encoded(char, (data.draw(st.sampled_from(names)),))
        for char in secret
    )
    assume(len(secret) >= 4)
    assert Redactor(secret).redact(text) == MASK


@pytest.mark.parametrize("login", ["me@example.com", "ÿ~?", ""])
@pytest.mark.parametrize("password", ["p4ssword", "pässwörd ✓", "ab", "???>>>"])
@pytest.mark.parametrize("temporary", [False, True])
def test_a_basic_authorization_is_masked(login: str, password: str, temporary: bool) -> None:  # noqa: FBT001 - a column
    redactor = Redactor()
    (redactor.add_temporary if temporary else redactor.add_login)(login, password)
    pair = f"{login}:{password}".encode()
    for form in (base64.b64encode(pair).decode(), base64.urlsafe_b64encode(pair).decode()):
        for written in (form, form.rstrip("="), quote(form, safe=""), json.dumps(form)[1:-1].replace("/", "\\/")):
            masked = redactor.redact(f"Authorization: Basic {written}")
            assert masked.rstrip("=").removesuffix("%3D").removesuffix("%3D") == f"Authorization: Basic {MASK}"


def test_the_login_of_a_tool_is_no_secret_and_a_temporary_one_is() -> None:
    redactor = Redactor()
    redactor.add_login("me@example.com", "p4ssword")
    redactor.add_temporary("57b264aa1b79", "25d421b1ee6c")
    text = "me@example.com got 57b264aa1b79 and 25D421B1EE6C for p4ssword, not 25d421b1ee6c"
    assert redactor.redact(text) == f"me@example.com got {MASK} and 25D421B1EE6C for {MASK}, not {MASK}"


@pytest.mark.parametrize(
    ("secret", "text", "masked"),
    [
        ("ab", "password=ab&about", "password=***&about"),
        ("ab", "cab ab", "cab ***"),
        ("ab", "%61%62", "***"),
        ("a", "a bad thing", "*** bad thing"),
        ("!!", "no!!", "no***"),
        ("ab ", "ab", "***"),  # as in an answer that strips its texts
        ("", "nothing", "nothing"),
        (None, "nothing", "nothing"),
    ],
)
def test_a_short_secret_is_masked_as_a_word_of_its_own(secret: str | None, text: str, masked: str) -> None:
    assert Redactor(secret).redact(text) == masked


@given(st.text("0123456789%\\&+;u.", max_size=60), st.text("0123456789%\\&+;u. xyz", max_size=200))
@examples(300)
def test_other_text_stays_as_it_is(rest: str, text: str) -> None:
    redactor = Redactor("abcd" + rest)  # its first characters occur in no text, however it is decoded
    assume("bcd" not in html.unescape(text))
    assert redactor.redact(text) == text
    assert redactor.is_clean(text)


def test_what_is_too_long_is_cut_and_not_called_clean() -> None:
    redactor = Redactor("p4ssword")
    text = "x" * (MAX_SEARCHED_LENGTH - 6) + "p4ssword"
    assert redactor.redact(text) == "x" * (MAX_SEARCHED_LENGTH - 6) + MASK
    assert not redactor.is_clean("x" * MAX_SEARCHED_LENGTH + "p4ssword")
    assert not redactor.is_clean("wrong: p4ssword")
    assert Redactor().is_clean("x" * 2 * MAX_SEARCHED_LENGTH)


def test_a_secret_longer_than_any_text_is_masked() -> None:
    secret = "s3cr" * 16_000
    assert Redactor(secret).redact(f"wrong: {secret}") == f"wrong: {MASK}"


def test_secrets_beside_and_within_each_other_are_masked_together() -> None:
    assert Redactor("p4ssword", "word99", "other").redact("p4ssword99other, other") == f"{MASK}, {MASK}"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://me:p4ss%2Fword@proxy:3128", "p4ss/word p4ss%2Fword bWU6cDRzcy93b3Jk"),
        ("http://:p4ssword@proxy", "p4ssword OnA0c3N3b3Jk"),
    ],
)
def test_the_password_of_a_proxy_is_masked(url: str, text: str) -> None:
    redactor = Redactor()
    redactor.add_url_login(url)
    assert set(redactor.redact(text).split()) == {MASK}


@pytest.mark.parametrize("url", [None, "", "http://proxy:3128", "http://me@proxy", "postgresql://u:p4ss@[h/db"])
def test_a_url_without_a_readable_password_adds_nothing(url: str | None) -> None:
    redactor = Redactor()
    redactor.add_url_login(url)
    assert redactor.redact("me@proxy") == "me@proxy"


def test_only_the_newest_temporary_pairs_are_remembered() -> None:
    redactor = Redactor()
    for number in range(MAX_TEMPORARY_PAIRS + 1):
        redactor.add_temporary(f"login-{number:04}", f"secret-{number:04}")
    assert redactor.redact("secret-0000") == "secret-0000"
    assert redactor.redact("secret-0001 login-0008") == f"{MASK} {MASK}"


def test_no_secret_in_its_repr() -> None:
    assert "p4ssword" not in repr(Redactor("p4ssword"))
