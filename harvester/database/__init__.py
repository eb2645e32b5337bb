"""A connection to SQLite or PostgreSQL: opened, pinned, watched by deadlines and locked; without tables."""
