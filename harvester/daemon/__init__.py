"""The daemon: keeps every configured series complete and fresh until told to stop."""
