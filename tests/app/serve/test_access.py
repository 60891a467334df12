"""Who may come in, and through which door."""

import http.client
import urllib.parse
import urllib.request

import pytest

from videosyn.app.serve.access import COOKIE, session_value

TOKEN = "0123456789abcdef0123"


@pytest.fixture(scope="module")
def guarded(serving, tiny_folder, tmp_path_factory):
    """A service that asks for a token, with a studio."""
    folder = tmp_path_factory.mktemp("guarded") / "data"
    service = serving(folder, "--models", f"tiny={tiny_folder}", environment={"VIDEOSYN_TOKEN": TOKEN})
    yield service
    service.stop()


def status(service, method, path, **headers):
    """Of a request with exactly these headers (underscores become hyphens), redirects not followed."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(service.url).netloc, timeout=60)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=names)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@pytest.mark.parametrize("path", ["/v1/videos", "/v1/models", "/metrics", "/openapi.json", "/studio/", "/"])
def test_nothing_but_health_is_told_without_the_token(guarded, path):
    assert status(guarded, "GET", path) == 401
    assert status(guarded, "GET", path, authorization="Bearer 0123456789abcdef0124") == 401
    assert status(guarded, "GET", path, authorization=f"Basic {TOKEN}") == 401
    assert status(guarded, "GET", path, authorization="Bearer " + chr(252) * 20) == 401
    assert status(guarded, "GET", path, authorization=f"Bearer {TOKEN}") != 401
    assert status(guarded, "GET", "/healthz") == 200


def test_a_browser_logs_in_and_keeps_a_cookie_that_is_not_the_token(guarded):
    assert status(guarded, "GET", "/studio/", accept="text/html") == 303
    opener = urllib.request.build_opener(_Stay)
    body = urllib.parse.urlencode({"token": TOKEN}).encode()
    answer = opener.open(urllib.request.Request(f"{guarded.url}/login", body), timeout=60)
    cookie = answer.headers["set-cookie"]
    assert answer.status == 303
    assert TOKEN not in cookie
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict"))
    assert status(guarded, "GET", "/v1/models", cookie=cookie.partition(";")[0]) == 200
    assert status(guarded, "GET", "/v1/models", cookie=f"{COOKIE}={session_value('another token')}") == 401
    wrong = urllib.parse.urlencode({"token": "guessed"}).encode()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{guarded.url}/login", wrong, timeout=60)


def test_the_worker_knows_no_token(guarded):
    (worker,) = guarded.worker_pids()
    with open(f"/proc/{worker}/environ", "rb") as environment:
        assert TOKEN.encode() not in environment.read()


def test_a_page_of_another_site_may_change_nothing(served):
    host = urllib.parse.urlsplit(served.url).netloc
    assert status(served, "POST", "/v1/videos", origin="http://elsewhere.example") == 403
    assert status(served, "DELETE", "/v1/videos/" + "0" * 32, origin="null") == 403
    assert status(served, "POST", "/v1/videos", origin="http://[") == 403
    assert status(served, "DELETE", "/v1/videos/" + "0" * 32, origin=f"http://{host}") == 404


def test_a_name_that_is_not_the_services_own_is_refused(served):
    assert status(served, "GET", "/v1/models", host="rebound.example") == 421
    assert status(served, "GET", "/v1/models", host="localhost:1") == 200


def test_gradios_doors_that_the_studio_does_not_need_are_shut(guarded):
    for path in (
        "monitoring",
        "gradio_api/runs",
        "gradio_api/proxy=http://example.com/",
        "gradio_api/file=http://example.com/film.mp4",
        "gradio_api/vibe-code",
        "docs",
    ):
        assert status(guarded, "GET", f"/studio/{path}", authorization=f"Bearer {TOKEN}") == 404, path


class _Stay(urllib.request.HTTPRedirectHandler):
    def http_error_303(self, request, answer, *others):
        return answer
