"""What the daemon tells over HTTP: whether it lives, whether it can work, its metrics."""

from harvester.web.endpoints import Endpoints, Readiness

__all__ = ["Endpoints", "Readiness"]
