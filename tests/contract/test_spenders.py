"""A login has one spender and one quota record, whatever its accounts are called, while its locks are in place."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from pathlib import Path
from stat import S_IMODE

import pytest

from harvester.core.model import QuotaRecord, RowCounts
from harvester.errors import ClaimLost, StoreLost
from harvester.store.account_store import AccountStore
from harvester.store.reader import Reader
from harvester.store.types import AccountHeld
from tests.support.answers import JANUARY, answer, identity
from tests.support.databases import claimed, opened, query

LOGIN = "0123456789abcdef"
RECORD = QuotaRecord(150, 40, 90, 1_704_200_400, -0.25, 1_704_200_000.5)


async def test_two_names_of_a_login_have_one_holder(store_url: str) -> None:
    async with claimed(store_url, identity(spender=LOGIN)), opened(store_url) as other:
        held = await other.claim(identity("second", spender=LOGIN))
        assert isinstance(held, AccountHeld)
        assert held.holder.startswith("pid ")
        assert held.holder.endswith(" as account main, which has the same login")
        assert isinstance(await other.claim(identity("third", spender="another")), AccountStore)
    async with claimed(store_url, identity("second", spender=LOGIN)):
        pass


async def test_two_names_of_a_login_have_one_holder_within_a_process(store_url: str) -> None:
    async with opened(store_url) as database:
        first = await database.claim(identity(spender=LOGIN))
        assert isinstance(first, AccountStore)
        assert await database.claim(identity("second", spender=LOGIN)) == AccountHeld("this process")
        await first.release()
        assert isinstance(await database.claim(identity("second", spender=LOGIN)), AccountStore)


async def test_two_logins_of_one_name_have_one_holder(store_url: str) -> None:
    async with claimed(store_url, identity(spender=LOGIN)), opened(store_url) as other:
        assert isinstance(await other.claim(identity(spender="another")), AccountHeld)
        # The refused claim has released the lock that it could take.
        assert isinstance(await other.claim(identity("second", spender="another")), AccountStore)


async def test_two_names_of_a_login_have_one_record(store_url: str) -> None:
    async with claimed(store_url, identity(spender=LOGIN)) as store:
        await store.save(RECORD)
        await store.record_auth_attempt(100_000.5)
    async with claimed(store_url, identity("second", spender=LOGIN)) as store:
        assert await store.load() == RECORD
        assert await store.auth_attempts() == [100_000.5]
    async with claimed(store_url, identity(spender="another")) as store:
        assert await store.load() is None, "another login has another quota"
    async with claimed(store_url, identity(spender=LOGIN)) as store:
        assert await store.load() == RECORD
    with Reader(store_url) as reader:
        assert [account.quota for account in reader.accounts()] == [RECORD, RECORD]


def locks(url: str) -> list[Path]:
    database = Path(url.removeprefix("sqlite:///"))
    return sorted(database.parent.glob(f"{database.name}.*.lock"))


@pytest.mark.parametrize("which", [0, 1])
async def test_a_lock_file_that_is_removed_ends_the_claim(sqlite_url: str, which: int) -> None:
    first = answer(JANUARY, {"calls": [1.0]})
    async with claimed(sqlite_url, identity(spender=LOGIN)) as store:
        assert await store.commit([first], []) == RowCounts(new=1)
        assert len(locks(sqlite_url)) == 2
        locks(sqlite_url)[which].unlink()
        async with opened(sqlite_url) as other:
            with pytest.raises(ClaimLost, match="was removed while it was locked") as caught:
                await store.save(RECORD)
            assert "\n" not in str(caught.value)
            with pytest.raises(StoreLost):
                await store.commit([answer(JANUARY + timedelta(1), {"calls": [1.0]})], [])
            second = await other.claim(identity(spender=LOGIN))
            assert isinstance(second, AccountStore)
            assert await second.load() is None
            await store.release()
            assert query(sqlite_url, "SELECT holder <> '' FROM account") == [(1,)], "the holder is the other one"
            assert await second.commit([answer(JANUARY + timedelta(1), {"calls": [1.0]})], []) == RowCounts(new=1)


async def test_both_locks_removed_leave_one_spender(sqlite_url: str) -> None:
    batch = answer(JANUARY, {"calls": [1.0]})
    async with opened(sqlite_url) as one, opened(sqlite_url) as other:
        first = await one.claim(identity(spender=LOGIN))
        assert isinstance(first, AccountStore)
        await first.coverage([])
        for path in locks(sqlite_url):
            path.unlink()
        second = await other.claim(identity(spender=LOGIN))
        assert isinstance(second, AccountStore)
        await second.save(RECORD)
        assert await second.commit([batch], []) == RowCounts(new=1)
        with pytest.raises(ClaimLost):
            await first.commit([batch], [])
        assert isinstance(await one.claim(identity(spender=LOGIN)), AccountHeld)
        await second.release()
        again = await one.claim(identity(spender=LOGIN))
        assert isinstance(again, AccountStore)
        assert await again.load() == RECORD
        assert await again.commit([batch], []) == RowCounts(unchanged=1)


async def test_one_lost_lock_leaves_the_other_accounts(sqlite_url: str) -> None:
    async with opened(sqlite_url) as database:
        stores = [await database.claim(identity(name)) for name in ("main", "second")]
        assert isinstance(stores[0], AccountStore)
        assert isinstance(stores[1], AccountStore)
        (path,) = [path for path in locks(sqlite_url) if path.name.endswith(".db.main.lock")]
        path.unlink()
        with pytest.raises(ClaimLost):
            await stores[0].save(RECORD)
        await stores[1].save(RECORD)
        assert isinstance(await database.claim(identity("main")), AccountStore)


async def test_lock_files_are_their_owner_s_alone(sqlite_url: str) -> None:
    async with claimed(sqlite_url, identity(spender=LOGIN)):
        modes = [S_IMODE(path.stat().st_mode) for path in locks(sqlite_url)]
    assert modes == [0o600, 0o600]
    for path in locks(sqlite_url):
        path.chmod(0o666)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(claimed(sqlite_url, identity(spender=LOGIN)))
        assert [S_IMODE(path.stat().st_mode) for path in locks(sqlite_url)] == [0o600, 0o600]
