"""Coordinator of one account's plan: decides what each answer or failure means for the slices.

It is synchronous and in one piece, so that its decisions can be read together and tested without an event loop. It
holds the slices that are not in flight: those in the work queue, and those parked until it is known if the account is
to blame. It finds the cause of failures (`AccountCheck`, `Breaker`, `RangeLimitTracker`). The worker pool reports every
outcome to it. Then entries go back to the queue, slices go to `failures` to be stored, or `end` is set and the
account's run ends. It uses neither network nor store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from harvester.core.breaker import GIVE_UP_AFTER, Breaker
from harvester.core.model import Batch, FailedSlice, RangeKey, RangeLimits, RunReport, Series, Slice
from harvester.core.period import Calendar
from harvester.core.planning import Plan
from harvester.core.priority import Priority
from harvester.core.range_limits import NextStep, RangeLimitTracker, Task, is_single_period, without_search
from harvester.core.refusal import (
    after_acceptance,
    after_failure,
    after_refusal,
    apply_limits,
    make_narrow_test,
    split_newest_period,
)
from harvester.core.retry import MAX_ATTEMPTS, pause
from harvester.core.silent_cap import after_edge, edge_of
from harvester.core.unauthorized import UnauthorizedCause
from harvester.core.work_queue import Entry, WorkQueue
from harvester.errors import (
    CalendarMismatch,
    HarvesterError,
    Outage,
    PayloadError,
    SliceRejected,
    SourceUnavailable,
    Throttled,
    Unauthorized,
)
from harvester.events import Event
from harvester.runner.account_check import AccountCheck
from harvester.runner.limit_changes import LimitChanges
from harvester.runner.ports import Observer
from harvester.runner.progress import Progress

NO_ANSWER = (Outage.CONNECT, Outage.CLOSED, Outage.TIMEOUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountContext:
    """Facts and functions of one account that the coordinator needs."""

    calendar: Calendar
    now: Callable[[], float]  # monotonic seconds
    epoch_now: Callable[[], float]  # epoch seconds
    jitter: Callable[[], float]  # random in [0, 1)
    limit_trackers: Mapping[RangeKey, RangeLimitTracker]
    emit: Observer
    priority: Callable[[Slice], Priority] = lambda _: Priority.PAST
    give_up_after: float = GIVE_UP_AFTER  # seconds without an answer after which the API counts as unreachable


@dataclass(slots=True)
class Coordinator:
    """State of one account's run.

    Args:
        plan: the slices to fetch.
        context: of the account.
        report: updated with requests, retries and planned slices.
        progress: of the plan that this one replaces, and for the next one.
    """

    plan: Plan
    context: AccountContext
    report: RunReport
    progress: Progress = field(default_factory=Progress)
    queue: WorkQueue = field(init=False)
    check: AccountCheck = field(init=False)
    failures: list[FailedSlice] = field(default_factory=list)  # given up, and not passed to the writer yet
    end: HarvesterError | None = None  # why the run ends early
    in_flight: int = 0
    renewing: bool = False  # the credentials are being replaced: requests with the old ones would be wasted
    narrow_failed: bool = False  # a single period has failed, or no connection came, since the last answer
    without_credentials: str = ""  # why no credentials are available at present
    _testing: bool = False  # a narrow range is being tested
    _limit_changes: LimitChanges = field(init=False)
    _refused_series: set[Series] = field(default_factory=set)  # refused down to the newest period, never accepted

    def __post_init__(self) -> None:
        self._limit_changes = LimitChanges(self.context.limit_trackers)
        known = self.plan.refused_before
        self.queue = WorkQueue(priority_of=self.context.priority)
        entries, self.progress.entries = self.progress.entries, {}
        for piece in self.plan.slices:
            if piece not in entries:
                self.queue.add(Entry(Task(piece, refused_before=bool(known) and piece in known)))
        for begun in [entries[piece] for piece in self.plan.slices if piece in entries]:  # the others go first
            self._testing = self._testing or begun.task.is_test
            self.queue.add(begun)
        phones = {piece.series.phone for piece in self.plan.slices}
        self.check = AccountCheck(self.queue, self._fail, len(phones))
        slices = self.report.slices  # after a lost database the second plan counts as covered what the first has done
        ended = slices.done + slices.failed
        slices.planned = ended + len(self.plan.slices)
        slices.already_covered = max(0, self.plan.already_covered - ended)

    @property
    def breaker(self) -> Breaker:
        """The account's breaker."""
        return self.progress.breaker

    def save_progress(self) -> None:
        """Move the attempts and searches that have not ended to `progress`. Call it after a recall."""
        for entry in self.queue.drain():
            if entry.attempts or entry.task.older is not None:
                self.progress.entries[without_search(entry.task).slice] = entry

    @property
    def finished(self) -> bool:
        """True if every slice is done or failed."""
        return not self.outstanding

    @property
    def outstanding(self) -> int:
        """The number of slices that are neither done nor failed."""
        return self.in_flight + len(self.queue) + self.check.parked

    def may_send(self, already_claimed: int = 0) -> bool:
        """Return True if an entry could be taken now after `already_claimed` others are taken."""
        if self._blocked or self.check.control is not None:
            return not self._blocked and not already_claimed
        return self.queue.has_ready(self.context.now(), avoid=self._parked_phones, already_claimed=already_claimed)

    def next_due(self) -> float | None:
        """Return the monotonic moment from which time alone allows to send; None if an event must come first."""
        return None if self._blocked else self.queue.next_due()

    @property
    def _blocked(self) -> bool:
        """True while nothing may be sent beside what is in flight."""
        if self.renewing or self.check.blocks or self.needs_controls:
            return True
        return self.in_flight > 0 and (self.check.one_at_a_time or self.breaker.is_open)

    @property
    def _parked_phones(self) -> frozenset[str]:
        return self.check.unauthorized.parked_phones

    def take(self) -> tuple[Entry, int] | None:
        """Return the entry to send now, cut to the range limits, and its sequence number; None if there is none."""
        while not self._blocked:
            now = self.context.now()
            entry, self.check.control = self.check.control, None
            if entry is None:
                entry = self.queue.take(now, avoid=self._parked_phones)
            if entry is None:
                break
            if entry.is_control or self._cut_to_limits(entry):
                entry.sent = now
                self.in_flight += 1
                return entry, self.check.unauthorized.asked()
        return None

    def _cut_to_limits(self, entry: Entry) -> bool:
        """Cut the entry's task to what may be sent now and queue the rest; return False if nothing is left to send."""
        context = self.context
        epoch = context.epoch_now()
        today = context.calendar.local_date(epoch)
        if entry.task.older is None and entry.task.slice.series in self._refused_series:
            entry.task = replace(entry.task, refused_before=True)
        tasks = apply_limits(entry.task, self._limit_tracker(entry.task.slice), context.calendar, today, epoch)
        if tasks and self.breaker.is_open:
            tasks = (*split_newest_period(tasks[0], context.calendar), *tasks[1:])
        for other in tasks[1:]:
            self.queue.add(Entry(other, entry.attempts, entry.tested, entry.sent))
        self.report.slices.planned += len(tasks) - 1
        if entry.task.is_test and not (tasks and tasks[0].is_test):
            self._testing = False
        entry.task = tasks[0] if tasks else entry.task
        return bool(tasks)

    def answered(self, entry: Entry, sequence: int, batch: Batch | None = None) -> None:
        """Process an accepted answer.

        The answer to a control (`entry.is_control`) is not to be stored.

        Args:
            entry: whose slice was answered.
            sequence: the number that `take` returned with the entry.
            batch: the answer; without it no period counts as absent.
        """
        newest, *_ = split_newest_period(Task(entry.task.slice), self.context.calendar)
        self.check.answered(entry, sequence, newest.slice, self.context.now())
        if entry.is_control:
            self._note_reachable()
            return
        limit_tracker = self._limit_tracker(entry.task.slice)
        if self.breaker.is_open and is_single_period(entry.task, self.context.calendar):
            limit_tracker.record_probe_accepted()
        self._note_reachable()
        self._testing = self._testing and not entry.task.is_test
        self._refused_series.discard(entry.task.slice.series)
        epoch = self.context.epoch_now()
        today = self.context.calendar.local_date(epoch)
        calendar = self.context.calendar
        edge = edge_of(batch, calendar)
        step = after_acceptance(entry.task, limit_tracker, calendar, today, epoch, perhaps_cut=edge is not None)
        tasks = [*step.tasks, *after_edge(entry.task, batch, edge, self.plan.absent, limit_tracker, epoch)]
        self.report.slices.planned += len(tasks)
        self._add_tasks(tasks)

    def failed(self, entry: Entry, error: HarvesterError) -> int | None:
        """Process a failed request. Returns the generation of credentials to renew, if any."""
        outage = self.check.as_outage(entry, error) if isinstance(error, PayloadError) else None
        if outage is not None:
            self._note_outage(entry, outage)
            self.breaker.trip(self.context.now())
        elif isinstance(error, SourceUnavailable):
            self._note_outage(entry, error)
        else:
            self._note_reachable()
        if entry.task.is_test:
            self._testing = False
            entry.task = Task(entry.task.whole)
        match error:
            case Throttled() | Unauthorized() if self.check.throttled(entry, error, self.context.now()):
                self.report.rate_limited += 1
                self.context.emit(Event.THROTTLED, slice=entry.task.slice)
                self._ask_again(entry)
            case Unauthorized():
                return self._unauthorized(entry, error)
            case CalendarMismatch() if not self.check.mismatched(entry, error):
                pass  # parked
            case SliceRejected() | SourceUnavailable() | PayloadError() if entry.is_control:
                self.check.control_failed(entry)
            case SliceRejected():
                self._refused(entry, error)
            case SourceUnavailable() | PayloadError():
                self._unavailable(entry, error)
            case _:
                self.give_up(error)
        return None

    def take_changed_limits(self) -> dict[RangeKey, RangeLimits]:
        """Return the range limits that have changed and should be stored. Logs a last day that was not known."""
        return self._limit_changes.take(self.context.calendar.local_date(self.context.epoch_now()), self.context.emit)

    def give_up(self, error: HarvesterError) -> None:
        """End the account's run with this error, unless it ends with another one already."""
        if self.end is None:
            self.end = error

    @property
    def needs_controls(self) -> bool:
        """True if `decide` needs to know what earlier runs were answered; see `load_controls`."""
        return not self.check.controls.loaded and self._in_doubt

    def load_controls(self, pieces: Iterable[Slice]) -> None:
        """Take slices that earlier runs were answered, the most recently answered first."""
        self.check.controls.load(pieces)

    @property
    def _in_doubt(self) -> bool:
        return not self.in_flight and not self.renewing and self.check.in_doubt(unreachable=self.breaker.is_open)

    def decide(self) -> int | None:
        """Decide about parked slices if nothing else can be sent that would. Returns a generation to renew, if any."""
        if not self._in_doubt or not self.check.controls.loaded:
            return None
        verdict = self.check.decide()
        if isinstance(verdict, HarvesterError):
            self.give_up(verdict)
            return None
        self.renewing = verdict is not None
        return verdict

    def renewed(self, generation: int) -> None:
        """Queue the parked slices again after the credentials of this generation were replaced; once per generation."""
        entries = self.check.renewed(generation)
        if entries is not None:
            self.renewing = False
            for entry in entries:
                self.queue.add(entry)

    def _ask_again(self, entry: Entry) -> None:
        if entry.is_control:
            self.check.control = entry
        else:
            self.queue.add(entry)

    def _limit_tracker(self, piece: Slice) -> RangeLimitTracker:
        return self.context.limit_trackers[piece.series.range_key]

    def _note_outage(self, entry: Entry, error: SourceUnavailable) -> None:
        """Record a failure that may be an outage; that of a wide range while only wide ranges fail is none."""
        piece = entry.task.slice
        narrow = error.outage is Outage.CONNECT or is_single_period(entry.task, self.context.calendar)
        self.narrow_failed = self.narrow_failed or narrow
        self.progress.last_outage = error.detail
        if narrow or entry.is_control or not self._limit_tracker(piece).fails_for_width(piece.days):
            self.breaker.failed(piece, self.outstanding - 1, entry.sent, self.context.now())

    def _note_reachable(self) -> None:
        self.narrow_failed = False
        self.check.reachable()
        if self.breaker.answered():
            self.queue.wake()
            self.context.emit(Event.REACHABLE)

    def _unauthorized(self, entry: Entry, error: Unauthorized) -> int | None:
        cause = self.check.refused(entry, error)
        if cause is UnauthorizedCause.OLD_CREDENTIALS:
            self._ask_again(entry)
            return None
        self.context.emit(Event.UNAUTHORIZED, slice=entry.task.slice)
        self.renewing = self.renewing or cause is UnauthorizedCause.CREDENTIALS
        return error.generation if cause is UnauthorizedCause.CREDENTIALS else None

    def _refused(self, entry: Entry, error: SliceRejected) -> None:
        self.context.emit(Event.REFUSED, slice=entry.task.slice, error=str(error))
        if self.check.postpones(entry, error):
            self.queue.add(entry)
            return
        epoch = self.context.epoch_now()
        task, calendar = entry.task, self.context.calendar
        limit_tracker = self._limit_tracker(task.slice)
        step = after_refusal(task, error.named, limit_tracker, calendar, calendar.local_date(epoch), epoch)
        searched = step.failed is not None and task.whole.last == step.failed.last and not task.passed_width
        if searched:
            self._refused_series.add(task.slice.series)
        if error.status == HTTPStatus.BAD_REQUEST:
            self.check.rejected(entry, error, searched=searched)
        self._follow(step, error)

    def _unavailable(self, entry: Entry, error: SourceUnavailable | PayloadError) -> None:
        now = self.context.now()
        outage = error.outage if isinstance(error, SourceUnavailable) else None
        if isinstance(error, SourceUnavailable):
            self.check.rejected(entry, error, searched=True)
        if self.breaker.is_open:
            entry.task = without_search(entry.task)  # a search would go first, and another phone may be answered
            self.queue.add(entry)
            return
        entry.attempts += 1
        if outage is not Outage.CONNECT and self._narrow(entry, error, timed_out=outage is Outage.TIMEOUT):
            return
        if entry.attempts < MAX_ATTEMPTS:
            seconds = pause(entry.attempts, self.context.jitter())
            self.report.retries += 1
            self.context.emit(Event.RETRY, slice=entry.task.slice, error=str(error), after=seconds)
            self.queue.add_later(entry, now + seconds)
        elif outage in NO_ANSWER and not self.breaker.ever_answered:
            self.breaker.trip(self.context.now())  # too few slices to open it otherwise, and none was ever answered
            entry.attempts = 0
            self.queue.add(entry)
        else:
            if is_single_period(entry.task, self.context.calendar):
                self._limit_tracker(entry.task.slice).clear_suspicion()
            self._fail(entry.task.whole, error)

    def _narrow(self, entry: Entry, error: HarvesterError, *, timed_out: bool) -> bool:
        """Return True if the failure is treated, or tested, as a refusal of the range's width."""
        task, calendar = entry.task, self.context.calendar
        limit_tracker = self._limit_tracker(task.slice)
        if is_single_period(task, calendar):
            return False
        limit_tracker.record_failure(task)
        if limit_tracker.wide_ranges_fail or (entry.attempts >= MAX_ATTEMPTS and task.older is not None):
            self._follow(after_failure(task, limit_tracker, calendar), error)
            return True
        due = limit_tracker.test_is_due or (timed_out and limit_tracker.may_be_too_wide(task.slice.days))
        test = make_narrow_test(task, calendar)
        if test is None or entry.tested or self._testing or not due:
            return False
        limit_tracker.record_test()
        self._testing = entry.tested = True
        entry.task = test
        self.queue.add(entry)
        return True

    def _add_tasks(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            self.queue.add(Entry(task))

    def _follow(self, step: NextStep, error: HarvesterError) -> None:
        self._add_tasks(step.tasks)
        if step.failed is not None:
            self._fail(step.failed, error)

    def _fail(self, piece: Slice, error: HarvesterError) -> None:
        self.context.emit(Event.FAILED, slice=piece, error=str(error))
        self.failures.append(FailedSlice(piece, error.code, str(error)))
