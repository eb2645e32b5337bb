"""Benchmarks: speed as ratios against a reference that runs at the same time, or against the earliest possible end.

`python -m bench` runs all of them, `python -m bench startup quota` some. A module measures one thing and describes the
method in its docstring; its `measure()` yields a Row per line of the table.
"""
