"""Settings of a PostgreSQL session that the program relies on: each session sets them itself.

A server, a database, a role, the environment and the URL may all preset them (`ALTER ROLE ... SET DateStyle`), for
other programs and with good reason. What a session cannot set is the encoding of the database, so any but UTF8 is
refused. `default_transaction_read_only` is respected: administrators and hosts set it to stop all writing, for example
while a disk is full, and what writes then ends with 74.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from harvester.errors import StoreError

if TYPE_CHECKING:
    import psycopg

ENCODING: Final = "UTF8"
PINNED: Final = {
    "client_encoding": ENCODING,  # else text arrives as bytes, or cannot be sent
    "DateStyle": "ISO, MDY",  # the driver reads no other one
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "3",  # a figure is read as it was stored; with less it differs from the API's: a revision
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "default_transaction_isolation": "read committed",  # others abort transactions that one writer need not repeat
    "default_transaction_deferrable": "off",
    "row_security": "off",  # a policy that hides rows is an error, and no gap that is fetched again
}
_PIN: Final = (
    "SELECT set_config('search_path', quote_ident(%s), false), set_config('synchronous_commit',"
    # With off, a crash of the server would forget counted requests. Any other value is the server's choice.
    " CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END,"
    " false)" + ", set_config(%s, %s, false)" * len(PINNED) + ", pg_backend_pid()"
)


def pin(connection: psycopg.Connection[Any], schema: str, where: str) -> int:
    """Set what the program relies on, with the schema as the only one in the search path.

    Args:
        connection: in autocommit mode.
        schema: of the harvester's tables.
        where: the database in words.

    Returns:
        The id of the server's process that has the settings.

    Raises:
        StoreError: the database has another encoding.
        psycopg.Error: the server refuses a setting.
    """
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != ENCODING:
        raise StoreError(
            f"{where} has the encoding {encoding}, which cannot hold every text; create a database with"
            " `createdb --template template0 --encoding UTF8 NAME` and name it in database.url"
        )
    words = [schema, *(word for pair in PINNED.items() for word in pair)]
    row = connection.execute(_PIN, words).fetchone()
    return int(row[-1]) if row is not None else 0
