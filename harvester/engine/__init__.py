"""One claimed account at work, shared by the backfill, the daemon, the check and the demonstration."""
