"""Demonstration: a backfill of a year of a simulated company, with the result as table and chart: `demo`."""

from harvester.demo.run import run

__all__ = ["run"]
