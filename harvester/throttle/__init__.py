"""Waits for the quota and for pacing; feeds the server's headers back.

The one place where a worker waits before it sends. What may be sent is core.quota's to decide; aiolimiter only
smooths bursts, since a leaky bucket of 150 in 900 s lets twice as many into one window of the server.
"""

from harvester.throttle.throttle import QuotaLedger, Throttle, ThrottlePermit

__all__ = ["QuotaLedger", "Throttle", "ThrottlePermit"]
