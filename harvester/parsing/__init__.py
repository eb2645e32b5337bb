"""From the bytes of an answer to values that were checked against the slice and the calendar: pure, like the core."""
