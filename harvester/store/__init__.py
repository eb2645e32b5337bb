"""The database: tables, views, migrations, and the lock that gives each account one holder."""
