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
    from rich.table import Table

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
    assert (one.calls_per_day, one.errors_per_100_calls, one.page_load) == (20, 5, 1.25)
    assert (two.name, two.calls_per_day, two.errors_per_100_calls, two.page_load) == ("Number 2", 0, 0, 0)
    assert year.newest(5) == [(FIRST - timedelta(days=1), 0), *days(10, 30, 0, 0)]


def test_a_database_without_rows_has_an_empty_table() -> None:
    year = figures.tally([])
    assert year.newest(7) == []
    assert drawn(pictures.call_chart(year.newest(7))) == []
    assert drawn(pictures.phone_table(year))[-1].split() == ["Sum", "0", "0.0"]


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def drawn(content: Table, encoding: str = "utf-8") -> list[str]:
    """The lines in a file of this encoding."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    pictures.draw(content, stream, {})  # would raise if the encoding had no such character
    stream.seek(0)
    return [line.rstrip() for line in stream.read().splitlines()]


def test_the_table_is_aligned_and_begins_with_the_busiest_number() -> None:
    year = figures.tally([row("1", 0, 5), row("2", 0, 1234)])
    head, _, first, second, _, total = drawn(pictures.phone_table(year))
    assert head == "Phone  Name      Calls    A day  Err. %  Load s"
    assert first == "2      Number 2  1,234  1,234.0    0.00    0.00"
    assert second == "1                    5      5.0    0.00    0.00"
    assert total == "Sum              1,239  1,239.0"


def test_the_chart_has_a_bar_for_each_day() -> None:
    lines = drawn(pictures.call_chart(days(8, 4, 0)), "ascii")
    assert lines == [
        f"Tue 27 Feb {'-' * 50} 8",
        f"Wed 28 Feb {'-' * 25}{' ' * 25} 4",
        f"Thu 29 Feb {' ' * 50} 0",
    ]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_more_calls_never_have_a_shorter_bar(calls: list[int]) -> None:
    lengths = [line.count("━") + line.count("╸") / 2 for line in drawn(pictures.call_chart(days(*calls)))]
    assert len(lengths) == len(calls)
    assert max(lengths) == (50 if any(calls) else 0)
    ranked = [length for _, length in sorted(zip(calls, lengths, strict=True))]
    assert ranked == sorted(ranked)


def test_an_encoding_without_blocks_gets_ascii() -> None:
    year = figures.tally([row("1", 0, 5)])
    for encoding, ascii_only in (("utf-8", False), ("UTF-8", False), ("ascii", True), ("latin-1", True)):
        text = [*drawn(pictures.phone_table(year), encoding), *drawn(pictures.call_chart(days(3, 2, 1)), encoding)]
        assert "".join(text).isascii() == ascii_only
        assert "\x1b" not in "".join(text)


def test_a_table_fits_the_terminal_and_no_number_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    year = figures.Year(
        [figures.PhoneYear("8005550101", "Spare parts and more", 365, 3_295_454, 93_920, 230_681.8)], {}
    )
    stream = Terminal()
    pictures.draw(pictures.phone_table(year), stream, {"TERM": "xterm"})
    text = stream.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert "─" in text
    assert max(map(len, text.splitlines())) <= 60
    cells = ("8005550101", "3,295,454", "9,028.6", "2.85", "0.07", "Spare", "parts", "more")  # a long name is folded
    assert [cell for cell in cells if cell not in text] == []


def test_only_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    pictures.draw(pictures.call_chart(days(3, 2)), stream, {"TERM": "xterm"})
    assert "\x1b[36m" in stream.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    pictures.draw(pictures.call_chart(days(3, 2)), stream, {"TERM": "xterm"})
    assert "\x1b[36m" not in stream.getvalue()


def test_the_program_is_named_so_that_it_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_file_name_with_a_space_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["harvester"])
    assert all("'my demo.db'" in command for command in hints.commands("my demo.db"))


def test_the_simulated_company_and_the_settings_agree(tmp_path: Path) -> None:
    settings = setting.settings(tmp_path / "demo.db", "http://127.0.0.1:1/api")
    account = settings.accounts[setting.ACCOUNT]
    world = setting.simulated().accounts[setting.ACCOUNT].world
    assert all(world.serves(phone.number) for phone in account.phones)
    assert account.calendar == world.calendar == setting.calendar()
    assert len({phone.name for phone in account.phones}) == len(account.phones) == 31
