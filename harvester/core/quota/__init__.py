"""How many requests one account may send, and when: the server's fixed window, followed from outside.

VoiceTrends counts requests in windows that begin and end on its own clock, over everybody who uses the account. What
it counts shows only in the headers of its answers, late and out of order. This package decides from them whether a
request may leave now. It is pure: `now` is the monotonic clock, an argument.

Invariants, shown against a model server in tests/unit/core/test_quota*.py:
- Our requests in one of the server's windows never exceed limit - reserve, over restarts at any moment.
- We are told 429 only where we could not know better: somebody else spent, a clock was just stepped.
- With work and quota there, it never waits for ever, and without other users each window is used whole.

How:
- A request in flight while windows change may be counted in either. It is spent in the new one until its answer names
  the old one.
- What an answer says counts for the window that it names. One that names the past changes nothing but that.
- We roll when the server has surely rolled (offset.ServerClock), in closed form however long we slept. The new end is
  an assumption, so exactly one request goes first; the others wait for what it tells.
- Where others spend, too, the last requests of a window go one at a time, and the very last is left to them.
- Allowance is written down before it is spent, in blocks: `acquire` asks for the writing by answering Unstored.

Rejected: a sliding window or a token bucket of our own (each lets up to twice the limit into one window of the
server); trusting Remaining alone (with eight requests in flight it is eight too high) or our count alone (others
spend, and we forget when we die); giving a denied request an exception (it is the ordinary case).
"""

from harvester.core.quota.server_clock import ServerClock
from harvester.core.quota.types import Block, Denied, Granted, Snapshot, Token, Unstored
from harvester.core.quota.window import BLOCK, Quota

__all__ = ["BLOCK", "Block", "Denied", "Granted", "Quota", "ServerClock", "Snapshot", "Token", "Unstored"]
