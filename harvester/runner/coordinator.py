"""What each answer or failure means for the slices of one account: synchronous, so that it can be read in one piece.

The Judge holds what is not in flight (the agenda, and slices held for a 401), and knows whose fault a failure is
(trust, breaker, tolerance). It is told of every outcome and says what follows: entries go back to the agenda, into
`failures` to be stored, or the account's work ends with `end`. It touches neither network nor store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from harvester.core.breaker import GIVE_UP_AFTER, Breaker
from harvester.core.model import FailedSlice, RunReport, Series, Slice
from harvester.core.priority import Priority
from harvester.core.refusal import (
    NextStep,
    RangeLimitTracker,
    Task,
    after_acceptance,
    after_refusal,
    after_server_errors,
    apply_limits,
    make_narrow_test,
    split_newest_period,
)
from harvester.core.retry import GiveUp, decide
from harvester.core.unauthorized import UnauthorizedCause, UnauthorizedTracker
from harvester.core.work_queue import Entry, WorkQueue
from harvester.errors import (
    HarvesterError,
    Outage,
    PayloadError,
    SliceRejected,
    SourceUnavailable,
    Throttled,
    Unauthorized,
)
from harvester.events import Event

if TYPE_CHECKING:
    from harvester.core.period import Calendar
    from harvester.core.planning import Plan
    from harvester.runner.ports import Observer

SERVER_ERROR = 500
NOBODY_THERE = (Outage.CONNECT, Outage.CLOSED, Outage.TIMEOUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountContext:
    """What the judge must know of an account."""

    calendar: Calendar
    now: Callable[[], float]  # monotonic seconds
    today_is: Callable[[], float]  # epoch seconds
    jitter: Callable[[], float]  # random in [0, 1)
    limit_trackers: Mapping[str, RangeLimitTracker]  # by resource
    renewable: bool  # credentials
    emit: Observer
    priority: Callable[[Slice], Priority] = lambda _: Priority.PAST
    give_up_after: float = GIVE_UP_AFTER  # seconds without an answer after which the API counts as unreachable


@dataclass(slots=True)
class _Parked:
    entry: Entry
    generation: int
    detail: str  # of the refusal


@dataclass(slots=True)
class Coordinator:
    """The state of one account's work. See the module's docstring."""

    plan: Plan
    context: AccountContext
    report: RunReport
    queue: WorkQueue = field(init=False)
    unauthorized: UnauthorizedTracker = field(init=False)
    breaker: Breaker = field(default_factory=Breaker)
    failures: list[FailedSlice] = field(default_factory=list)
    end: HarvesterError | None = None
    in_flight: int = 0
    renewing: bool = False  # credentials are believed dead: sending on with them would be a waste
    last_outage: str = ""
    without_credentials: str = ""  # why none can be had at present
    _parked: list[_Parked] = field(default_factory=list)
    _hopeless: set[Series] = field(default_factory=set)  # refused down to the newest period; nothing of them passed

    def __post_init__(self) -> None:
        known = self.plan.refused_before
        tasks = (Task(piece, refused_before=bool(known) and piece in known) for piece in self.plan.slices)
        self.queue = WorkQueue(tasks, self.context.priority)
        phones = {piece.series.phone for piece in self.plan.slices}
        proven = self.context.renewable and self.plan.already_covered > 0
        self.unauthorized = UnauthorizedTracker(len(phones), renewable=self.context.renewable, proven=proven)
        slices = self.report.slices  # of a second plan after a lost database, what the first did is covered
        over = slices.done + slices.failed
        slices.planned = over + len(self.plan.slices)
        slices.already_covered = max(0, self.plan.already_covered - over)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to ask for."""
        return not (self.in_flight or len(self.queue) or self._parked)

    @property
    def outstanding(self) -> int:
        """Slices that are neither done nor failed."""
        return self.in_flight + len(self.queue) + len(self._parked)

    def may_send(self, beside: int = 0) -> bool:
        """Whether an entry could be taken now, beside those that so many others are going to take."""
        return not self._gated and self.queue.has_ready(
            self.context.now(), avoid=self.unauthorized.parked_phones, already_claimed=beside
        )

    def next_moment(self) -> float | None:
        """When waiting alone will allow to send (monotonic); None if something has to happen first."""
        return None if self._gated else self.queue.next_due()

    @property
    def _gated(self) -> bool:
        return self.renewing or (self.in_flight > 0 and (self.unauthorized.one_at_a_time or self.breaker.is_open))

    def take(self) -> tuple[Entry, int] | None:
        """The entry to send now, fitted to what the server takes, and its place in the order of events."""
        while not self._gated:
            now = self.context.now()
            entry = self.queue.take(now, avoid=self.unauthorized.parked_phones)
            if entry is None:
                break
            if self._fitted(entry):
                entry.sent = now
                self.in_flight += 1
                return entry, self.unauthorized.asked()
        return None

    def _fitted(self, entry: Entry) -> bool:
        """Cut the entry's task to what may be sent now, the rest back to the agenda; False if nothing is left of it."""
        context = self.context
        epoch = context.today_is()
        today = context.calendar.local_date(epoch)
        if entry.task.older is None and entry.task.slice.series in self._hopeless:
            entry.task = replace(entry.task, refused_before=True)
        fitted = apply_limits(entry.task, self._limit_tracker(entry.task.slice), context.calendar, today, epoch)
        if fitted and self.breaker.is_open:
            fitted = (*split_newest_period(fitted[0], context.calendar), *fitted[1:])
        for other in fitted[1:]:
            self.queue.add(Entry(other, entry.attempts, entry.only_500))
        self.report.slices.planned += len(fitted) - 1
        entry.task = fitted[0] if fitted else entry.task
        return bool(fitted)

    def answered(self, entry: Entry, order: int) -> bool:
        """The entry's slice was answered and taken. Returns whether the widths worth remembering have changed."""
        self._somebody_there()
        self._hopeless.discard(entry.task.slice.series)
        for phone in self.unauthorized.passed(order, entry.phone):
            self._reject_held(phone)
        limit_tracker = self._limit_tracker(entry.task.slice)
        before = limit_tracker.limits
        epoch = self.context.today_is()
        today = self.context.calendar.local_date(epoch)
        verdict = after_acceptance(entry.task, limit_tracker, self.context.calendar, today, epoch)
        self.report.slices.planned += len(verdict.tasks)
        self._add_tasks(verdict)
        return limit_tracker.limits != before

    def failed(self, entry: Entry, error: HarvesterError) -> int | None:
        """The entry's request failed. Returns the generation of credentials to renew, if any."""
        if not isinstance(error, SourceUnavailable):
            self._somebody_there()
        if entry.task.is_test:
            entry.task = Task(entry.task.whole)
        match error:
            case Throttled():
                self.report.rate_limited += 1
                self.context.emit(Event.THROTTLED, slice=entry.task.slice)
                self.queue.add(entry)
            case Unauthorized():
                return self._unauthorized(entry, error)
            case SliceRejected():
                self._refused(entry, error)
            case SourceUnavailable() | PayloadError():
                self._unavailable(entry, error)
            case _:
                self.give_up(error)
        return None

    def give_up(self, error: HarvesterError) -> None:
        """End the account's work; the first reason counts."""
        if self.end is None:
            self.end = error

    def decide_parked(self) -> int | None:
        """Nobody else is left to ask: decide about a held slice. Returns the generation to renew, if any."""
        if not self._parked or self.in_flight or self.renewing or self.queue.phones() - self.unauthorized.parked_phones:
            return None
        held = self._parked[0]
        if self.unauthorized.no_other_phone(held.entry.phone) is UnauthorizedCause.CREDENTIALS:
            self.renewing = True
            return held.generation
        self._reject_held(held.entry.phone)
        return None

    def renewed(self, generation: int) -> None:
        """The pair of this generation was replaced. Who says so late says nothing new."""
        if not self.unauthorized.replaced(generation):
            return
        self.renewing = False
        for held in self._parked:
            self.queue.add(held.entry)
        self._parked.clear()

    def _limit_tracker(self, piece: Slice) -> RangeLimitTracker:
        return self.context.limit_trackers[piece.series.resource]

    def _somebody_there(self) -> None:
        if self.breaker.answered():
            self.queue.wake()
            self.context.emit(Event.REACHABLE)

    def _unauthorized(self, entry: Entry, error: Unauthorized) -> int | None:
        cause = self.unauthorized.refused(entry.phone, error.generation)
        if cause is UnauthorizedCause.OLD_CREDENTIALS:
            self.queue.add(entry)
            return None
        self.context.emit(Event.UNAUTHORIZED, slice=entry.task.slice)
        self._parked.append(_Parked(entry, error.generation, error.detail))
        self.renewing = self.renewing or cause is UnauthorizedCause.CREDENTIALS
        return error.generation if cause is UnauthorizedCause.CREDENTIALS else None

    def _refused(self, entry: Entry, error: SliceRejected) -> None:
        self.context.emit(Event.REFUSED, slice=entry.task.slice, error=str(error))
        today = self.context.calendar.local_date(self.context.today_is())
        task, calendar = entry.task, self.context.calendar
        verdict = after_refusal(task, error.named, self._limit_tracker(task.slice), calendar, today)
        if verdict.failed is not None and task.slice.last == verdict.failed.last and not task.passed_width:
            self._hopeless.add(task.slice.series)
        self._follow(verdict, error)

    def _unavailable(self, entry: Entry, error: SourceUnavailable | PayloadError) -> None:
        now = self.context.now()
        outage = error.outage if isinstance(error, SourceUnavailable) else None
        if outage is not None:
            self.last_outage = error.detail
            self.breaker.failed(entry.task.slice, self.outstanding - 1, entry.sent, now)
        if self.breaker.is_open:
            self.queue.add(entry)
            return
        entry.attempts += 1
        entry.only_500 = entry.only_500 and getattr(error, "status", None) == SERVER_ERROR
        if outage is Outage.SERVER and self._questions_width(entry, error):
            return
        decision = decide(error, entry.attempts, self.context.jitter())
        if not isinstance(decision, GiveUp):
            self.report.retries += 1
            self.context.emit(Event.RETRY, slice=entry.task.slice, error=str(error), after=decision.after)
            self.queue.add_later(entry, now + decision.after)
        elif outage in NOBODY_THERE and not self.breaker.ever_answered:
            self.breaker.trip()  # too few slices to open it, and none of them was ever answered
            entry.attempts = 0
            self.queue.add(entry)
        elif entry.only_500:
            verdict = after_server_errors(entry.task, self._limit_tracker(entry.task.slice), self.context.calendar)
            self._follow(verdict, error)
        else:
            self._fail(entry.task.whole, error)

    def _questions_width(self, entry: Entry, error: HarvesterError) -> bool:
        """Whether a 5xx is taken for, or tested as, a refusal of the width."""
        task, calendar = entry.task, self.context.calendar
        limit_tracker = self._limit_tracker(task.slice)
        if task.refused_starts_through is not None or not limit_tracker.may_be_too_wide(task.slice.days):
            return False
        if limit_tracker.wide_ranges_fail:
            self._follow(after_server_errors(task, limit_tracker, calendar), error)
            return True
        test = make_narrow_test(task, calendar)
        if test is None or not limit_tracker.record_server_error(task.slice.days):
            return False
        entry.task = test
        self.queue.add(entry)
        return True

    def _add_tasks(self, verdict: NextStep) -> None:
        for task in verdict.tasks:
            self.queue.add(Entry(task))

    def _follow(self, verdict: NextStep, error: HarvesterError) -> None:
        self._add_tasks(verdict)
        if verdict.failed is not None:
            self._fail(verdict.failed, error)

    def _fail(self, piece: Slice, error: HarvesterError) -> None:
        self.context.emit(Event.FAILED, slice=piece, error=str(error))
        self.failures.append(FailedSlice(piece, error.code, str(error)))

    def _reject_held(self, phone: str) -> None:
        for held in [held for held in self._parked if held.entry.phone == phone]:
            self._parked.remove(held)
            error = SliceRejected(f"{held.detail} for this number alone, while others pass: is it this account's?")
            self._fail(held.entry.task.whole, error)
