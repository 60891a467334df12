"""/metrics for Prometheus. What jobs did is read from the store when asked for; requests are counted as they pass."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from videosyn.app.serve.access import App, Message, Receive, Scope, Send
from videosyn.app.serve.documents import State
from videosyn.app.serve.service import Service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Metrics:
    """The service's figures."""

    def __init__(self, service: Service) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "videosyn_http_requests", "Requests answered.", ("method", "route", "status"), registry=self._registry
        )
        self.seconds = Histogram(
            "videosyn_http_seconds", "Time to answer.", ("route",), registry=self._registry, buckets=_BUCKETS_S
        )
        self._registry.register(_Jobs(service))

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _Jobs(Collector):
    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        service = self._service
        jobs = GaugeMetricFamily("videosyn_jobs", "Jobs on record.", labels=["state"])
        counts = service.store.counts()
        for state in State.__args__:
            jobs.add_metric([state], counts.get(state, 0))
        yield jobs
        yield GaugeMetricFamily("videosyn_queue_limit", "Jobs that may wait.", service.options.queue)
        yield GaugeMetricFamily("videosyn_job_seconds_recent", "Mean of late.", service.store.mean_busy_s() or 0)
        ready = sum(state == "ready" for state in service.workers.states.values())
        yield GaugeMetricFamily("videosyn_workers_ready", "Worker processes with their model loaded.", ready)
        yield CounterMetricFamily("videosyn_worker_restarts", "Workers that ended.", service.workers.restarts)
        yield GaugeMetricFamily("videosyn_upload_bytes", "Taken by uploads.", service.store.upload_bytes())


class Measured:
    """Middleware: counts requests by route, never by path, of which there is no end."""

    def __init__(self, app: App, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            path = scope.get("route_path") or getattr(scope.get("route"), "path", None)
            route = path or ("/studio" if scope["path"].startswith("/studio") else "other")
            method = scope["method"] if scope["method"] in ("GET", "POST", "DELETE", "HEAD") else "other"
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - begin)
