from __future__ import annotations

import io
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from harvester.demo import figures, hints, pictures, setting

if TYPE_CHECKING:
    import pytest

FIRST = date(2024, 2, 27)


def row(phone: str, ahead: int, calls: float | None, errors: float = 0, load: float = 0.0) -> dict[str, object]:
    return {
        "phone": phone,
        "phone_name": None if phone == "1" else f"Number {phone}",
        "local_date": (FIRST + timedelta(days=ahead)).isoformat(),
        "calls": calls,
        "js_errors": errors,
        "fetch_errors": errors,
        "average_page_load": load,
    }


def days(*calls: int) -> list[tuple[date, int]]:
    return [(FIRST + timedelta(days=ahead), count) for ahead, count in enumerate(calls)]


def test_rows_are_summed_up_by_number_and_by_day() -> None:
    year = figures.tally([row("1", 0, 10, 1, 0.5), row("1", 1, 30, 0, 1.5), row("2", 1, 0), row("2", 3, None)])
    one, two = year.phones
    assert (one.name, one.days, one.calls, one.errors) == ("", 2, 40, 2)
    assert (one.calls_a_day, one.errors_in_100_calls, one.page_load) == (20, 5, 1.25)
    assert (two.name, two.calls_a_day, two.errors_in_100_calls, two.page_load) == ("Number 2", 0, 0, 0)
    assert year.newest(5) == [(FIRST - timedelta(days=1), 0), *days(10, 30, 0, 0)]


def test_a_database_without_a_row_can_be_shown() -> None:
    year = figures.tally([])
    assert year.newest(7) == []
    assert pictures.chart(year.newest(7), blocks=True) == []
    assert pictures.table(year).total[2:4] == ("0", "0.0")


def test_the_table_is_aligned_and_begins_with_the_busiest() -> None:
    year = figures.tally([row("1", 0, 5), row("2", 0, 1234)])
    assert pictures.aligned(pictures.table(year)) == [
        "Phone  Name      Calls    A day  Err. %  Load s",
        "-----  --------  -----  -------  ------  ------",
        "2      Number 2  1,234  1,234.0    0.00    0.00",
        "1                    5      5.0    0.00    0.00",
        "-----  --------  -----  -------  ------  ------",
        "Sum              1,239  1,239.0",
    ]


def test_the_chart_begins_at_nought_and_names_each_seventh_day() -> None:
    lines = pictures.chart(days(8, 4, 1, 0, 2, 8, 8, 8), blocks=False)
    assert lines == [
        "8 #    ###",
        "  #    ###",
        "  #    ###",
        "  #    ###",
        "  ##   ###",
        "  ##   ###",
        "  ##  ####",
        "0 ### ####",
        "  27 Feb 05 Mar",
    ]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=60), st.booleans())
def test_a_higher_day_has_a_higher_column(calls: list[int], blocks: bool) -> None:  # noqa: FBT001 - drawn
    lines = pictures.chart(days(*calls), blocks=blocks)
    if not any(calls):
        assert lines == []
        return
    margin = lines[-1].index(f"{FIRST:%d %b}")
    order = " ▁▂▃▄▅▆▇█" if blocks else " .:|#"
    grid = [line[margin:].ljust(len(calls)) for line in lines[:-1]]
    heights = [sum(order.index(text[at]) for text in grid) for at in range(len(calls))]
    assert len(lines) == pictures.HEIGHT + 1
    assert heights[calls.index(max(calls))] == pictures.HEIGHT * (len(order) - 1)
    assert [not height for height in heights] == [not count for count in calls]
    ranked = [height for _, height in sorted(zip(calls, heights, strict=True))]
    assert ranked == sorted(ranked)


def test_blocks_go_only_where_the_encoding_has_them() -> None:
    for encoding, ascii_only in (("utf-8", False), ("UTF-8", False), ("ascii", True), ("latin-1", True)):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        pictures.print_chart(days(3, 2, 1), stream)  # would raise if the encoding had no such character
        stream.seek(0)
        assert stream.read().isascii() == ascii_only


def test_a_terminal_gets_a_framed_table_as_wide_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    busiest = ("8005550101", "Spare parts and more", "3,295,454", "9,028.6", "2.85", "0.07")
    table = pictures.Table(pictures.HEADS, [busiest], ("Sum", "", "3,295,454", "9,028.6", "", ""))
    pictures.print_table(table, stream, {"TERM": "xterm"})
    text = stream.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert "─" in text
    assert max(map(len, text.splitlines())) <= 60
    for cell in (*pictures.HEADS, *busiest[2:], "Spare", "parts", "more"):  # a long name is folded, nothing is cut
        assert cell in text


def test_the_program_is_named_as_it_can_be_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "bin" / "harvester"
    script.parent.mkdir()
    script.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    assert hints.program_name(str(script)) == "bin/harvester"
    assert hints.program_name("/somewhere/harvester/__main__.py").endswith(" -m harvester")
    monkeypatch.chdir(script.parent)
    assert hints.program_name("harvester") == "./harvester"
    monkeypatch.setenv("PATH", str(script.parent))
    assert hints.program_name(str(script)) == "harvester"


def test_a_file_name_with_a_blank_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["harvester"])
    assert all("'my demo.db'" in command for command in hints.commands("my demo.db"))


def test_the_simulated_company_and_the_settings_agree(tmp_path: Path) -> None:
    settings = setting.settings(tmp_path / "demo.db", "http://127.0.0.1:1/api")
    account = settings.accounts[setting.ACCOUNT]
    world = setting.simulated().accounts[setting.ACCOUNT].world
    assert all(world.serves(phone.number) for phone in account.phones)
    assert account.calendar == world.calendar == setting.calendar()
    assert len({phone.name for phone in account.phones}) == len(account.phones) == 31
