"""The API against its own OpenAPI document, with requests that nobody thought of."""

import pytest

schemathesis = pytest.importorskip("schemathesis")

from hypothesis import HealthCheck, settings  # noqa: E402

PATHS = {
    ("POST", "/v1/videos"): 60,
    ("GET", "/v1/videos"): 25,
    ("GET", "/v1/videos/{id}"): 25,
    ("DELETE", "/v1/videos/{id}"): 25,
    ("GET", "/v1/videos/{id}/content"): 15,
    ("GET", "/v1/videos/{id}/preview"): 15,
    ("POST", "/v1/uploads"): 8,  # each costs a process
    ("GET", "/v1/models"): 5,
    ("GET", "/healthz"): 5,
    ("GET", "/metrics"): 5,
}
"""Operation -> how many requests are tried."""


@pytest.mark.slow
def test_no_request_makes_the_service_fail_or_answer_what_it_does_not_document(served):
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    seen = set()
    for result in schema.get_all_operations():
        operation = result.ok()
        seen.add((operation.method.upper(), operation.path))
        _fuzz(operation, PATHS[operation.method.upper(), operation.path])
    assert seen == set(PATHS)
    assert served.process.poll() is None
    for video in served.ask("GET", "/v1/videos?limit=100")[2]["videos"]:
        served.ask("DELETE", f"/v1/videos/{video['id']}")
    assert served.finished(served.make(num_steps=1)["id"])["state"] == "succeeded"


def _fuzz(operation, num_requests):
    from hypothesis import given

    checks = schemathesis.checks.CHECKS.get_all()
    wanted = {
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "response_headers_conformance",
    }
    kept = [check for check in checks if check.__name__ in wanted]
    assert len(kept) == len(wanted)

    @settings(
        max_examples=num_requests,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def ask(case):
        case.call_and_validate(checks=kept)

    ask()
