"""Measures speed as ratios against something run beside it, or against what is possible at all.

`python -m bench` measures all, `python -m bench startup quota` some. A module measures one thing and says in its
docstring how; its `measure()` yields a Row for each line of the table.
"""
