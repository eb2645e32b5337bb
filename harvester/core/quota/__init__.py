"""Quota of an account: decides how many requests may be sent, and when, by following the server's fixed window.

VoiceTrends counts requests in windows that begin and end by its own clock, over all clients of the account. Only the
headers of its answers show the count, late and out of order. This package decides from them whether a request may be
sent now. It is pure: `now`, the monotonic clock, is an argument.

Invariants, tested against a model server in tests/unit/core/test_quota*.py:
- The requests in one of the server's windows never exceed limit - reserve, over restarts at any moment.
- A 429 comes only where it could not be foreseen: another client spent, or a clock was just stepped.
- With work and quota there, it never waits for ever, and without other clients each window is used whole.

How:
- A request in flight while windows change may be counted in either. It counts as spent in the new one until its answer
  names the old one.
- An answer counts for the window that it names. If it names a past window, it changes nothing but that one.
- A window is entered when the server has certainly entered it (`ServerClock`), in closed form however long the host was
  suspended. The new end is an assumption, so exactly one request goes first; the others wait for its answer.
- Where other clients spend, too, the last requests of a window go one at a time, and the very last is left to them.
- Requests are stored as spent before they are sent, in blocks: `acquire` asks for it by returning a Block.

Rejected: a sliding window or a token bucket (each lets up to twice the limit into one window of the server); trusting
Remaining alone (with eight requests in flight it is eight too high) or the own count alone (other clients spend, and a
crash forgets it); an exception for a denied request (it is the ordinary case); timing the last requests of a window to
hit the change of the server's second (it acted only in windows shorter than 100 s).
"""

from harvester.core.quota.server_clock import ServerClock
from harvester.core.quota.types import Block, Denied, Snapshot, Token
from harvester.core.quota.window import BLOCK, Quota

__all__ = ["BLOCK", "Block", "Denied", "Quota", "ServerClock", "Snapshot", "Token"]
