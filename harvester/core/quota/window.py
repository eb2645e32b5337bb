"""The state machine of one account's window; the theory is in the package's own docstring.

A window's end is in one of three states:

    GUESSED --an answer names it--> TOLD --roll--> ASSUMED (one window later) --an answer names it--> TOLD

GUESSED is where a process begins that has no record: windows by configuration, on the best clock there is. It stays
there for ever with a server that sends no Reset. A TOLD window is followed at once when an answer names a later one;
where an answer to a request of this very window names an earlier one, we had rolled too early, or the server's clock
was stepped back: see `_contradicted`.
"""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING

from harvester.core.backoff import backoff
from harvester.core.model import QuotaRecord, usable_limit
from harvester.core.quota.roll_margin import Margin
from harvester.core.quota.server_clock import ServerClock
from harvester.core.quota.types import Block, Denied, Granted, Snapshot, Token, Unstored, Window, WindowCertainty

if TYPE_CHECKING:
    from harvester.core.headers import QuotaHeaders

BLOCK = 10  # requests that one record covers at most: what a crash may waste of the documented 150
SHARE = BLOCK / 150  # the same of a larger limit, where ten at a time would be written down without end
LINGER = 5.0  # seconds; a request that was given up may still be counted for so long
SLACK = 1.0  # seconds by which the host's clock may have moved between two processes
KEPT = 4  # last requests of a window that may be kept to look for the tick of the server's clock
PATIENCE = 0.1  # seconds, once a window, to see whether more than those last requests are wanted
LAST = 3  # requests of a window that go one at a time where others spend, too
CEDED = 1  # last ones that are then left to them, unless nothing comes after
STALE = 1.0  # seconds after which one goes first to ask what others have left
FINE = 0.01  # share of a window; a doubt about the server's clock below it is not worth looking for the tick

_SOON = 1.0  # seconds after a roll in which a 429 tells that it was early
_LONGEST_AHEAD = 3600  # seconds; a Reset farther ahead than this, and than four windows, is nonsense


class Quota:
    """One account's window.

    Args:
        limit: requests per window, until the server names another number.
        window: seconds, until the server names other ends.
        reserve: requests per window that are left to others. One request a window is sent even where the server's
            limit leaves none, or it would never show that the limit rose.
        now: monotonic seconds.
        host: the host's epoch seconds at the same moment.
    """

    def __init__(self, *, limit: int, window: float, reserve: int, now: float, host: float) -> None:
        self.limit = limit
        self.length = window
        self.reserve = reserve
        self.clock = ServerClock(low=host - now, high=host - now, at=now)
        self.margin = Margin(window)
        self._window = Window(self._end_after(host), WindowCertainty.GUESSED, now)
        self._previous: Window | None = None
        self._flight: set[Token] = set()
        self._unplaced: list[float] = []  # monotonic moments at which requests ended that no answer placed
        self._hold = -math.inf  # monotonic: the server asked for silence until then
        self._stored = 0  # requests that the last record covers and that were not granted yet
        self._on_record: int | None = None  # what a restart would believe to be left; None: something else altogether
        self._aim: float | None = None  # monotonic: when the server's second is expected to change
        self._heard = -math.inf  # monotonic: when Remaining was told last
        self._recorded: int | None = None  # end of the window that a record spoke of, until an answer names one

    # What may be sent

    def acquire(self, now: float, waiting: int = 1) -> Granted | Denied | Unstored:
        """Ask for one request; `waiting` is how many want one now, this one included."""
        self._roll(now)
        window, left = self._window, self._left()
        if left <= 0 and self._on_record != 0:  # a process started later must not ask again
            return Unstored(Block(0, window, window.end))
        until = self._closed_until(now, left, waiting)
        if until is not None:
            return Denied(until)
        if self._stored <= 0:
            return Unstored(Block(min(max(BLOCK, int(SHARE * self.limit)), left), window, window.end))
        self._stored -= 1
        window.spent += 1
        token = Token(now, window)
        self._flight.add(token)
        self._aim = None
        return Granted(token)

    def snapshot(self, now: float) -> Snapshot:
        """What to show."""
        self._roll(now)
        return Snapshot(self.limit, max(0, self._left()), self._window.end)

    def earliest_sent(self, token: Token) -> int:
        """The server's epoch second at which the token's request left, at the earliest that it can have been."""
        return math.floor(self.clock.bounds(token.sent)[0])

    def _closed_until(self, now: float, left: int, waiting: int) -> float | None:
        window = self._window
        if left <= 0:
            return self._opens()
        if now < self._hold:
            return self._hold
        if not window.known and any(token.window is window for token in self._flight):
            return self._opens()  # one goes first
        if self._others and self._contested(now, waiting):
            return self._opens()
        return self._tick_to_aim_at(now, left, waiting)

    def _contested(self, now: float, waiting: int) -> bool:
        """Whether others may well have taken what is left by the time one more request arrives: it would be told 429.

        So the last ones go one at a time, each knowing what the one before was told, and so does the first after a
        pause. The very last is left where more want to be sent, for they wait for the roll anyway.
        """
        window = self._window
        if window.remaining is None:
            return False
        sure = window.remaining - len(self._flight)
        if not self._flight:
            return sure <= CEDED < waiting
        # One that was sent before the last answer came says nothing of the pause since; it may hang until its timeout.
        asked = now - self._heard > STALE and any(token.sent > self._heard for token in self._flight)
        return sure <= LAST or asked

    @property
    def _others(self) -> bool:
        """Whether somebody else was seen to spend, in this window or the one before."""
        return any(one.others > 0 for one in (self._window, self._previous) if one is not None)

    def _left(self) -> int:
        left = usable_limit(self.limit, self.reserve) - self._window.spent
        if self._window.remaining is not None:
            left = min(left, self._window.remaining - len(self._flight))
        return left

    def _opens(self) -> float:
        """The monotonic moment at which this window has surely ended."""
        end = self.clock.surely(self._window.end) + self.margin.seconds
        return max(end, self._window.not_before, self._hold)

    def _tick_to_aim_at(self, now: float, left: int, waiting: int) -> float | None:
        """The moment for which to keep one of the window's last requests; None to send it now.

        A burst right after a roll may see one Date only, which leaves up to a second of doubt about the next roll. A
        request whose Date is made at the middle of that doubt halves it. It is kept only where somebody has to wait
        for the roll anyway, so nothing ends later for it, and only where a second matters.
        """
        window = self._window
        give_up = self.clock.perhaps(window.end) - 1
        if window.certainty is not WindowCertainty.STATED or left > KEPT or now >= give_up or not self.clock.heard:
            return None
        theirs_by_then = self._others and window.remaining == left + len(self._flight)
        if theirs_by_then or self.clock.doubt(now) <= FINE * self.length:
            return None
        if waiting <= left:  # those whose answers are being read may want more
            window.kept_at = min(now, window.kept_at)
            soon = window.kept_at + PATIENCE
            return soon if now < soon else None
        if self._flight:
            return give_up  # their answers come first
        if self._aim is not None and now >= self._aim:
            return None
        self._aim = self._aim or self.clock.next_tick(now)
        return min(self._aim, give_up)

    # What became of it

    def unused(self, token: Token) -> None:
        """Nothing was sent, for certain."""
        self._flight.discard(token)
        self._window.spent -= 1
        if token.window is self._window:
            self._stored += 1

    def lost(self, token: Token, now: float) -> None:
        """It was sent, or may have been, and no answer came."""
        self._flight.discard(token)
        self._unplaced.append(now)
        if self._window.remaining is not None:
            self._window.remaining -= 1

    def observe(self, token: Token, now: float, status: int, facts: QuotaHeaders) -> None:
        """Its answer's headers came."""
        self._flight.discard(token)
        reset = self._hear(token, now, facts)
        if not self._place(token, now, reset, status):
            return  # counted in a window that is over for us
        window = self._window
        if facts.limit and facts.limit != self.limit:
            self.limit = facts.limit
            self._stored, self._on_record = 0, None  # the record tells another one
        if facts.remaining is not None and (window.remaining is None or facts.remaining < window.remaining):
            window.remaining = facts.remaining
        if self._recorded is not None and reset is not None:
            if reset != self._recorded and facts.remaining is not None:
                # Whatever the server had counted in this window, an earlier process may have sent.
                window.spent = max(window.spent, self.limit - facts.remaining + len(self._flight))
            self._recorded = None
        if facts.remaining is not None:
            self._heard = now
            if facts.limit:
                window.others = max(window.others, facts.limit - facts.remaining - window.spent)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self._emptied(token, now, facts.retry_after)
        if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE) and facts.retry_after is not None:
            self._hold = max(self._hold, now + facts.retry_after)

    def _hear(self, token: Token, now: float, facts: QuotaHeaders) -> int | None:
        """Set the clock by an answer; returns its Reset if it makes sense beside the clock."""
        reset = facts.reset
        if facts.date is not None:
            self.clock = self.clock.dated(facts.date, token.sent, now)
            latest = self.clock.bounds(now)[1]
            longest = self.length if self._window.certainty is WindowCertainty.GUESSED else self._longest()
            if self._window.end > latest + longest:  # guessed on another clock, or the server's was stepped back
                self._window.end, self._window.certainty = self._end_after(latest), WindowCertainty.GUESSED
                self._window.not_before = -math.inf
                self._stored, self._on_record = 0, None
            # The request was counted while it was under way. A Reset before that is no end of its window.
            counted = facts.date - (now - token.sent)
            if reset is not None and not counted - self.margin.most < reset <= facts.date + self._longest():
                reset = None
        elif reset is not None and self.clock.heard and reset > self.clock.bounds(now)[1] + self._longest():
            reset = None
        elif reset is not None:
            begun = max((w.end for w in self._told() if w.end < reset), default=None)
            if begun is None and not self.clock.heard:
                begun = reset - math.ceil(self.length)
            if begun is not None and (reset >= self._window.end or token.window is self._window):
                self.clock = self.clock.within(begun, reset, token.sent, now)
        return reset

    def _longest(self) -> float:
        return max(4 * self.length, _LONGEST_AHEAD)

    def _told(self) -> list[Window]:
        return [w for w in (self._window, self._previous) if w is not None and w.certainty is WindowCertainty.STATED]

    def _place(self, token: Token, now: float, reset: int | None, status: int) -> bool:
        """Find the window in which a request was counted; returns whether that is the one we are in now."""
        window = self._window
        fresh = token.window is window
        if reset is None:
            if fresh and status < HTTPStatus.INTERNAL_SERVER_ERROR:  # a failing proxy knows no windows
                window.nameless += 1
            if now >= self.clock.perhaps(window.end):
                self._unplaced.append(now)
            return fresh
        # Windows longer or shorter than configured: still the one that we entered.
        other = not window.known and self._recorded is None and reset > window.end - self.length
        if window.certainty is WindowCertainty.GUESSED or reset == window.end or other:
            self._name(reset, now)
        elif reset > window.end:
            self._enter(Window(reset, WindowCertainty.STATED, now, told_at=now, spent=1))
        elif fresh and (window.certainty is not WindowCertainty.STATED or token.sent >= window.told_at):
            return self._contradicted(token, now, reset)
        else:
            window.spent -= 1
            return False
        return True

    def _contradicted(self, token: Token, now: float, reset: int) -> bool:
        """A request granted in this window was counted in one that ends earlier; returns as `_place`."""
        window, previous = self._window, self._previous
        if (
            previous is None or previous.certainty is WindowCertainty.GUESSED or reset > previous.end
        ):  # the window is shorter than we assumed
            self._name(reset, now)
            return True
        if reset < previous.end:  # the server's clock was stepped back
            self._enter(Window(reset, WindowCertainty.STATED, now, told_at=now, spent=1))
            return True
        # By its Date the server had rolled. The clock may just have been narrowed a little, so not to the digit; but
        # a second request sent at the same moment says nothing new.
        if token.sent - self.clock.surely(reset) > 0.75 * self.margin.seconds - 0.01:
            self.margin.grow()
        # Doubled each time: without any Date, and with a window longer than configured, only asking again tells.
        pause = backoff(max(self.margin.seconds, self.margin.first), previous.survived + 1, self._longest())
        previous.survived += 1
        if window.certainty is WindowCertainty.STATED:  # some of the server's machines have rolled, some have not
            window.spent -= 1
            window.certainty = WindowCertainty.ASSUMED
            self._hold = max(self._hold, now + pause, self.clock.surely(reset) + self.margin.seconds)
            return False
        previous.spent += window.spent  # some are in there already: rather one too many
        previous.not_before = now + pause
        previous.certainty = WindowCertainty.STATED
        for other in self._flight:
            other.window = previous
        self._window, self._previous = previous, None
        self._stored, self._on_record = 0, None
        return True

    def _emptied(self, token: Token, now: float, retry_after: int | None) -> None:
        """A 429: nothing more in this window."""
        window = self._window
        window.remaining = 0
        if token.window is window and token.sent - window.entered < _SOON and self._previous is not None:
            self.margin.grow()
        if window.certainty is WindowCertainty.GUESSED and retry_after is not None:  # better than our guess
            window.end = math.ceil(self.clock.bounds(now + retry_after)[1])
            self._on_record = None

    def _name(self, end: int, now: float) -> None:
        """The server says when this window ends."""
        if end != self._window.end or self._window.certainty is WindowCertainty.GUESSED:
            self._window.end = end
            self._stored, self._on_record = 0, None  # a record that was guessed tells a guessed clock, too
        self._window.certainty = WindowCertainty.STATED
        self._window.told_at = min(now, self._window.told_at)

    # From window to window

    def _roll(self, now: float) -> None:
        """Leave a window that has surely ended."""
        window = self._window
        if now < max(self.clock.surely(window.end) + self.margin.seconds, window.not_before):
            return
        earliest, latest = self.clock.bounds(now)
        following = math.ceil(window.end + self.length)
        if window.certainty is WindowCertainty.GUESSED:
            # Nobody will tell us if it is an earlier one, so believe in the latest: the sum over both stays in bounds.
            end = max(following, self._end_after(latest, window.end))
            certainty = WindowCertainty.GUESSED
        else:
            end = max(following, self._end_after(earliest - self.margin.seconds, window.end))
            certainty = WindowCertainty.ASSUMED
        self.margin.rolled()
        self._enter(Window(end, certainty, now))

    def _end_after(self, reading: float, origin: int = 0) -> int:
        """The first end after a reading of the server's clock, counted in whole windows from an earlier one."""
        return math.ceil(origin + self.length * (math.floor((reading - origin) / self.length) + 1))

    def _enter(self, window: Window) -> None:
        begun = self.clock.perhaps(window.end - self.length)
        self._unplaced = [moment for moment in self._unplaced if moment > begun - LINGER]
        window.spent += len(self._flight) + len(self._unplaced)
        self._previous, self._window = self._window, window
        self._stored, self._on_record, self._aim = 0, None, None

    # Over restarts

    def record(self, block: Block, now: float, host: float) -> QuotaRecord:
        """What to write down before `block` is spent; `host` is the host's epoch seconds now."""
        window, earliest = self._window, self.clock.bounds(now)[0]
        size = block.size if block.window is window else 0
        remaining = None if window.remaining is None else window.remaining - len(self._flight) - size
        resets_at = window.end
        if self._left() <= size and self._hold > self.clock.surely(window.end):
            resets_at = math.ceil(self.clock.bounds(self._hold)[1])
        return QuotaRecord(
            limit=self.limit,
            spent=window.spent + size,
            remaining=None if remaining is None else max(0, remaining),
            resets_at=resets_at,
            server_ahead=earliest - host,
            recorded_at=host,
        )

    def stored(self, block: Block) -> None:
        """The record of this block is safe."""
        if block.window is self._window and block.end == self._window.end:
            self._stored = block.size  # the record knows of no earlier block
            self._on_record = max(0, self._left() - block.size)

    def closing(self) -> Block:
        """What to write down last: the unspent rest of the last block is given back."""
        return Block(0, self._window, self._window.end)

    def restore(self, record: QuotaRecord, now: float, host: float) -> None:
        """Begin with what an earlier process wrote down; call it first.

        The clocks between two processes are the host's, so they only say whether the recorded window is over. If they
        are wrong, the first answer tells: one that names the recorded window leads back to it.
        """
        self.limit = max(1, record.limit)
        end = record.resets_at
        if end is None:
            end = math.ceil(record.recorded_at + record.server_ahead + self.length)
        # A host clock that was stepped back must not make us wait for longer than the writer would have waited.
        wait = end - host - record.server_ahead + SLACK
        longest = end - record.recorded_at - record.server_ahead + SLACK
        wait = min(wait, longest, self._longest())
        self.clock = ServerClock(low=end - now - wait, high=end - now - wait + 2 * SLACK, at=now)
        self._window = Window(end, WindowCertainty.ASSUMED, now, spent=record.spent, remaining=record.remaining)
        self._recorded = end
        if self._left() <= 0:
            self._on_record = 0
