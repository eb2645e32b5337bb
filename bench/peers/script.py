"""The leanest script: aiohttp, stamina to try again, sqlite3. It knows nothing of windows and backs off from 429."""

import asyncio
import sqlite3

import aiohttp
import stamina
from job import CONCURRENCY, DATABASE, FORM, TABLE, UPSERT, URL, WINDOW, paths, rows


async def main() -> None:
    database = sqlite3.connect(DATABASE)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(TABLE)
    todo = paths()
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{URL}/auth", data=FORM) as answer:
            pair = await answer.json(content_type=None)
        headers = {"Authorization": aiohttp.encode_basic_auth(pair["login"], pair["password"])}

        @stamina.retry(on=aiohttp.ClientError, attempts=None, timeout=None, wait_max=WINDOW)
        async def fetch(path: str) -> bytes:
            async with session.get(f"{URL}/{path}", headers=headers) as answer:
                answer.raise_for_status()
                return await answer.read()

        async def work() -> None:
            while todo:
                phone, path = todo.pop(0)
                found = rows(phone, await fetch(path))
                with database:
                    database.executemany(UPSERT, found)

        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))


asyncio.run(main())
