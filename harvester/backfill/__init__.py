"""Harvest a past range of every account and end: the `backfill` command."""
