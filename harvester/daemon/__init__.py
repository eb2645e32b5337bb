"""Daemon that keeps every configured series complete and fresh: the `run` command."""
