"""The demonstration: a simulated company, a real harvest of its year, and what came of it."""

from harvester.demo.run import run

__all__ = ["run"]
