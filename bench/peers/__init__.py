"""The same job as others would write it; each is run by .venv-peers, see bench.contest."""
