from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.config.database_url import holds_password, locate, sqlite_path, validate
from harvester.config.settings import Database
from harvester.redaction import hide_url_password
from tests.support.examples import examples

BASE, HOME = Path("/etc/harvester"), Path("/home/me")


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("sqlite:///voicetrends.db", "sqlite:////etc/harvester/voicetrends.db"),
        ("sqlite:////var/lib/v.db", "sqlite:////var/lib/v.db"),
        ("sqlite:///~/v.db", "sqlite:////home/me/v.db"),
        ("SQLite:///v.db", "sqlite:////etc/harvester/v.db"),
        ("postgresql://user@host/db?sslmode=require", "postgresql://user@host/db?sslmode=require"),
        ("postgres://user@host/db", "postgresql://user@host/db"),
        ("postgresql://", "postgresql://"),
        ("postgresql://a:1,b:2/db?target_session_attrs=read-write", None),
        ("postgresql:///db?service=x", None),
    ],
)
def test_normal_form(written: str, url: str | None) -> None:
    assert locate(written, base=BASE, home=HOME) == (url or written)


@pytest.mark.parametrize(
    ("written", "remedy"),
    [
        ("sqlite://", "three slashes"),
        ("sqlite:///", "memory"),
        ("sqlite:///:memory:", "memory"),
        ("sqlite:///file:x?mode=memory", "memory"),
        ("sqlite:///x.db?timeout=3", "options"),
        ("sqlite:///data/", "directory"),
        ("postgresql+psycopg://u:hunter2@h/db", 'write "postgresql://"'),
        ("sqlite+pysqlite:///x.db", 'write "sqlite://"'),
        ("postgresq://u:hunter2@h/db", "did you mean postgresql"),
        ("mysql://u:hunter2@h/db", "not a known kind of database"),
        ("postgresql://u:hun@ter2@h/db", "%40"),
        ("postgresql://u:hun/ter2@h/db", "%2F"),
        ("postgresql://u:hunter2@h/d b", "%20"),
        ("voicetrends.db", "sqlite:///FILE"),
        ("", "sqlite:///FILE"),
    ],
)
def test_refusals_name_the_mend_and_no_password(written: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        locate(written, base=BASE, home=HOME)
    assert remedy in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_settings_made_in_code_need_an_absolute_path() -> None:
    with pytest.raises(ValueError, match="absolute"):
        validate("sqlite:///v.db")


def test_the_file_of_a_sqlite_database() -> None:
    assert sqlite_path("sqlite:////var/lib/v.db") == Path("/var/lib/v.db")
    assert sqlite_path("postgresql://h/v.db") is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:secret@h:5432/db", "postgresql://u:***@h:5432/db"),
        ("postgresql://u:se@cr:et@h/db", "postgresql://u:***@h/db"),
        ("postgresql://h/db?user=u&password=secret&sslmode=require", None),
        ("postgresql://h/db?sslpassword=secret", None),
        ("http://u:secret@proxy:3128", "http://u:***@proxy:3128"),
    ],
)
def test_passwords_are_hidden(url: str, shown: str | None) -> None:
    hidden = hide_url_password(url)
    assert "secret" not in hidden
    assert shown is None or hidden == shown
    assert holds_password(url)


@pytest.mark.parametrize("url", ["postgresql://u@h:5432/db?sslmode=require", "sqlite:////v.db", "http://proxy:3128"])
def test_a_url_without_password_is_shown_whole(url: str) -> None:
    assert hide_url_password(url) == url
    assert not holds_password(url)


@given(st.text(alphabet="ab:@/?&=%#", max_size=12))
@examples(100)
def test_no_database_shows_its_password(around: str) -> None:
    url = f"postgresql://u:hunter2{around}@h/db"
    try:
        seen = repr(database := Database(url=url)) + database.safe_url
    except ValueError as error:
        seen = str(error)
    assert "hunter2" not in seen
