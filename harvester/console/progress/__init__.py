"""Progress of the running accounts, on a terminal and off it.

`look` makes a View of the running accounts, `line` and `bar` format it. Nothing here changes the work: a display may
be closed at any moment.
"""

from harvester.console.progress.display import display_for
from harvester.console.progress.text import line
from harvester.console.progress.view import View, look

__all__ = ["View", "display_for", "line", "look"]
