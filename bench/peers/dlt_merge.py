"""dlt: a resource with a merge key, requests deferred to its pool, its own requests helper to try again."""

import os
from collections.abc import Iterator

os.environ["EXTRACT__WORKERS"] = "8"
os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "CRITICAL"

import dlt
from dlt.sources.helpers import requests
from job import DATABASE, FORM, URL, paths, rows

pair = requests.post(f"{URL}/auth", data=FORM).json()
session = requests.Client(request_max_attempts=20, request_max_retry_delay=8)


@dlt.resource(name="v", write_disposition="merge", primary_key=("phone", "epoch", "metric"))
def performance() -> Iterator[object]:
    @dlt.defer
    def fetch(phone: str, path: str) -> list[dict[str, object]]:
        response = session.get(f"{URL}/{path}", auth=(pair["login"], pair["password"]))
        response.raise_for_status()
        return [dict(zip(("phone", "epoch", "metric", "value"), row)) for row in rows(phone, response.content)]

    for phone, path in paths():
        yield fetch(phone, path)


pipeline = dlt.pipeline(
    "harvest",
    pipelines_dir=os.path.join(os.path.dirname(DATABASE), "dlt"),
    destination=dlt.destinations.sqlalchemy(f"sqlite:///{DATABASE}"),
    dataset_name="main",
)
pipeline.run(performance())
