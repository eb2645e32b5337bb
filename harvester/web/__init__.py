"""The daemon's HTTP endpoints: liveness, readiness, metrics."""

from harvester.web.endpoints import Endpoints, Readiness

__all__ = ["Endpoints", "Readiness"]
