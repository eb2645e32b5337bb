"""Login and password that the data resources accept as they are."""

from __future__ import annotations

import pytest

from harvester.errors import CredentialsRefused
from harvester.source.credentials import DirectCredentials

CANARY = "password-canary"


async def test_a_direct_password_is_read_once_when_it_is_first_needed() -> None:
    asked: list[str] = []

    def password() -> str:
        asked.append("once")
        return CANARY

    direct = DirectCredentials("me", password)
    assert asked == []
    await direct.ready()
    await direct.ready()
    assert asked == ["once"]
    with pytest.raises(CredentialsRefused, match="me was refused"):
        await direct.renew(1)


async def test_a_direct_pair_that_was_accepted_is_tried_once_more_after_a_pause() -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    direct = DirectCredentials("me", lambda: CANARY, sleep=sleep)
    await direct.ready()
    direct.accepted(1)
    await direct.renew(1)
    await direct.renew(1)  # of another caller
    pair = direct.current()
    assert pair is not None
    assert (pair.generation, len(pauses)) == (2, 1)
    with pytest.raises(CredentialsRefused):
        await direct.renew(2)
