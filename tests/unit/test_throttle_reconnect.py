"""A throttle after a lost database: it continues with what this process knows, unless another one has written since."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from harvester.errors import StoreError
from tests.unit.test_throttle import ThrottleRig


def test_nothing_that_was_granted_in_advance_is_given_up() -> None:
    rig = ThrottleRig()

    async def main() -> None:
        await rig.throttle.open()
        await rig.send(13, workers=1)
        rig.ledger.broken = True
        with contextlib.suppress(StoreError):
            await rig.throttle.close()
        rig.ledger.broken = False
        before = rig.ledger.saves
        again = rig.new_throttle()
        await again.open(rig.throttle)
        left = rig.server.limit - 13
        assert again.snapshot().remaining == left
        await rig.send(left, gate=again)
        assert rig.ledger.saves > before  # nothing is sent that no record covers
        assert rig.loop.time() < rig.server.next_roll(0.0)
        assert rig.server.total() == rig.server.limit

    rig.run(main())
    assert rig.server.refused == []


def test_a_record_that_was_deleted_does_not_make_it_forget() -> None:
    rig = ThrottleRig()

    async def main() -> None:
        await rig.throttle.open()
        await rig.send(40)
        rig.ledger.record = None
        again = rig.new_throttle()
        await again.open(rig.throttle)
        assert again.snapshot().remaining == rig.server.limit - 40

    rig.run(main())


def test_a_record_of_another_process_counts() -> None:
    rig = ThrottleRig()

    async def main() -> None:
        await rig.throttle.open()
        await rig.send(13, workers=1)
        record = rig.ledger.record
        assert record is not None
        rig.ledger.record = replace(record, spent=140, remaining=None)
        again = rig.new_throttle()
        await again.open(rig.throttle)
        assert again.snapshot().remaining == rig.server.limit - 140

    rig.run(main())
