from __future__ import annotations

from harvester.reports.estimate import AccountEstimate, Estimate, as_json, lines


def account(name: str = "main", requests: int = 400, seconds: float = 5_400, covered: int = 0) -> AccountEstimate:
    return AccountEstimate(
        name=name,
        series=120,
        requests=requests,
        windows=3 if requests else 0,
        seconds=seconds,
        already_covered=covered,
        per_window=150,
        window=5_400,
    )


def test_an_account_is_a_line_with_requests_windows_and_time() -> None:
    assert lines(Estimate([account()])) == [
        "main: 400 requests for 120 series in 3 quota windows of 150 per 1 h 30 min, about 1 h 30 min"
    ]


def test_covered_slices_are_counted() -> None:
    one, other, total = lines(Estimate([account(covered=1), account("other", 0, 0, covered=1_200)]))
    assert one.endswith("about 1 h 30 min; 1 slice already covered")
    assert other == "other: nothing to request for 120 series; 1,200 slices already covered"
    assert total == "total: 400 requests, about 1 h 30 min"


def test_accounts_run_side_by_side() -> None:
    estimate = Estimate([account(seconds=60), account("other", 1, seconds=90)])
    result = as_json(estimate)
    assert (result["requests"], result["slices"], result["eta_seconds"]) == (401, 401, 90)
    assert [one["name"] for one in result["accounts"]] == ["main", "other"]


def test_an_error_is_in_the_json_object() -> None:
    result = as_json(Estimate(()), ValueError("no"))
    assert (result["requests"], result["eta_seconds"], result["error"]["code"]) == (0, 0, "bug")
