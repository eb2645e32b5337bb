"""Check of one account: decides if slices or the account are to blame for a failure, by a control where needed.

A 401, days that do not fit the calendar, and no answer at all may each be the fault of one number. Slices with a 401 or
with other days are parked here. If nothing else is left to be asked for that could decide, a slice that was answered
before is asked for as a control (core.controls): if it is answered, the parked slices fail and the account goes on.
Without any slice that was ever answered, the account is to blame.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from harvester.core.controls import Controls, Target, target_of
from harvester.core.model import Slice
from harvester.core.range_limits import Task
from harvester.core.refused_requests import RefusedRequests
from harvester.core.unauthorized import UnauthorizedCause, UnauthorizedTracker
from harvester.core.work_queue import Entry, WorkQueue
from harvester.errors import (
    CalendarMismatch,
    HarvesterError,
    Outage,
    PayloadError,
    RequestsRefused,
    SliceRejected,
    SourceUnavailable,
    Throttled,
    Unauthorized,
)

MAX_FORBIDDEN = 3  # times that a slice with a 403 is requested again as if it had got a 429
BURST_SECONDS = 60.0  # after an answer, in which a 403 may come from a limit on bursts
ENOUGH_UNUSABLE = 3  # phones in a row with the same unusable 200, after which it is an outage: maintenance


@dataclass(slots=True)
class _Parked:
    """An entry that was answered 401 and waits until the cause is known."""

    entry: Entry
    generation: int  # of the credentials that were refused
    detail: str  # of the 401


@dataclass(slots=True)
class AccountCheck:
    """State of the check.

    Args:
        queue: the entries that are still to be asked for.
        fail: takes a slice that is given up, and its error.
    """

    queue: WorkQueue
    fail: Callable[[Slice, HarvesterError], None]
    phones: int  # that are asked for
    controls: Controls = field(default_factory=Controls)
    unauthorized: UnauthorizedTracker = field(default_factory=UnauthorizedTracker)
    refused_requests: RefusedRequests = field(default_factory=RefusedRequests)
    control: Entry | None = None  # to be sent next
    _parked: list[_Parked] = field(default_factory=list)
    _mismatched: list[tuple[Entry, CalendarMismatch]] = field(default_factory=list)  # of one phone
    _all_refused: str = ""  # the newest refusal, if all requests are refused
    _unusable_text: str = ""  # of the newest unusable 200
    _unusable_phones: set[str] = field(default_factory=set)  # that got it, since a request was answered
    _answered_at: float = -math.inf  # monotonic
    _last_control_used: bool = False  # since the API answered

    @property
    def parked(self) -> int:
        """The number of slices that wait for a decision."""
        return len(self._parked) + len(self._mismatched) + bool(self._all_refused)

    @property
    def one_at_a_time(self) -> bool:
        """True while each request should profit from the outcome of the last."""
        return self.unauthorized.one_at_a_time or self.refused_requests.one_at_a_time

    @property
    def blocks(self) -> bool:
        """True while nothing may be sent before `decide` was called."""
        return self.control is None and (self.unauthorized.undecided or bool(self._mismatched or self._all_refused))

    def in_doubt(self, *, unreachable: bool) -> bool:
        """Return True if nothing but a control can decide; `unreachable`: the breaker is open."""
        if self.control is not None:
            return False
        if self._parked:
            return self.unauthorized.undecided or not self.queue.phones() - self.unauthorized.parked_phones
        if self._mismatched or self._all_refused:
            return True
        return unreachable and len(self.queue) > 0 and self.queue.all_tried()

    def decide(self) -> int | CalendarMismatch | RequestsRefused | None:
        """Decide if `in_doubt`, or prepare a control.

        Returns:
            the generation of credentials to renew, or the error that ends the run, if any.
        """
        if self._parked:
            return self._decide_parked()
        if self._mismatched:
            return self._decide_mismatched()
        if self._all_refused:
            return self._decide_all_refused()
        waiting = self.queue.targets()
        self._prepare(self.controls.choose(lambda target: target not in waiting))
        return None

    def last_control(self) -> bool:
        """Return True once, if a control is to be sent before the API counts as unreachable."""
        is_last = self.control is not None and not self._last_control_used
        self._last_control_used = True
        return is_last

    def reachable(self) -> None:
        """Record that the API answered."""
        self._last_control_used = False

    # Outcomes

    def answered(self, entry: Entry, sequence: int, newest: Slice, now: float) -> None:
        """Process an answer; `newest` is the newest period of its slice."""
        self._answered_at = now
        self.refused_requests.end()
        self._all_refused = ""
        self._unusable_phones.clear()
        for phone in self.unauthorized.passed(sequence):
            self._reject(phone)
        if not entry.is_control:
            self.controls.answered(newest)
            return
        for mismatched, error in self._mismatched:
            text = f"for this number only, while another number's days are as configured: {error.detail}"
            self.fail(mismatched.task.whole, PayloadError(text))
        self._mismatched.clear()

    def throttled(self, entry: Entry, error: HarvesterError, now: float) -> bool:
        """Return True for a 429, and for a 403 moments after another request was answered: the quota pauses then."""
        if not isinstance(error, Unauthorized) or error.status != HTTPStatus.FORBIDDEN:
            return isinstance(error, Throttled)
        entry.forbidden += 1
        return entry.forbidden <= MAX_FORBIDDEN and now - self._answered_at <= BURST_SECONDS

    def refused(self, entry: Entry, error: Unauthorized) -> UnauthorizedCause:
        """Process a 401 and return its cause."""
        if entry.is_control and not self._parked:  # a control for another reason: it decides nothing
            self.controls.failed(entry.task.slice)
            return UnauthorizedCause.UNKNOWN
        target = target_of(entry.task.slice)
        cause = self.unauthorized.refused(target, error.generation, self.controls.targets)
        if cause is not UnauthorizedCause.OLD_CREDENTIALS and not entry.is_control:
            self._parked.append(_Parked(entry, error.generation, error.detail))
        return cause

    def rejected(self, entry: Entry, error: SliceRejected | SourceUnavailable, *, searched: bool) -> None:
        """Process a refusal that may concern every request; `searched`: no range of its slice passes."""
        if isinstance(error, SliceRejected) and error.named:
            return
        self.refused_requests.refused(error.status, entry.phone, searched=searched)
        if self.refused_requests.suspects_account(self.phones):
            self._all_refused = error.detail

    def postpones(self, entry: Entry, error: SliceRejected) -> bool:
        """Return True if the slice is to be asked for again, because its refusal may concern every request."""
        if error.named or error.status in (None, HTTPStatus.BAD_REQUEST):
            return False
        self.rejected(entry, error, searched=False)
        return self.refused_requests.postpones_search()

    def as_outage(self, entry: Entry, error: PayloadError) -> SourceUnavailable | None:
        """Return the outage that an unusable 200 means if several phones in a row got the same; None if it is none."""
        if error.detail != self._unusable_text:
            self._unusable_text = error.detail
            self._unusable_phones.clear()
        self._unusable_phones.add(entry.phone)
        if len(self._unusable_phones) < ENOUGH_UNUSABLE:
            return None
        return SourceUnavailable(f"200, {error.detail}", outage=Outage.NOT_API, status=HTTPStatus.OK)

    def mismatched(self, entry: Entry, error: CalendarMismatch) -> bool:
        """Process days that do not fit. Return True if the calendar is to blame: a second phone has shown the same."""
        if self._mismatched and (entry.is_control or self._mismatched[0][0].phone != entry.phone):
            return True
        if entry.is_control:
            self.controls.failed(entry.task.slice)
        else:
            self._mismatched.append((entry, error))
        return False

    def control_failed(self, entry: Entry) -> None:
        """Record that a control decided nothing."""
        self.controls.failed(entry.task.slice)

    def renewed(self, generation: int) -> list[Entry] | None:
        """Return the parked entries after this generation of credentials was replaced; None if that was known."""
        if not self.unauthorized.replaced(generation):
            return None
        entries = [parked.entry for parked in self._parked]
        self._parked.clear()
        return entries

    def _decide_parked(self) -> int | None:
        answered = self.controls.targets
        cause = self.unauthorized.decide(answered)
        if cause is UnauthorizedCause.UNKNOWN:
            if self._prepare(self.controls.choose(self.unauthorized.may_be_control)):
                return None
            cause = self.unauthorized.decide_without_control(answered)
        self.controls.forget_failures()
        if cause is UnauthorizedCause.CREDENTIALS:
            return self._parked[0].generation
        for phone in self.unauthorized.release():
            self._reject(phone)
        return None

    def _decide_mismatched(self) -> CalendarMismatch | None:
        """Ask another phone for the same days; without one the calendar is to blame."""
        entry, error = self._mismatched[0]
        series = entry.task.slice.series

        def suitable(target: Target) -> bool:
            return target[0] == series.resource and target[1] != series.phone

        other = self.controls.choose(suitable)
        if other is None:
            return error
        self._prepare(replace(entry.task.slice, series=replace(series, phone=other.series.phone)))
        return None

    def _decide_all_refused(self) -> RequestsRefused | None:
        """Blame the account, unless something was ever answered."""
        detail, self._all_refused = self._all_refused, ""
        if not self.controls.targets:
            return RequestsRefused(self.refused_requests.remedy(detail))
        self.refused_requests.end()
        return None

    def _prepare(self, piece: Slice | None) -> bool:
        self.control = None if piece is None else Entry(Task(piece), is_control=True)
        return piece is not None

    def _reject(self, phone: str) -> None:
        for parked in [parked for parked in self._parked if parked.entry.phone == phone]:
            self._parked.remove(parked)
            error = SliceRejected(
                f"{parked.detail} for this number only, while other numbers are answered; "
                "remove it if it belongs to another account"
            )
            self.fail(parked.entry.task.whole, error)
