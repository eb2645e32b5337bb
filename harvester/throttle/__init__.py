"""Throttle of one account: waits for the quota and the rate, and passes the server's headers to the quota.

A worker waits here and nowhere else before it sends. `core.quota` decides what may be sent. aiolimiter only smooths
bursts: its leaky bucket of 150 in 900 s would let twice as many into one window of the server.
"""

from harvester.throttle.throttle import QuotaLedger, Throttle, ThrottlePermit

__all__ = ["QuotaLedger", "Throttle", "ThrottlePermit"]
