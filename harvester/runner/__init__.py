"""Execution of one account's plan: workers fetch within the quota, one writer stores, the coordinator decides."""
