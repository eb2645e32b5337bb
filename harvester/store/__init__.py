"""The database: tables, views, the spender's lock."""
