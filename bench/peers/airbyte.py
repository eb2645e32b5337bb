"""airbyte-cdk: its HttpClient with HttpAPIBudget and a fixed window, one slice after the other, stored as it comes."""

import logging
import sqlite3
import time
from datetime import datetime, timedelta

import requests
from airbyte_cdk.sources.streams.call_rate import FixedWindowCallRatePolicy, HttpAPIBudget, HttpRequestMatcher
from airbyte_cdk.sources.streams.http import HttpClient
from job import DATABASE, FORM, LIMIT, TABLE, UPSERT, URL, WINDOW, paths, rows
from requests.auth import HTTPBasicAuth

pair = requests.post(f"{URL}/auth", data=FORM, timeout=60).json()
policy = FixedWindowCallRatePolicy(
    next_reset_ts=datetime.fromtimestamp((time.time() // WINDOW + 1) * WINDOW),
    period=timedelta(seconds=WINDOW),
    call_limit=LIMIT,
    matchers=[HttpRequestMatcher()],
)
budget = HttpAPIBudget(
    policies=[policy],
    ratelimit_reset_header="X-RateLimit-Reset",
    ratelimit_remaining_header="X-RateLimit-Remaining",
    status_codes_for_ratelimit_hit=[429],
)
client = HttpClient(
    name="performance",
    logger=logging.getLogger("airbyte"),
    api_budget=budget,
    authenticator=HTTPBasicAuth(pair["login"], pair["password"]),
)
database = sqlite3.connect(DATABASE)
database.execute("PRAGMA journal_mode = WAL")
database.execute(TABLE)
for phone, path in paths():
    _, response = client.send_request("GET", f"{URL}/{path}", request_kwargs={})
    with database:
        database.executemany(UPSERT, rows(phone, response.content))
