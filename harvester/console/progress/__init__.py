"""Progress of the running accounts, as a bar on a terminal and as lines elsewhere.

`view_of` reduces the running accounts to a View, `text` and `bar` format it. Nothing here changes the work: the display
may be closed at any moment.
"""

from harvester.console.progress.display import display_for
from harvester.console.progress.text import line
from harvester.console.progress.view import View, view_of

__all__ = ["View", "display_for", "line", "view_of"]
