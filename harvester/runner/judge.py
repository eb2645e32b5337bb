"""What each answer or failure means for the slices of one account: synchronous, so that it can be read in one piece.

The Judge holds what is not in flight (the agenda, and slices held for a 401), and knows whose fault a failure is
(trust, breaker, tolerance). It is told of every outcome and says what follows: entries go back to the agenda, into
`failures` to be stored, or the account's work ends with `end`. It touches neither network nor store.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from harvester.core.agenda import Agenda, Entry, Rank
from harvester.core.breaker import PATIENCE, Breaker
from harvester.core.model import FailedSlice
from harvester.core.refusal import (
    Task,
    Verdict,
    after_acceptance,
    after_refusal,
    after_server_errors,
    fit,
    narrowed,
    tested,
)
from harvester.core.retry import GiveUp, decide
from harvester.core.trust import Judgement, Trust
from harvester.errors import (
    Outage,
    PayloadError,
    SliceRejected,
    SourceUnavailable,
    Throttled,
    Unauthorized,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harvester.core.model import RunReport, Series, Slice
    from harvester.core.period import Calendar
    from harvester.core.planning import Plan
    from harvester.core.refusal import (
        Tolerance,
    )
    from harvester.errors import (
        HarvesterError,
    )
    from harvester.runner.ports import Observer

SERVER_ERROR = 500
NOBODY_THERE = (Outage.CONNECT, Outage.CLOSED, Outage.TIMEOUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the judge must know of an account."""

    calendar: Calendar
    now: Callable[[], float]  # monotonic seconds
    today_is: Callable[[], float]  # epoch seconds
    jitter: Callable[[], float]  # random in [0, 1)
    tolerances: Mapping[str, Tolerance]  # by resource
    renewable: bool  # credentials
    tell: Observer
    rank: Callable[[Slice], Rank] = lambda _: Rank.PAST
    patience: float = PATIENCE  # seconds for which a closed API is tried again


@dataclass(slots=True)
class _Held:
    entry: Entry
    generation: int
    detail: str  # of the refusal


@dataclass(slots=True)
class Judge:
    """The state of one account's work. See the module's docstring."""

    plan: Plan
    terms: Terms
    report: RunReport
    agenda: Agenda = field(init=False)
    trust: Trust = field(init=False)
    breaker: Breaker = field(default_factory=Breaker)
    failures: list[FailedSlice] = field(default_factory=list)
    end: HarvesterError | None = None
    in_flight: int = 0
    renewing: bool = False  # credentials are believed dead: sending on with them would be a waste
    last_outage: str = ""
    without_credentials: str = ""  # why none can be had at present
    _held: list[_Held] = field(default_factory=list)
    _hopeless: set[Series] = field(default_factory=set)  # refused down to the newest period; nothing of them passed

    def __post_init__(self) -> None:
        known = self.plan.refused_before
        tasks = (Task(piece, refused_before=bool(known) and piece in known) for piece in self.plan.slices)
        self.agenda = Agenda(tasks, self.terms.rank)
        phones = {piece.series.phone for piece in self.plan.slices}
        proven = self.terms.renewable and self.plan.already_covered > 0
        self.trust = Trust(len(phones), renewable=self.terms.renewable, proven=proven)
        slices = self.report.slices  # of a second plan after a lost database, what the first did is covered
        over = slices.done + slices.failed
        slices.planned = over + len(self.plan.slices)
        slices.already_covered = max(0, self.plan.already_covered - over)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to ask for."""
        return not (self.in_flight or len(self.agenda) or self._held)

    @property
    def outstanding(self) -> int:
        """Slices that are neither done nor failed."""
        return self.in_flight + len(self.agenda) + len(self._held)

    def may_send(self, beside: int = 0) -> bool:
        """Whether an entry could be taken now, beside those that so many others are going to take."""
        return not self._gated and self.agenda.has_ready(self.terms.now(), avoid=self.trust.suspects, beside=beside)

    def next_moment(self) -> float | None:
        """When waiting alone will allow to send (monotonic); None if something has to happen first."""
        return None if self._gated else self.agenda.next_moment()

    @property
    def _gated(self) -> bool:
        return self.renewing or (self.in_flight > 0 and (self.trust.cautious or self.breaker.is_open))

    def take(self) -> tuple[Entry, int] | None:
        """The entry to send now, fitted to what the server takes, and its place in the order of events."""
        while not self._gated:
            now = self.terms.now()
            entry = self.agenda.take(now, avoid=self.trust.suspects)
            if entry is None:
                break
            if self._fitted(entry):
                entry.sent = now
                self.in_flight += 1
                return entry, self.trust.asked()
        return None

    def _fitted(self, entry: Entry) -> bool:
        """Cut the entry's task to what may be sent now, the rest back to the agenda; False if nothing is left of it."""
        terms = self.terms
        epoch = terms.today_is()
        today = terms.calendar.local_date(epoch)
        if entry.task.rest is None and entry.task.slice.series in self._hopeless:
            entry.task = replace(entry.task, refused_before=True)
        fitted = fit(entry.task, self._tolerance(entry.task.slice), terms.calendar, today, epoch)
        if fitted and self.breaker.is_open:
            fitted = (*narrowed(fitted[0], terms.calendar), *fitted[1:])
        for other in fitted[1:]:
            self.agenda.add(Entry(other, entry.attempts, entry.only_500))
        self.report.slices.planned += len(fitted) - 1
        entry.task = fitted[0] if fitted else entry.task
        return bool(fitted)

    def answered(self, entry: Entry, order: int) -> bool:
        """The entry's slice was answered and taken. Returns whether the widths worth remembering have changed."""
        self._somebody_there()
        self._hopeless.discard(entry.task.slice.series)
        for phone in self.trust.passed(order, entry.phone):
            self._reject_held(phone)
        tolerance = self._tolerance(entry.task.slice)
        before = tolerance.widths
        epoch = self.terms.today_is()
        today = self.terms.calendar.local_date(epoch)
        verdict = after_acceptance(entry.task, tolerance, self.terms.calendar, today, epoch)
        self.report.slices.planned += len(verdict.tasks)
        self._follow(verdict, "")
        return tolerance.widths != before

    def failed(self, entry: Entry, error: HarvesterError) -> int | None:
        """The entry's request failed. Returns the generation of credentials to renew, if any."""
        if not isinstance(error, SourceUnavailable):
            self._somebody_there()
        if entry.task.is_test:
            entry.task = Task(entry.task.whole)
        match error:
            case Throttled():
                self.report.rate_limited += 1
                self.terms.tell("throttled", slice=entry.task.slice)
                self.agenda.add(entry)
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

    def judge_held(self) -> int | None:
        """Nobody else is left to ask: decide about a held slice. Returns the generation to renew, if any."""
        if not self._held or self.in_flight or self.renewing or self.agenda.phones() - self.trust.suspects:
            return None
        held = self._held[0]
        if self.trust.nobody_else(held.entry.phone) is Judgement.DEAD:
            self.renewing = True
            return held.generation
        self._reject_held(held.entry.phone)
        return None

    def renewed(self, generation: int) -> None:
        """The pair of this generation was replaced. Who says so late says nothing new."""
        if not self.trust.replaced(generation):
            return
        self.renewing = False
        for held in self._held:
            self.agenda.add(held.entry)
        self._held.clear()

    def _tolerance(self, piece: Slice) -> Tolerance:
        return self.terms.tolerances[piece.series.resource]

    def _somebody_there(self) -> None:
        if self.breaker.answered():
            self.agenda.wake()
            self.terms.tell("reachable")

    def _unauthorized(self, entry: Entry, error: Unauthorized) -> int | None:
        judgement = self.trust.refused(entry.phone, error.generation)
        if judgement is Judgement.AGAIN:
            self.agenda.add(entry)
            return None
        self.terms.tell("unauthorized", slice=entry.task.slice)
        self._held.append(_Held(entry, error.generation, error.detail))
        self.renewing = self.renewing or judgement is Judgement.DEAD
        return error.generation if judgement is Judgement.DEAD else None

    def _refused(self, entry: Entry, error: SliceRejected) -> None:
        self.terms.tell("refused", slice=entry.task.slice, error=str(error))
        today = self.terms.calendar.local_date(self.terms.today_is())
        task, calendar = entry.task, self.terms.calendar
        verdict = after_refusal(task, error.named, self._tolerance(task.slice), calendar, today)
        if verdict.failed is not None and task.slice.last == verdict.failed.last and not task.passed_width:
            self._hopeless.add(task.slice.series)
        self._follow(verdict, str(error))

    def _unavailable(self, entry: Entry, error: SourceUnavailable | PayloadError) -> None:
        now = self.terms.now()
        outage = error.outage if isinstance(error, SourceUnavailable) else None
        if outage is not None:
            self.last_outage = error.detail
            self.breaker.failed(entry.task.slice, self.outstanding - 1, entry.sent, now)
        if self.breaker.is_open:
            self.agenda.add(entry)
            return
        entry.attempts += 1
        entry.only_500 = entry.only_500 and getattr(error, "status", None) == SERVER_ERROR
        if outage is Outage.SERVER and self._questions_width(entry, str(error)):
            return
        decision = decide(error, entry.attempts, self.terms.jitter())
        if not isinstance(decision, GiveUp):
            self.report.retries += 1
            self.terms.tell("retry", slice=entry.task.slice, error=str(error), after=decision.after)
            self.agenda.add_later(entry, now + decision.after)
        elif outage in NOBODY_THERE and not self.breaker.ever_answered:
            self.breaker.trip()  # too few slices to open it, and none of them was ever answered
            entry.attempts = 0
            self.agenda.add(entry)
        elif entry.only_500:
            verdict = after_server_errors(entry.task, self._tolerance(entry.task.slice), self.terms.calendar)
            self._follow(verdict, str(error))
        else:
            self._follow(Verdict(failed=entry.task.whole), str(error))

    def _questions_width(self, entry: Entry, error: str) -> bool:
        """Whether a 5xx is taken for, or tested as, a refusal of the width."""
        task, calendar = entry.task, self.terms.calendar
        tolerance = self._tolerance(task.slice)
        if task.bad_through is not None or not tolerance.may_be_too_wide(task.slice.days):
            return False
        if tolerance.breaks_wide:
            self._follow(after_server_errors(task, tolerance, calendar), error)
            return True
        test = tested(task, calendar)
        if test is None or not tolerance.broke(task.slice.days):
            return False
        entry.task = test
        self.agenda.add(entry)
        return True

    def _follow(self, verdict: Verdict, error: str) -> None:
        for task in verdict.tasks:
            self.agenda.add(Entry(task))
        if verdict.failed is not None:
            self._fail(verdict.failed, error)

    def _fail(self, piece: Slice, error: str) -> None:
        self.terms.tell("failed", slice=piece, error=error)
        self.failures.append(FailedSlice(piece, error))

    def _reject_held(self, phone: str) -> None:
        for held in [held for held in self._held if held.entry.phone == phone]:
            self._held.remove(held)
            error = SliceRejected(f"{held.detail} for this number alone, while others pass: is it this account's?")
            self._fail(held.entry.task.whole, str(error))
