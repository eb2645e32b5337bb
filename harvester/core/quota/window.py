"""State machine of one account's window; the package's docstring has the theory.

The end of a window has one of three certainties:

    GUESSED --an answer names it--> STATED --roll--> ASSUMED (one window later) --an answer names it--> STATED

A process without a record begins with GUESSED: windows by configuration, on the best clock that there is. With a server
that sends no Reset it stays there. A STATED window is left at once when an answer names a later one. If an answer to a
request of this very window names an earlier one, the roll was too early or the server's clock was stepped back.
"""

import math
from http import HTTPStatus

from harvester.core.backoff import backoff
from harvester.core.headers import QuotaHeaders
from harvester.core.model import QuotaRecord, usable_limit
from harvester.core.quota.pace import Pace
from harvester.core.quota.roll_margin import RollMargin
from harvester.core.quota.server_clock import ServerClock
from harvester.core.quota.silence import Silence
from harvester.core.quota.types import Block, Denied, Snapshot, Token, Window, WindowCertainty

BLOCK = 10  # requests that one record covers at most: what a crash may waste of the documented 150
BLOCK_SHARE = BLOCK / 150  # the same of a larger limit, for which blocks of ten would be written all the time
LATE_COUNT = 5.0  # seconds for which a request that was given up may still be counted
HOST_CLOCK_SLACK = 1.0  # seconds by which the host's clock may have moved between two processes
ONE_BY_ONE = 3  # last requests of a window that go one at a time where other clients spend, too
CONCEDED = 1  # requests per window conceded to them, unless nothing comes after
REMAINING_EXPIRES = 1.0  # seconds after which one request goes first to ask what other clients have left

_ASK_FOR_A_PAUSE = frozenset({403, 429, 503})  # if they have a Retry-After
_EARLY_ROLL = 1.0  # seconds after a roll within which a 429 shows that it was early
_MAX_RESET_AHEAD = 3600  # seconds; a Reset farther ahead than this, and than four windows, is nonsense


class Quota:
    """Window of one account.

    Args:
        limit: requests per window, until the server names another number.
        window: seconds, until the server names other ends.
        reserve: requests per window that are left to other clients. One request per window is sent even if the server's
            limit leaves none; otherwise a raised limit would never show.
        now: monotonic seconds.
        host: the host's epoch seconds at the same moment.
        fastest: requests per second that are never exceeded.
    """

    def __init__(
        self, *, limit: int, window: float, reserve: int, now: float, host: float, fastest: float = math.inf
    ) -> None:
        self.limit = limit
        self.length = window
        self.reserve = reserve
        self.clock = ServerClock(low=host - now, high=host - now, at=now)
        self.margin = RollMargin(window)
        self.pace = Pace(fastest)
        self._window = Window(self._end_after(host), WindowCertainty.GUESSED, now)
        self._previous: Window | None = None
        self._in_flight: set[Token] = set()
        self._unplaced: list[float] = []  # monotonic moments at which requests ended that no answer placed
        self._silence = Silence()
        self._headers_seen = False  # quota headers, in any answer
        self._covered = 0  # requests that the last record covers and that were not granted yet
        self._left_on_record: int | None = None  # what a restart would find left; None: another window or limit
        self._remaining_at = -math.inf  # monotonic: when Remaining was received last
        self._restored_end: int | None = None  # end of the window of a record, until an answer names a window

    def acquire(self, now: float, waiting: int = 1) -> Token | Denied | Block:
        """Ask for one request: get a Token to send it, a Denied, or a Block to store before asking again.

        `waiting` is the number of those that want a request now, this one included.
        """
        self._roll(now)
        window, left = self._window, self._left()
        if left <= 0 and self._left_on_record != 0:  # a process started later must not ask again
            return Block(0, window, window.end)
        until = self._closed_until(now, left, waiting)
        if until is not None:
            return Denied(until)
        if self._covered <= 0:
            return Block(min(max(BLOCK, int(BLOCK_SHARE * self.limit)), left), window, window.end)
        self._covered -= 1
        window.spent += 1
        token = Token(now, window)
        self._in_flight.add(token)
        return token

    def snapshot(self, now: float) -> Snapshot:
        """Return the state for display."""
        self._roll(now)
        paused = self._silence.until if now < self._silence.until else None
        paused_until = None if paused is None else math.ceil(self.clock.bounds(paused)[1])
        long_pause = paused is not None and self._silence.long
        return Snapshot(self.limit, max(0, self._left()), self._window.end, paused_until, long_pause)

    def earliest_sent(self, token: Token) -> int:
        """Return the earliest server's epoch second at which the token's request can have left."""
        return math.floor(self.clock.bounds(token.sent)[0])

    def _closed_until(self, now: float, left: int, waiting: int) -> float | None:
        """Return the monotonic moment until which nothing may be sent; None if a request may be sent now."""
        window = self._window
        if left > 0 and now < self._silence.until:
            return self._silence.until
        waits_for_first = self._silence.probing or not window.known
        one_goes_first = waits_for_first and any(token.window is window for token in self._in_flight)
        if left > 0 and not one_goes_first and not self._contested(now, waiting):
            return None
        end = self.clock.certain_from(window.end) + self.margin.seconds
        return max(end, window.not_before, self._silence.until)

    def _contested(self, now: float, waiting: int) -> bool:
        """Return True if other clients may well take what is left before one more request arrives and gets a 429.

        So the last requests go one at a time, each after the answer to the one before, and so does the first after a
        pause. The very last is conceded if more want to be sent, because they wait for the roll anyway.
        """
        window = self._window
        others_spend = any(one.others > 0 for one in (window, self._previous) if one is not None)
        if not others_spend or window.remaining is None:
            return False
        left = window.remaining - len(self._in_flight)
        if not self._in_flight:
            return left <= CONCEDED < waiting
        # A request sent before the last answer came shows nothing about the pause since; it may hang until its timeout.
        expired = now - self._remaining_at > REMAINING_EXPIRES
        return left <= ONE_BY_ONE or (expired and any(token.sent > self._remaining_at for token in self._in_flight))

    def _left(self) -> int:
        left = usable_limit(self.limit, self.reserve) - self._window.spent
        if self._window.remaining is not None:
            left = min(left, self._window.remaining - len(self._in_flight))
        return left

    # Outcomes of requests

    def unused(self, token: Token) -> None:
        """Record that certainly nothing was sent."""
        self._in_flight.discard(token)
        self._window.spent -= 1
        if token.window is self._window:
            self._covered += 1

    def lost(self, token: Token, now: float) -> None:
        """Record that the request was sent, or may have been, and that no answer came."""
        self._in_flight.discard(token)
        self._unplaced.append(now)
        if self._window.remaining is not None:
            self._window.remaining -= 1

    def observe(self, token: Token, now: float, status: int, headers: QuotaHeaders) -> None:
        """Record the headers of the answer."""
        self._in_flight.discard(token)
        self._headers_seen |= headers.remaining is not None or headers.reset is not None
        reset = self._set_clock(token, now, headers)
        if not self._place(token, now, reset, status):
            return  # counted in a window that is over
        window, remaining = self._window, headers.remaining
        if headers.limit and headers.limit != self.limit:
            self.limit = headers.limit
            self.forget_record()  # it states another limit
        if remaining is not None and (window.remaining is None or remaining < window.remaining):
            window.remaining = remaining
        if self._restored_end is not None and reset is not None:
            if reset != self._restored_end and remaining is not None:
                # An earlier process may have sent all that the server had counted in this window.
                window.spent = max(window.spent, self.limit - remaining + len(self._in_flight))
            self._restored_end = None
        if remaining is not None:
            self._remaining_at = now
            if headers.limit:
                window.others = max(window.others, headers.limit - remaining - window.spent)
        self._pause_or_continue(token, now, status, headers)

    def _pause_or_continue(self, token: Token, now: float, status: int, headers: QuotaHeaders) -> None:
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self._refused(token, now, headers)
        elif status < HTTPStatus.BAD_REQUEST:
            self._silence.accepted()
            self.pace.accepted(now)
        if status in _ASK_FOR_A_PAUSE and headers.retry_after is not None:
            self._silence.asked(now, headers.retry_after, self.length)
        elif status == HTTPStatus.FORBIDDEN:  # a limit on bursts, if it is not about the number
            self._silence.burst(token.sent, now, self.length)

    def _refused(self, token: Token, now: float, headers: QuotaHeaders) -> None:
        """Handle a 429: the window is empty, or a limit on bursts refused the request.

        Remaining decides. Without it, an answer with other quota headers is the API's own and means an empty window;
        one without any comes from a gateway, unless no answer ever had some: then the own count decides.
        """
        window = self._window
        named = headers.limit is not None or headers.reset is not None
        usable = usable_limit(self.limit, self.reserve)
        if headers.remaining is not None:
            empty = headers.remaining <= 0
        elif named or not self._headers_seen:
            empty = named or 2 * window.spent >= usable
        else:
            empty = False
        if empty:
            self._emptied(token, now, headers.retry_after)
            return
        if window.remaining is not None:  # Remaining shows whether it was counted after all
            window.spent -= 1
        self.pace.refused(token.sent, now, usable / self.length)
        if headers.retry_after is None:
            self._silence.burst(token.sent, now, self.length)

    def _set_clock(self, token: Token, now: float, headers: QuotaHeaders) -> int | None:
        """Set the clock by an answer. Return its Reset if that makes sense beside the clock."""
        reset = headers.reset
        if headers.date is not None:
            self.clock = self.clock.dated(headers.date, token.sent, now)
            latest = self.clock.bounds(now)[1]
            longest = self.length if self._window.certainty is WindowCertainty.GUESSED else self._longest()
            if self._window.end > latest + longest:  # guessed on another clock, or the server's was stepped back
                self._window.end, self._window.certainty = self._end_after(latest), WindowCertainty.GUESSED
                self._window.not_before = -math.inf
                self.forget_record()
            # The request was counted while it was under way. A Reset before that is no end of its window.
            counted = headers.date - (now - token.sent)
            if reset is not None and not counted - self.margin.longest < reset <= headers.date + self._longest():
                reset = None
        elif reset is not None and self.clock.measured and reset > self.clock.bounds(now)[1] + self._longest():
            reset = None
        elif reset is not None:
            windows = [window for window in (self._window, self._previous) if window is not None]
            ends = [window.end for window in windows if window.certainty is WindowCertainty.STATED]
            begun = max((end for end in ends if end < reset), default=None)
            if begun is None and not self.clock.measured:
                begun = reset - math.ceil(self.length)
            if begun is not None and (reset >= self._window.end or token.window is self._window):
                self.clock = self.clock.within(begun, reset, token.sent, now)
        return reset

    def _longest(self) -> float:
        return max(4 * self.length, _MAX_RESET_AHEAD)

    def _place(self, token: Token, now: float, reset: int | None, status: int) -> bool:
        """Find the window in which a request was counted. Return True if it is the current one."""
        window = self._window
        fresh = token.window is window
        if reset is None:
            if fresh and status < HTTPStatus.INTERNAL_SERVER_ERROR:  # a failing proxy knows no windows
                window.unnamed += 1
            if now >= self.clock.possible_from(window.end):
                self._unplaced.append(now)
            return fresh
        # Windows longer or shorter than configured: still the one that was entered.
        other_length = not window.known and self._restored_end is None and reset > window.end - self.length
        if window.certainty is WindowCertainty.GUESSED or reset == window.end or other_length:
            self._name(reset, now)
        elif reset > window.end:
            self._enter(Window(reset, WindowCertainty.STATED, now, stated_at=now, spent=1))
        elif fresh and (window.certainty is not WindowCertainty.STATED or token.sent >= window.stated_at):
            return self._contradicted(token, now, reset)
        else:
            window.spent -= 1
            return False
        return True

    def _contradicted(self, token: Token, now: float, reset: int) -> bool:
        """Handle a request granted in this window but counted in one that ends earlier. Return as `_place`."""
        window, previous = self._window, self._previous
        if previous is None or previous.certainty is WindowCertainty.GUESSED or reset > previous.end:
            self._name(reset, now)  # the window is shorter than assumed
            return True
        if reset < previous.end:  # the server's clock was stepped back
            self._enter(Window(reset, WindowCertainty.STATED, now, stated_at=now, spent=1))
            return True
        # By its Date the server had rolled. The clock may just have been narrowed a little, so the comparison is not
        # exact; but a second request sent at the same moment shows nothing new.
        if token.sent - self.clock.certain_from(reset) > 0.75 * self.margin.seconds - 0.01:
            self.margin.grow()
        # Doubled each time: without any Date, and in a window longer than configured, only asking again shows the end.
        pause = backoff(max(self.margin.seconds, self.margin.first), previous.reappeared + 1, self._longest())
        previous.reappeared += 1
        if window.certainty is WindowCertainty.STATED:  # some of the server's machines have rolled, some have not
            window.spent -= 1
            window.certainty = WindowCertainty.ASSUMED
            rolled = self.clock.certain_from(reset) + self.margin.seconds
            self._silence.extend_to(max(now + pause, rolled))
            return False
        previous.spent += window.spent  # some may be counted there already: better one too many
        previous.not_before = now + pause
        previous.certainty = WindowCertainty.STATED
        for other in self._in_flight:
            other.window = previous
        self._window, self._previous = previous, None
        self.forget_record()
        return True

    def _emptied(self, token: Token, now: float, retry_after: int | None) -> None:
        """Handle a 429: send nothing more in this window."""
        window = self._window
        window.remaining = 0
        if token.window is window and token.sent - window.entered < _EARLY_ROLL and self._previous is not None:
            self.margin.grow()
        if window.certainty is WindowCertainty.GUESSED and retry_after is not None:  # better than the guess
            window.end = math.ceil(self.clock.bounds(now + retry_after)[1])
            self._left_on_record = None

    def _name(self, end: int, now: float) -> None:
        """Set the end of the current window as the server states it."""
        if end != self._window.end or self._window.certainty is WindowCertainty.GUESSED:
            self._window.end = end
            self.forget_record()  # the record of a guessed window has a guessed clock, too
        self._window.certainty = WindowCertainty.STATED
        self._window.stated_at = min(now, self._window.stated_at)

    # From window to window

    def _roll(self, now: float) -> None:
        """Leave the window if it has certainly ended."""
        window = self._window
        if now < max(self.clock.certain_from(window.end) + self.margin.seconds, window.not_before):
            return
        earliest, latest = self.clock.bounds(now)
        following = math.ceil(window.end + self.length)
        if window.certainty is WindowCertainty.GUESSED:
            # Nothing will show it if it is an earlier one. Taking the latest keeps the sum over both within bounds.
            end = max(following, self._end_after(latest, window.end))
            certainty = WindowCertainty.GUESSED
        else:
            end = max(following, self._end_after(earliest - self.margin.seconds, window.end))
            certainty = WindowCertainty.ASSUMED
        self.margin.rolled()
        self._enter(Window(end, certainty, now))

    def _end_after(self, reading: float, origin: int = 0) -> int:
        """Return the first end after a reading of the server's clock, in whole windows from an earlier end."""
        return math.ceil(origin + self.length * (math.floor((reading - origin) / self.length) + 1))

    def _enter(self, window: Window) -> None:
        begun = self.clock.possible_from(window.end - self.length)
        self._unplaced = [moment for moment in self._unplaced if moment > begun - LATE_COUNT]
        window.spent += len(self._in_flight) + len(self._unplaced)
        self._previous, self._window = self._window, window
        self.forget_record()

    # Over restarts

    def record(self, block: Block, now: float, host: float) -> QuotaRecord:
        """Return what to store before `block` is spent; `host` is the host's epoch seconds now."""
        window, earliest = self._window, self.clock.bounds(now)[0]
        size = block.size if block.window is window else 0
        remaining = None if window.remaining is None else window.remaining - len(self._in_flight) - size
        resets_at = window.end
        if self._left() <= size and self._silence.until > self.clock.certain_from(window.end):
            resets_at = math.ceil(self.clock.bounds(self._silence.until)[1])
        return QuotaRecord(
            limit=self.limit,
            spent=window.spent + size,
            remaining=None if remaining is None else max(0, remaining),
            resets_at=resets_at,
            server_ahead=earliest - host,
            recorded_at=host,
        )

    def stored(self, block: Block) -> None:
        """Note that the record of this block is stored."""
        if block.window is self._window and block.end == self._window.end:
            self._covered = block.size  # the record covers no earlier block
            self._left_on_record = max(0, self._left() - block.size)

    def closing(self) -> Block:
        """Return the block to store last, which gives back what is unspent of the block before."""
        return Block(0, self._window, self._window.end)

    def restore(self, record: QuotaRecord, now: float, host: float) -> None:
        """Start from the record of an earlier process; to be called first.

        Between two processes there is only the host's clock, so it only decides whether the recorded window is over. If
        it is wrong, the first answer shows that: one that names the recorded window leads back to it.
        """
        self.limit = max(1, record.limit)
        end = record.resets_at
        if end is None:
            end = math.ceil(record.recorded_at + record.server_ahead + self.length)
        # After a step back of the host's clock the wait must not be longer than it was for the process that recorded.
        wait = end - host - record.server_ahead + HOST_CLOCK_SLACK
        longest = end - record.recorded_at - record.server_ahead + HOST_CLOCK_SLACK
        wait = min(wait, longest, self._longest())
        low = end - now - wait
        self.clock = ServerClock(low=low, high=low + 2 * HOST_CLOCK_SLACK, at=now)
        self._window = Window(end, WindowCertainty.ASSUMED, now, spent=record.spent, remaining=record.remaining)
        self._restored_end = end
        if self._left() <= 0:
            self._left_on_record = 0

    def forget_record(self) -> None:
        """Forget what is on record, so that a new record comes first: it states another window, clock or limit."""
        self._covered, self._left_on_record = 0, None
