"""Counter of requests that were all refused alike, while none was ever answered in this run.

A wrong base URL, a wrong method or an ended account gets the same status for every request, whatever its slice. The
account is suspected after `ENOUGH` requests, over that many phones where there are as many. A 400 may be about the
range of a request, so it counts once for a phone, after the search for a range that passes has failed, and
`ENOUGH_SEARCHES` phones are enough. A refusal that names a parameter of the request counts for nothing.
"""

from http import HTTPStatus

ENOUGH = 3
ENOUGH_SEARCHES = 2
MAX_POSTPONED = 6  # slices with another status than 400 that wait for the decision
_LIKELY_KEYS = {HTTPStatus.NOT_FOUND: "api.base_url", HTTPStatus.METHOD_NOT_ALLOWED: "api.method"}
_NOT_COUNTED = frozenset({401, 403, 407, 408, 421, 425, 429})  # about credentials, a proxy or the moment


class RefusedRequests:
    """State of the count."""

    def __init__(self) -> None:
        self._status: int | None = None
        self._requests = 0
        self._phones: set[str] = set()
        self._postponed = 0
        self._over = False

    @property
    def one_at_a_time(self) -> bool:
        """True while all requests were refused: each further one should profit from the last."""
        return self._status is not None and not self._over

    def end(self) -> None:
        """Stop counting: a request was answered in this run or in an earlier one."""
        self._over = True

    def refused(self, status: int | None, phone: str, *, searched: bool) -> None:
        """Record a refusal; `searched`: no range of the phone's slice passes."""
        if self._over or status is None or not 400 <= status < 500 or status in _NOT_COUNTED:  # noqa: PLR2004 - 4xx
            return
        if status != self._status:
            self._status, self._requests = status, 0
            self._phones.clear()
        if searched or status != HTTPStatus.BAD_REQUEST:
            self._requests += 1
            self._phones.add(phone)

    def postpones_search(self) -> bool:
        """Return True if a refused slice should wait until other phones were asked for, instead of being searched."""
        self._postponed += 1
        return self.one_at_a_time and self._postponed <= MAX_POSTPONED

    def suspects_account(self, phones: int) -> bool:
        """Return True if the account, of which `phones` phones are asked for, is to blame."""
        if self._over:
            return False
        if self._status == HTTPStatus.BAD_REQUEST:
            return len(self._phones) >= ENOUGH_SEARCHES
        return self._requests >= ENOUGH and len(self._phones) >= min(ENOUGH, phones)

    def remedy(self, detail: str) -> str:
        """Return the text of the last refusal with what to check."""
        key = _LIKELY_KEYS.get(HTTPStatus(self._status)) if self._status in set(HTTPStatus) else None
        return f"{detail} for each of them; check `{key}`" if key else f"{detail} for each of them"
