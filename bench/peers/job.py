"""The job of every contender: a year of days of some phones, a month a request, into SQLite."""

from __future__ import annotations

import json
import os
from datetime import date, timedelta

URL = os.environ["JOB_URL"]
DATABASE = os.environ["JOB_DATABASE"]
PHONES = os.environ["JOB_PHONES"].split(",")
LIMIT = int(os.environ["JOB_LIMIT"])
WINDOW = int(os.environ["JOB_WINDOW"])
CONCURRENCY = 8
FORM = {"tool": "fuseplus", "login": "demo@example.com", "password": "demo"}
TABLE = "CREATE TABLE IF NOT EXISTS v (phone, epoch, metric, value, PRIMARY KEY (phone, epoch, metric)) WITHOUT ROWID"
UPSERT = "INSERT INTO v VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"


def months() -> list[tuple[date, date]]:
    firsts = [date(2024, month, 1) for month in range(1, 13)] + [date(2025, 1, 1)]
    return [(a, b - timedelta(days=1)) for a, b in zip(firsts, firsts[1:], strict=False)]


def paths() -> list[tuple[str, str]]:
    """Phone and path of every request."""
    return [(phone, f"performance/{a:%Y%m%d}/{b:%Y%m%d}/day/{phone}") for phone in PHONES for a, b in months()]


def rows(phone: str, body: bytes) -> list[tuple[str, int, str, float]]:
    return [
        (phone, int(epoch), metric, value)
        for metric, values in json.loads(body).items()
        for epoch, value in (values.items() if isinstance(values, dict) else ())
    ]
