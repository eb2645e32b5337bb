from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.config.phones import merge, normalize, read_lines
from harvester.config.value_types import Phone
from tests.support.examples import examples

TEN = st.integers(min_value=2_000_000_000, max_value=9_999_999_999).map(str)


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("8005551234", "8005551234"),
        ("(800) 555-1234", "8005551234"),
        ("800.555.1234", "8005551234"),
        ("800/555-1234", "8005551234"),
        ("1-800-555-1234", "8005551234"),
        ("+1 800 555 1234", "8005551234"),
        (" +1 (800) 555\N{NON-BREAKING HYPHEN}1234\N{NO-BREAK SPACE}", "8005551234"),
        (8005551234, "8005551234"),
        (18005551234, "8005551234"),
        ("+44 20 7946 0000", "442079460000"),
        ("ALL", "ALL"),
        (" all ", "ALL"),
    ],
)
def test_the_usual_notations_of_a_number(written: object, number: str) -> None:
    assert normalize(written) == number


@pytest.mark.parametrize(
    "written",
    [
        "",
        "+",
        "ALLE",
        "800 555 123",
        "800 555 12345",
        "28005551234",
        "+1 800 555 123",
        "+1 2345 678 901 23",
        "+123456",
        "+2345678901234567",
        "1-800-FLOWERS",
        "8005551234 x12",
        "\N{ARABIC-INDIC DIGIT EIGHT}005551234",
        "800+5551234",
        -8005551234,
        True,
        None,
        8005551234.0,
        10**400,
        ["8005551234"],
    ],
)
def test_anything_else_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="digits"):
        normalize(written)


@given(TEN, st.data())
@examples(50)
def test_separators_between_the_digits_change_nothing(digits: str, data: st.DataObject) -> None:
    separators = st.text(alphabet=" -.()/", max_size=2)
    formatted = "".join(data.draw(separators) + digit for digit in digits)
    before = data.draw(st.sampled_from(["", "1", "+1", "+1 ", "1-"]))
    assert normalize(before + formatted) == digits


@given(st.text(max_size=20))
@examples(100)
def test_an_accepted_number_is_all_or_ascii_digits_and_stays_the_same(written: str) -> None:
    try:
        number = normalize(written)
    except ValueError:
        return
    assert number == "ALL" or (number.isascii() and number.isdigit())
    assert normalize(number if len(number) in {3, 10} else "+" + number) == number


def test_a_file_of_phones() -> None:
    text = """# our lines
8005551234
(800) 555-1235 Sales
+1 800 555 1236, Sales, East
8005551237\t24h hotline
800 555 1238 # the old one, gone soon
8005551239;Suite #4
all  Everything

+44 20 7946 0000, London
"""
    assert [phone for _, phone in read_lines(text)] == [
        Phone("8005551234"),
        Phone("8005551235", "Sales"),
        Phone("8005551236", "Sales, East"),
        Phone("8005551237", "24h hotline"),
        Phone("8005551238"),
        Phone("8005551239", "Suite #4"),
        Phone("ALL", "Everything"),
        Phone("442079460000", "London"),
    ]


def test_a_bad_line_is_reported_with_its_number_and_the_others_are_read() -> None:
    found = dict(read_lines("8005551234\n\nphone,name\n8005551235"))
    assert found[1] == Phone("8005551234")
    assert isinstance(found[3], str)
    assert '"phone,name" is not a phone number' in found[3]
    assert found[4] == Phone("8005551235")


@given(st.text(max_size=60))
@examples(100)
def test_no_text_breaks_the_reader(text: str) -> None:
    assert all(isinstance(found, str | Phone) for _, found in read_lines(text))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("8005551234 8005551235", "more than one number"),
        ("8005551234, 8005551235, Sales", "more than one number"),
        ("8005551234;+44 20 7946 0000", "more than one number"),
        ("8005551234 Sales (800) 555-1235", "more than one number"),
        ("ALL 8005551234", "more than one number"),
        ("8005551234,ALL", "more than one number"),
        ("800 555 1234 55", "more digits"),
        ("8005551234,1235", "more digits"),
        ("+44 20 7946 0000 / 0001 2", "more digits"),
        ("8005551234 55 Sales", "put a comma before the name"),
        ("0044 20 7946 0000", "write ten digits, or \\+ and the country code"),
        ("0044 20 7946 London", "write ten digits, or \\+ and the country code"),
        ("0207946000", "begins with 0 like no number; write ten digits, or \\+ and the country code"),
        ("1 800 555 123", "begins with 1 like no number; write ten digits, or \\+ and the country code"),
        ("1 020 555 1234", "begins with 0"),
        ("+0044 20 7946 0000", "begins with 0"),
        ("+44 (0)20 7946 0000", 'has "\\(0\\)".*leave it out'),
        ("+44 ( 0 ) 20 7946 0000 London", 'has "\\(0\\)".*leave it out'),
    ],
)
def test_a_line_that_is_more_than_one_number_and_a_name_is_refused_with_the_remedy(line: str, reason: str) -> None:
    [(_, found)] = read_lines(line)
    assert isinstance(found, str), found
    assert re.search(reason, found)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("8005551234 # was 8005551235 until 2020", None),
        ("8005551234, 55 Sales", "55 Sales"),
        ("8005551234\t3 shops", "3 shops"),
        ("8005551234 Sales since 2024-01-05", "Sales since 2024-01-05"),
        ("8005551234 \N{EM DASH} Sales", "Sales"),
    ],
)
def test_digits_that_cannot_belong_to_the_number_are_a_name(line: str, name: str | None) -> None:
    assert list(read_lines(line)) == [(1, Phone("8005551234", name))]


@given(TEN, st.integers(min_value=0, max_value=10**12), st.sampled_from([" ", ",", "; ", "\t", " / ", " - "]))
@examples(100)
def test_digits_behind_a_number_never_vanish_in_a_name(number: str, more: int, between: str) -> None:
    [(_, found)] = read_lines(f"{number}{between}{more}")
    assert isinstance(found, str)


def test_a_number_given_twice_is_one_and_keeps_its_name() -> None:
    twice = [Phone("8005551234"), Phone("ALL"), Phone("8005551234", "Sales"), Phone("8005551234")]
    assert merge(twice) == (Phone("8005551234", "Sales"), Phone("ALL"))


def test_two_names_for_one_number_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="two names"):
        merge([Phone("8005551234", "Sales"), Phone("8005551234", "Support")])
