"""Fetch what a backfill fetches, nothing else: `python -m bench.fetching URL DAYS PHONE…` requests a year in pieces.

Eight requests in flight on one aiohttp session, every body read and discarded; no quota, no checks, no database.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import date, timedelta

import aiohttp

CONCURRENCY = 8
FIRST, LAST = date(2024, 1, 1), date(2024, 12, 31)


async def main(base_url: str, days: int, phones: list[str]) -> None:
    firsts = [FIRST + timedelta(days=number) for number in range(0, 366, days)]
    pieces = [(first, min(LAST, first + timedelta(days=days - 1))) for first in firsts]
    left = [f"{base_url}/performance/{a:%Y%m%d}/{b:%Y%m%d}/day/{phone}" for phone in phones for a, b in pieces]
    async with aiohttp.ClientSession() as session:
        form = {"tool": "fuseplus", "login": "demo@example.com", "password": "demo"}
        async with session.post(f"{base_url}/auth", data=form, headers={"Accept": "application/json"}) as answer:
            pair = await answer.json(content_type=None)
        headers = {"Authorization": aiohttp.encode_basic_auth(pair["login"], pair["password"])}

        async def work() -> None:
            while left:
                async with session.get(left.pop(), headers=headers) as answer:
                    answer.raise_for_status()
                    await answer.read()

        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
