"""What people see while accounts are harvested, and the few lines after it.

`look` makes a View of the running harvests, `line` and `bar` put it into words and pictures, `summary` says how it
ended. Nothing here changes what the harvests do: whoever watches may stop watching at any moment.
"""

from harvester.app.progress.display import display_for
from harvester.app.progress.summary import summary
from harvester.app.progress.view import View, look
from harvester.app.progress.wording import line

__all__ = ["View", "display_for", "line", "look", "summary"]
