"""Parts that work on one claimed account; backfill, daemon, check, reports and demo are built from them."""
