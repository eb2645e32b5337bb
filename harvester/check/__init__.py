"""Check configuration, credentials and database: the `check` command."""
