from __future__ import annotations

import csv
import io
import json
import os
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.cli.export import parse_request
from harvester.core.period import Period
from harvester.errors import UsageError
from harvester.links import ForeignLink
from harvester.reports.export import render, replacing, write
from tests.support.links import foreign_link

COLUMNS = ("phone", "phone_name", "epoch", "calls", "complete")
TODAY = date(2024, 3, 20)


def csv_of(*rows: tuple[object, ...]) -> list[str]:
    return list(render("csv", COLUMNS, rows))


def cell(value: object) -> str:
    """Return a value in the column of the name as a CSV reader parses it."""
    text = "".join(csv_of(("8005551234", value, 1, None, True)))
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert len(rows) == 2
    return rows[1][1]


# CSV


def test_csv_has_a_header_and_plain_cells() -> None:
    assert csv_of(("8005551234", 'Sales, "east"', 1704085200, 5.0, True), ("ALL", None, 0, 2.5, False)) == [
        "phone,phone_name,epoch,calls,complete\n",
        '8005551234,"Sales, ""east""",1704085200,5,true\n',
        "ALL,,0,2.5,false\n",
    ]


def test_csv_without_rows_is_a_header() -> None:
    assert csv_of() == ["phone,phone_name,epoch,calls,complete\n"]


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "\tx", "\rx", "=", "-", "+1 800 555 1234"])
def test_what_a_spreadsheet_would_run_is_quoted(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-5", "+1", "-2.5", "Front desk", "a=b", "'quoted", "8005551234", "2024-01-01", ""])
def test_plain_text_and_numbers_are_left_alone(text: str) -> None:
    assert cell(text) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (-3.0, "-3"),
        (0.1, "0.1"),
        (1e15, "1000000000000000"),
        (9e15, "9000000000000000"),
        (1e300, "1e+300"),
        (-2.5e-7, "-2.5e-07"),
        (7, "7"),
    ],
)
def test_numbers(number: float, text: str) -> None:
    assert cell(number) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_back_as_it_was(number: float) -> None:
    assert float(cell(number)) == number
    assert not cell(number).endswith(".0")
    (line,) = render("jsonl", ["calls"], [[number]])
    assert json.loads(line) == {"calls": number}
    assert ".0}" not in line


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
def test_any_text_survives(text: str) -> None:
    assert cell(text).removeprefix("'") == text.removeprefix("'")
    assert not cell(text).startswith(("=", "@", "\t", "\r"))


# JSON lines


def test_json_lines_keep_types() -> None:
    lines = list(render("jsonl", COLUMNS, [("8005551234", "Zoë =1", 1704085200, 5.0, True)]))
    assert lines == ['{"phone":"8005551234","phone_name":"Zoë =1","epoch":1704085200,"calls":5,"complete":true}\n']
    (line,) = render("jsonl", COLUMNS, [("8005551234", None, 1, 2.5, False)])
    assert json.loads(line) == {"phone": "8005551234", "phone_name": None, "epoch": 1, "calls": 2.5, "complete": False}


def test_rows_are_rendered_one_by_one() -> None:
    def rows() -> object:
        yield ("8005551234", None, 1, 1.0, True)
        raise AssertionError("read ahead")

    for kind, ahead in (("csv", 2), ("jsonl", 1)):
        lines = render(kind, COLUMNS, rows())  # type: ignore[arg-type]
        for _ in range(ahead):
            assert next(lines).endswith("\n")


# What is asked for


def test_by_default_days_without_limits() -> None:
    request = parse_request("performance", start=None, end=None)
    assert (request.periods, request.days(TODAY), request.phones, request.incomplete) == (
        [Period.DAY],
        (None, None),
        [],
        False,
    )


def test_days_and_filters() -> None:
    request = parse_request(
        "volume",
        start="2024-01-01",
        end="yesterday",
        phones=["(800) 555-1234", "all"],
        periods=["week", "day", "week"],
        resources=["volume"],
    )
    assert request.days(TODAY) == (date(2024, 1, 1), date(2024, 3, 19))
    assert request.phones == ["8005551234", "ALL"]
    assert request.periods == [Period.WEEK, Period.DAY]
    assert parse_request("volume", start="yesterday", end=None).days(TODAY) == (date(2024, 3, 19), None)
    assert parse_request("volume", start=None, end="today").days(TODAY) == (None, TODAY)


@pytest.mark.parametrize(
    ("resource", "options", "words"),
    [
        ("perfromance", {}, "did you mean performance?"),
        ("volume", {"resources": ["volume", "events"]}, "--resource events contradicts volume"),
        ("volume", {"periods": ["dya"]}, "did you mean day?"),
        ("volume", {"phones": ["12"]}, "--phone: "),
        ("volume", {"start": "soon"}, "--start: 'soon' is not a date"),
        ("volume", {"end": "2024-02-30"}, "--end: "),
        ("volume", {"start": "2024-02-02", "end": "2024-02-01"}, "is before"),
    ],
)
def test_an_invalid_request_is_refused(resource: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_request(resource, **{"start": None, "end": None, **options})  # type: ignore[arg-type]
    assert words in str(caught.value)


# The file


def test_a_file_is_replaced_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text("old")
    path.chmod(0o640)
    with replacing(path) as out:
        assert write(["a\n", "ü\n"], out) == 2
        assert path.read_text() == "old"
    assert path.read_bytes() == "a\nü\n".encode()
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_gets_the_usual_mode(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    with replacing(tmp_path / "calls.csv") as out:
        write(["a\n"], out)
    assert (tmp_path / "calls.csv").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text("old")

    def lines() -> object:
        yield "new\n"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), replacing(path) as out:
        write(lines(), out)  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "calls.csv", tmp_path / "link.csv"
    target.write_text("old")
    link.symlink_to(target)
    with replacing(link) as out:
        write(["new\n"], out)
    assert link.is_symlink()
    assert target.read_text() == "new\n"


def test_a_device_is_written_directly(tmp_path: Path) -> None:
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    with replacing(link) as out:
        assert write(["a\n"], out) == 1
    assert link.is_char_device()


def test_a_link_of_another_user_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("old")
    with pytest.raises(ForeignLink), replacing(foreign_link(tmp_path / "calls.csv", target)) as out:
        write(["new\n"], out)
    assert target.read_text() == "old"


def test_a_descriptor_of_this_process_is_written_directly(tmp_path: Path) -> None:
    file = tmp_path / "appended"
    reading, writing = os.pipe()
    with file.open("ab") as appended, os.fdopen(reading, "rb") as end:
        for name in (f"/dev/fd/{appended.fileno()}", f"/proc/self/fd/{appended.fileno()}", f"/dev/fd/{writing}"):
            with replacing(Path(name)) as out:
                write(["a\n"], out)
        os.close(writing)
        assert end.read() == b"a\n"
    assert file.read_text() == "a\na\n"
