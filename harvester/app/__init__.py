"""The composition root: builds what a command needs out of the other floors, and closes it in reverse."""
