"""docs/operations.md tells of every metric and every alert that there is."""

from __future__ import annotations

import re
from pathlib import Path

from harvester.clock import SystemClock
from harvester.daemon.metrics import Metrics

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "operations.md").read_text(encoding="utf-8")
TABLE_NAME = re.compile(r"(?<=`)(?:harvester|process)_[a-z_]+")


def test_every_metric_is_in_the_table_and_no_other() -> None:
    text = Metrics(tuple, clock=SystemClock()).text().decode()
    exposed = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    table = PAGE.partition("\n## Metrics\n")[2].partition("[alerts.yml]")[0]
    assert set(TABLE_NAME.findall(table)) == exposed


def test_every_alert_has_its_action() -> None:
    alerts = re.findall(r"alert: (\w+)", (DOCS / "alerts.yml").read_text(encoding="utf-8"))
    told = re.findall(r"^\| `(Harvester\w+)` \| \S", PAGE, re.MULTILINE)
    assert told == alerts
    assert alerts
