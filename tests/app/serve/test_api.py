import http.client
import io
import json
import os
import re
import socket
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from videosyn.core.video_file import read_metadata, read_video, write_video

PROMPT = "a red ball bounces on the grass"
NO_ID = "0" * 32


def problem(answer, status, kind=None):
    """The detail of an answer that is a problem of that status."""
    code, headers, body = answer
    assert (code, headers["content-type"]) == (status, "application/problem+json"), body
    assert body["status"] == status
    assert body["title"]
    if kind is not None:
        assert body["type"] == f"urn:videosyn:problem:{kind}"
    return body["detail"]


def announce(served, num_bytes, path, kind):
    """The answer to a request whose headers promise so large a body, of which nothing is sent."""
    connection = http.client.HTTPConnection(urlsplit(served.url).netloc, timeout=60)
    connection.putrequest("POST", path)
    connection.putheader("content-type", kind)
    connection.putheader("content-length", str(num_bytes))
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, json.loads(content)


def streamed(served, chunks, path, kind):
    """The status for a body whose length no header tells; None where the connection was closed while it was sent."""
    request = urllib.request.Request(served.url + path, iter(chunks), {"content-type": kind}, method="POST")
    try:
        return urllib.request.urlopen(request, timeout=60).status
    except urllib.error.HTTPError as error:
        return error.code
    except (urllib.error.URLError, ConnectionError):
        return None


def png(height, width, colour=(200, 30, 30)):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


def upload(served, content, kind="image/png"):
    status, _, body = served.ask("POST", "/v1/uploads", content, {"content-type": kind})
    assert status == 201, body
    return body


def test_a_prompt_becomes_a_film_that_can_be_fetched_whole_and_in_parts(served, tmp_path):
    video = served.make(seed=7)
    assert (video["prompt"], video["seed"], video["model"], video["num_frames"]) == (PROMPT, 7, "tiny", 5)
    assert video["state"] in ("queued", "running")
    video = served.finished(video["id"])
    assert (video["state"], video["progress"], video["error"]) == ("succeeded", 1.0, None)
    film = video["film"]
    assert (film["num_frames"], film["height"], film["width"], film["fps"]) == (5, 32, 32, 8.0)
    status, headers, content = served.ask("GET", film["content"])
    assert (status, headers["content-type"]) == (200, "video/mp4")
    (tmp_path / "film.mp4").write_bytes(content)
    frames, fps = read_video(tmp_path / "film.mp4")
    assert (frames.shape, fps) == ((5, 32, 32, 3), 8.0)
    metadata = read_metadata(tmp_path / "film.mp4")
    assert (metadata["prompt"], metadata["seed"]) == (PROMPT, "7")
    status, headers, part = served.ask("GET", film["content"], headers={"range": "bytes=10-19"})
    assert (status, part) == (206, content[10:20])
    picture = Image.open(io.BytesIO(served.ask("GET", f"/v1/videos/{video['id']}/preview")[2]))
    assert picture.size == (32, 32)


def test_a_film_is_the_one_that_the_pipeline_makes_of_that_prompt_and_seed(served, tiny_pipeline, tmp_path):
    ids = [served.make(seed=seed)["id"] for seed in (3, 11, 12)]  # some of them together
    for video_id, seed in zip(ids, (3, 11, 12)):
        content = served.ask("GET", served.finished(video_id)["film"]["content"])[2]
        (tmp_path / "film.mp4").write_bytes(content)
        write_video(tmp_path / "own.mp4", tiny_pipeline(PROMPT, seed=seed).frames[0], 8.0)
        frames, own = (read_video(tmp_path / name)[0].astype(int) for name in ("film.mp4", "own.mp4"))
        assert np.abs(frames - own).mean() < 1


def test_a_seed_is_drawn_where_none_is_given_and_told(served):
    seeds = {served.make()["seed"] for _ in range(3)}
    assert len(seeds) == 3


def test_what_is_asked_for_is_what_is_made(served):
    asked = {"num_frames": 9, "height": 16, "width": 48, "fps": 12, "num_steps": 1, "guidance": 1, "seed": 1}
    video = served.finished(served.make(**asked, negative_prompt="a blue cube")["id"])
    assert {name: video[name] for name in asked} == asked
    film = video["film"]
    assert (film["num_frames"], film["height"], film["width"], film["fps"]) == (9, 16, 48, 12)


def test_a_film_begins_with_an_uploaded_picture_of_any_shape(served, tmp_path):
    picture = upload(served, png(40, 120))
    assert (picture["kind"], picture["height"], picture["width"], picture["num_frames"]) == ("picture", 40, 120, 1)
    plain = served.finished(served.make(seed=1)["id"])
    video = served.finished(served.make(seed=1, image=picture["id"])["id"])
    assert (video["state"], video["image"]) == ("succeeded", picture["id"])
    contents = [served.ask("GET", each["film"]["content"])[2] for each in (plain, video)]
    assert contents[0] != contents[1]


def test_a_film_goes_on_from_an_uploaded_clip_and_from_a_film(served, tmp_path):
    write_video(tmp_path / "clip.mp4", np.full((5, 32, 32, 3), (10, 200, 30), np.uint8), 8.0)
    clip = upload(served, (tmp_path / "clip.mp4").read_bytes(), "video/mp4")
    assert (clip["kind"], clip["num_frames"], clip["fps"]) == ("clip", 5, 8.0)
    longer = served.finished(served.make(extend=clip["id"], num_frames=9)["id"])
    assert longer["state"] == "succeeded", longer["error"]
    assert longer["film"]["num_frames"] == 5 + 4
    (tmp_path / "longer.mp4").write_bytes(served.ask("GET", longer["film"]["content"])[2])
    assert np.abs(read_video(tmp_path / "longer.mp4")[0][:5].astype(int) - (10, 200, 30)).mean() < 8
    longest = served.finished(served.make(extend=longer["id"], num_frames=9)["id"])
    assert longest["film"]["num_frames"] == 9 + 4


def test_pictures_and_clips_are_told_apart(served, tmp_path):
    picture = upload(served, png(32, 32))["id"]
    ask = served.ask
    detail = problem(ask("POST", "/v1/videos", {"prompt": PROMPT, "extend": picture}), 422)
    assert detail == f"extend must be a clip, but {picture} is a picture"
    detail = problem(ask("POST", "/v1/videos", {"prompt": PROMPT, "image": NO_ID}), 422)
    assert detail == f"image: there is no uploaded picture {NO_ID}: upload it first"
    video = served.finished(served.make()["id"])
    both = {"prompt": PROMPT, "image": picture, "extend": video["id"]}
    assert "give one of them" in problem(ask("POST", "/v1/videos", both), 422)


def test_a_request_sent_twice_with_one_key_is_accepted_once(served):
    body = {"prompt": PROMPT}
    one, two = (served.ask("POST", "/v1/videos", body, {"idempotency-key": "abc"})[2] for _ in range(2))
    assert (one["id"], one["seed"]) == (two["id"], two["seed"])
    other = served.ask("POST", "/v1/videos", {"prompt": "a blue cube"}, {"idempotency-key": "abc"})
    problem(other, 422, "key-reused")


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"prompt": "  "}, "prompt must not be empty"),
        ({"prompt": PROMPT, "num_frames": 16}, "frames must be 1 + 4k, got 16: use 13 or 17"),
        ({"prompt": PROMPT, "height": 40}, "height must be a multiple of 16, got 40: use 32 or 48"),
        ({"prompt": PROMPT, "num_frames": 1001}, "num_frames must be at most 129 here, got 1001"),
        ({"prompt": PROMPT, "width": 2048}, "width must be at most 1024 here, got 2048"),
        ({"prompt": PROMPT, "num_frames": 129, "height": 1024, "width": 1024}, "must be at most 64,000,000 here"),
        ({"prompt": PROMPT, "num_steps": 101}, "num_steps must be at most 100 here, got 101"),
        ({"prompt": "a " * 501}, "prompt must have at most 1,000 characters, got 1,002"),
        ({"prompt": PROMPT, "negative_prompt": "a" * 1001}, "negative_prompt must have at most 1,000"),
        ({"prompt": PROMPT, "model": "other"}, "no model 'other' here: use tiny"),
        ({"prompt": PROMPT, "model": "/etc"}, "no model '/etc' here: use tiny"),
        ({"prompt": PROMPT, "seed": -1}, "body/seed"),
        ({"prompt": PROMPT, "fps": 0.0004}, "body/fps"),
        ({"prompt": PROMPT, "sed": 1}, "body/sed"),
        ({"prompt": PROMPT, "image": "../../etc/passwd"}, "body/image"),
        ({"prompt": PROMPT, "extend": "/etc/passwd"}, "body/extend"),
        ({"prompt": PROMPT, "num_frames": "17"}, "body/num_frames"),
        ({}, "body/prompt"),
    ],
)
def test_what_cannot_be_made_is_refused_at_once_with_the_rule(served, request_, said):
    assert said in problem(served.ask("POST", "/v1/videos", request_), 422)


def test_words_that_the_model_never_learned_are_named(served):
    video = served.finished(served.make(prompt="a red zebra bounces", negative_prompt="the moon")["id"])
    assert video["notes"] == ["words this model never learned: zebra, moon"]


def test_what_is_given_is_checked_before_a_film_is_accepted(serve, tmp_path):
    service = serve("--no-studio", "--limits.frames", "17", "--limits.upload-seconds", "300")
    picture = upload(service, png(32, 32))["id"]
    write_video(tmp_path / "clip.mp4", np.zeros((13, 32, 32, 3), np.uint8), 8.0)
    clip = upload(service, (tmp_path / "clip.mp4").read_bytes(), "video/mp4")["id"]
    for asked, said in (
        ({"image": picture, "num_frames": 1}, "nothing is left to make of 1 frames: ask for 5 or more"),
        ({"extend": clip, "num_frames": 1}, "nothing is left to make of 1 frames: ask for 5 or more"),
        ({"image": picture, "last_image": picture, "num_frames": 5}, "ask for 9 or more"),
        (
            {"extend": clip, "num_frames": 17},
            "a clip and what follows must be at most 17 frames of 32x32 here, got 13 and 8 at 8 a second: cut the clip",
        ),
        ({"extend": clip, "num_frames": 5, "fps": 24}, "got 39 and 4 at 24 a second"),
    ):
        assert said in problem(service.ask("POST", "/v1/videos", {"prompt": PROMPT, **asked}), 422)
    longest = service.finished(service.make(extend=clip, num_frames=5)["id"])
    assert longest["film"]["num_frames"] == 17
    again = {"prompt": PROMPT, "extend": longest["id"], "num_frames": 5}
    assert "got 17 and 4" in problem(service.ask("POST", "/v1/videos", again), 422)


def test_errors_are_problems_whatever_went_wrong(served):
    ask = served.ask
    problem(ask("GET", f"/v1/videos/{NO_ID}"), 404, "no-video")
    problem(ask("DELETE", f"/v1/videos/{NO_ID}"), 404, "no-video")
    problem(ask("GET", f"/v1/videos/{NO_ID}/content"), 404, "no-video")
    problem(ask("GET", "/v1/videos/..%2f..%2fjobs.sqlite/content"), 404)
    problem(ask("GET", "/v1/videos/jobs/content"), 422, "invalid")
    problem(ask("GET", "/nothing"), 404)
    problem(ask("PUT", "/v1/videos"), 405)
    problem(ask("POST", "/v1/videos", b"{", {"content-type": "application/json"}), 422)
    problem(ask("POST", "/v1/videos", b'{"prompt": "\\ud800"}', {"content-type": "application/json"}), 422)
    problem(announce(served, 1_000_001, "/v1/videos", "application/json"), 413)
    # what a page of another site can send without being asked for leave
    problem(ask("POST", "/v1/videos", b'{"prompt": "a ball"}', {"content-type": "text/plain"}), 422)
    problem(ask("POST", "/v1/uploads", png(8, 8), {"content-type": "text/plain"}), 415)


def test_jobs_are_listed_the_newest_first_page_by_page(served):
    ids = [served.make()["id"] for _ in range(3)]
    first = served.ask("GET", "/v1/videos?limit=2")[2]
    assert [video["id"] for video in first["videos"]] == ids[:0:-1]
    second = served.ask("GET", f"/v1/videos?limit=2&before={first['next']}")[2]
    assert second["videos"][0]["id"] == ids[0]
    problem(served.ask("GET", "/v1/videos?limit=1000"), 422)


def test_a_poll_tells_what_the_list_tells_and_is_counted_by_its_route(served):
    video = served.finished(served.make(seed=11)["id"])
    assert served.ask("GET", "/v1/videos?limit=1")[2]["videos"] == [video]
    route = b'videosyn_http_requests_total{method="GET",route="/v1/videos/{id}",status="%d"}'

    def counted(status):
        lines = served.ask("GET", "/metrics")[2].splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(route % status)), 0.0)

    before = counted(200), counted(404)
    assert served.ask("GET", f"/v1/videos/{video['id']}")[1]["x-content-type-options"] == "nosniff"
    problem(served.ask("GET", f"/v1/videos/{NO_ID}"), 404, "no-video")
    assert (counted(200), counted(404)) == (before[0] + 1, before[1] + 1)


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"X-Header: " + b"y" * 1000 + b"\r\n"),
        (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Header: ", b"y" * 1000),
        (
            b"POST /v1/uploads HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n",
            b"X-Trailer: " + b"y" * 1000 + b"\r\n",
        ),
    ],
)
def test_headers_without_end_are_cut_off(served, first, more):
    address = urlsplit(served.url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(first)
        with pytest.raises(ConnectionError):
            connection.sendall(more * 100_000)  # 100 MB are not taken


def test_a_large_body_in_small_chunks_is_not_taken_for_headers(served):
    content = png(200, 200) + bytes(200_000)
    chunks = (content[place : place + 100] for place in range(0, len(content), 100))
    assert streamed(served, chunks, "/v1/uploads", "image/png") == 201


def test_a_finished_film_is_forgotten_when_deleted(served):
    video = served.finished(served.make()["id"])
    assert served.ask("DELETE", f"/v1/videos/{video['id']}")[0] == 204
    problem(served.ask("GET", f"/v1/videos/{video['id']}"), 404)
    problem(served.ask("GET", video["film"]["content"]), 404)


def test_models_say_what_they_make_and_what_may_be_asked(served, tiny_folder):
    status, _, body = served.ask("GET", "/v1/models")
    assert status == 200
    (model,) = body["models"]
    assert (model["name"], model["num_frames"], model["size_multiple"], model["time_factor"]) == ("tiny", 5, 16, 4)
    assert model["takes_pictures"]
    assert (model["trained_frames"], model["trained_pixels"]) == (17, 96 * 96)
    assert body["limits"]["frames"] == 129
    assert str(tiny_folder) not in json.dumps(body)


def test_prometheus_finds_jobs_by_state_and_requests_by_route(served):
    served.finished(served.make()["id"])
    status, headers, content = served.ask("GET", "/metrics")
    text = content.decode()
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert float(re.search(r'^videosyn_jobs\{state="succeeded"\} (\S+)', text, re.MULTILINE)[1]) >= 1
    assert re.search(
        r'^videosyn_http_requests_total\{method="GET",route="/v1/videos/\{id\}",status="200"\}', text, re.M
    )
    assert "videosyn_workers_ready 1.0" in text


def test_openapi_describes_every_route_and_its_problems(served):
    schema = served.ask("GET", "/openapi.json")[2]
    assert sorted(schema["paths"]) == [
        "/healthz",
        "/metrics",
        "/v1/models",
        "/v1/uploads",
        "/v1/videos",
        "/v1/videos/{id}",
        "/v1/videos/{id}/content",
        "/v1/videos/{id}/preview",
    ]
    refused = schema["paths"]["/v1/videos"]["post"]["responses"]["429"]
    assert list(refused["content"]) == ["application/problem+json"]


def test_pages_may_load_nothing_from_elsewhere(served):
    policy = served.ask("GET", "/healthz")[1]["content-security-policy"]
    assert policy.startswith("default-src 'self'")
    assert "http" not in policy


def test_uploads_are_refused_when_too_large_empty_or_no_picture(served, serve):
    problem(served.ask("POST", "/v1/uploads", b"", {"content-type": "image/png"}), 422)
    said = problem(served.ask("POST", "/v1/uploads", os.urandom(5000), {"content-type": "image/png"}), 422)
    assert said == "the file is neither a picture (PNG, JPEG, WebP, GIF) nor a video that can be read"
    small = serve("--no-studio", "--limits.upload-mb", "0.01")
    problem(announce(small, 110_001, "/v1/uploads", "image/png"), 413)
    problem(small.ask("POST", "/v1/uploads", os.urandom(10_100), {"content-type": "image/png"}), 413)
    assert streamed(small, [os.urandom(60_000)] * 3, "/v1/uploads", "image/png") in (413, None)
    assert not list((small.log.parent / "data" / "scratch").iterdir())
