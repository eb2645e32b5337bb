"""The `backfill` command: fetch a past range of every account, then end."""
