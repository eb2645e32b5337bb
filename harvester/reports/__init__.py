"""Reports from configuration and database alone: `plan`, `status` and `export`."""
