"""The studio as people meet it: in a real browser. Left out where chromium is missing (make services installs it)."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from videosyn.core.video_file import write_video

CHROMIUM = shutil.which("chromium")
pytest.importorskip("gradio")
sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, a browser: make services installs it"),
    pytest.mark.slow,
]
FLAGS = "headless no-sandbox disable-gpu disable-background-networking disable-component-update disable-sync".split()
PATIENCE_MS = 300_000
PROMPT = "a red ball bounces on the grass"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A dataset folder with three kept clips, one of them of a table that names a file elsewhere, and two rejected."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("datasets") / "footage"
    (folder / "clips").mkdir(parents=True)
    frames = np.random.default_rng(0).integers(0, 255, (8, 48, 64, 3), np.uint8)
    names = ["clips/a1.mp4", "clips/b2.mp4"]
    for name in names:
        write_video(folder / name, frames, 8.0)
    outside = folder.parent / "outside.mp4"
    write_video(outside, frames, 8.0)
    kept = {
        "file_name": [*names, "../outside.mp4"],
        "text": ["a dog runs <b>fast</b>", "a cat sleeps", "what lies elsewhere"],
        "id": ["a1", "b2", "c3"],
        "source_path": ["/footage/one.mp4", "/footage/two.mp4", "/footage/two.mp4"],
        "start_s": [0.0, 1.0, 2.0],
        "end_s": [1.0, 2.0, 3.0],
        "aesthetic": [4.5, 6.5, 5.5],
    }
    rejected = {
        "id": ["d4", "e5"],
        "source_path": [str(outside), "/footage/two.mp4"],
        "start_s": [0.0, 4.0],
        "end_s": [1.0, 9.0],
        "rejected_by": ["motion", "text"],
        "reason": ["motion 0.0012 is below 0.002", "text covers 12 % of the frame"],
        "aesthetic": [3.5, None],
    }
    pq.write_table(pa.table(kept), folder / "metadata.parquet")
    pq.write_table(pa.table(rejected), folder / "rejected.parquet")
    return folder


@pytest.fixture(scope="module")
def service(serving, tiny_folder, slow_folder, dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("studio") / "data"
    models = (f"tiny={tiny_folder}", f"slow={slow_folder}")
    patience = ("--limits.upload-seconds", "300")  # what is decoded on a busy machine
    started = serving(folder, "--models", *models, "--datasets", str(dataset), *patience)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=[f"--{flag}" for flag in FLAGS])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, service):
    """The studio, ready to use. Whatever it asks of another address fails the test."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE_MS)
    addresses, errors = [], []
    page.on("request", lambda request: addresses.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("response", lambda answer: errors.append(answer.url) if answer.status >= 400 and not gone(answer) else None)
    page.goto(f"{service.url}/studio/")
    page.wait_for_selector("#prompt textarea")
    yield page
    page.close()
    assert [each for each in addresses if not each.startswith((service.url, "data:", "blob:"))] == []
    assert errors == []


def gone(answer):
    """A preview that is asked for in the moment in which its film is finished or cancelled."""
    return answer.status == 404 and "/preview?" in answer.url


def generate(page, prompt=PROMPT):
    """Types a prompt and waits for its film; the film's address."""
    before = page.locator("#film video").get_attribute("src") if page.locator("#film video").count() else ""
    page.fill("#prompt textarea", prompt)
    page.click("#generate")
    page.wait_for_function(
        "old => { const film = document.querySelector('#film video');"
        " return film && film.getAttribute('src') !== old && film.readyState >= 2 }",
        arg=before,
    )
    return page.locator("#film video").get_attribute("src")


def set_numbers(page, *numbers):
    """Opens the settings and types (the beginning of a slider's label, its value)."""
    page.get_by_text("Settings").click()
    for name, value in numbers:
        box = page.get_by_label(re.compile(f"number input for {name}(,|:|$)"))
        box.fill(value)
        box.press("Tab")


def settled_seed(page, film):
    """The number in the seed's box once it is the film's own."""
    page.wait_for_function(
        "() => document.querySelector('#film').innerText.includes("
        "'seed ' + document.querySelector('#seed input').value + ' ')"
    )
    return page.input_value("#seed input")


def test_a_prompt_is_typed_and_its_film_plays_in_a_loop(page, service):
    address = generate(page)
    film = page.locator("#film video")
    assert film.evaluate("film => film.loop && film.muted && film.autoplay")
    assert film.evaluate("film => [film.videoWidth, film.videoHeight]") == [32, 32]
    page.wait_for_function("() => document.querySelector('#film video').currentTime > 0")
    assert not film.evaluate("film => film.paused")
    with page.expect_download() as download:
        page.click("#film a[download]")
    assert Path(download.value.path()).read_bytes() == service.ask("GET", address)[2]


def test_a_seed_is_kept_and_gives_the_same_film_and_another_seed_another(page, service):
    page.uncheck("#draw input")
    films = []
    for seed in ("7", "7", "8"):
        page.fill("#seed input", seed)
        address = generate(page)
        assert settled_seed(page, address) == seed
        films.append(service.ask("GET", address)[2])
    assert films[0] == films[1]
    assert films[0] != films[2]
    page.check("#draw input")
    drawn = [settled_seed(page, generate(page)) for _ in range(2)]
    assert drawn[0] != drawn[1]
    page.click("#keep-seed")
    page.wait_for_function("() => !document.querySelector('#draw input').checked")
    assert settled_seed(page, generate(page)) == drawn[1]


def test_history_shows_films_of_before_and_gives_their_settings_back(page, service):
    page.uncheck("#draw input")
    page.fill("#seed input", "4321")
    page.get_by_text("Settings").click()
    page.click("#model input")
    page.get_by_role("option", name="slow").click()
    steps = "input[aria-label^='number input for Steps']"
    page.wait_for_function("name => document.querySelector(name).value === '100'", arg=steps)
    page.fill(steps, "3")
    page.press(steps, "Tab")
    address = generate(page, "a blue cube spins in the desert")
    page.reload()
    page.wait_for_selector("#gallery img")
    page.locator("#gallery button.thumbnail-lg, #gallery button.thumbnail-item").first.click()
    page.wait_for_selector(f"#film video[src='{address}']")
    page.wait_for_function("() => document.querySelector('#seed input').value === '4321'")
    assert page.input_value("#prompt textarea") == "a blue cube spins in the desert"
    page.get_by_text("Settings").click()
    assert (page.input_value("#model input"), page.input_value(steps)) == ("slow", "3")


def test_a_film_begins_with_a_picture_and_another_goes_on_from_it(page, service, tmp_path):
    from PIL import Image

    Image.new("RGB", (80, 60), (200, 30, 30)).save(tmp_path / "first.png")
    page.get_by_text("Begin with a picture").click()
    page.locator("input[type=file]").first.set_input_files(tmp_path / "first.png")
    page.wait_for_selector("text=first.png")
    address = generate(page)
    video = service.get(address.split("/")[3])
    assert re.fullmatch("[0-9a-f]{32}", video["image"])
    page.reload()
    page.wait_for_selector("#gallery img")
    page.locator("#gallery button.thumbnail-lg, #gallery button.thumbnail-item").first.click()
    page.wait_for_selector(f"#film video[src='{address}']")
    page.wait_for_selector("#going-on >> text=It began with a picture: choose it again.")
    page.wait_for_selector("#extend:not([disabled])")
    page.click("#extend")
    page.wait_for_selector("#going-on >> text=The next film goes on from this one")
    longer = service.get(generate(page).split("/")[3])
    assert longer["extend"] == video["id"]
    assert longer["film"]["num_frames"] > video["film"]["num_frames"]


def test_an_example_is_one_click_away(page):
    page.locator("button", has_text="a blue cube spins in the desert").first.click()
    page.wait_for_function("() => document.querySelector('#prompt textarea').value.startsWith('a blue cube')")


def test_a_film_on_its_way_is_shown_with_its_progress_until_it_is_cancelled(page, service):
    set_numbers(page, ("Frames", "33"), ("Height", "192"), ("Width", "192"), ("Steps", "100"))
    page.fill("#prompt textarea", PROMPT)
    page.click("#generate")
    page.wait_for_function(
        "() => document.querySelector('#film progress')?.value > 0"
        " && document.querySelector('#film img')?.naturalWidth === 192"
    )
    assert 0 < page.locator("#film progress").evaluate("bar => bar.value") < 1
    assert re.search(r"\d+ %", page.locator("#film").inner_text())
    video = service.get(page.locator("#film img").get_attribute("src").split("/")[3])
    assert (video["num_steps"], video["num_frames"], video["height"]) == (100, 33, 192)
    page.click("#cancel")
    page.wait_for_selector("#film >> text=Cancelled.")
    assert service.get(video["id"])["state"] == "cancelled"
    assert generate(page)  # and the next is made, as another test found the page


def test_cancel_ends_the_film_under_way_whichever_is_looked_at(page, service):
    old = generate(page).split("/")[3]
    page.wait_for_selector("#cancel[disabled]")
    set_numbers(page, ("Frames", "33"), ("Height", "192"), ("Width", "192"), ("Steps", "100"))
    page.click("#generate")
    page.wait_for_selector("#film progress")
    page.wait_for_selector("#cancel:not([disabled])")
    new = service.ask("GET", "/v1/videos?limit=1")[2]["videos"][0]["id"]
    page.locator("#gallery button.thumbnail-lg, #gallery button.thumbnail-item").first.click()
    page.wait_for_function("() => document.querySelector('#draw input').checked === false")  # it was opened
    page.click("#cancel")
    assert service.finished(new)["state"] == "cancelled"
    assert service.get(old)["state"] == "succeeded"
    page.wait_for_selector("#cancel[disabled]")


def test_what_is_refused_is_said_on_the_page(page):
    page.fill("#prompt textarea", "   ")
    page.click("#generate")
    page.wait_for_selector("#film >> text=prompt must not be empty")
    assert generate(page)


def test_two_settings_are_compared_on_one_seed(page, service):
    page.get_by_role("tab", name="Compare").click()
    page.fill("#compare-prompt textarea", PROMPT)
    page.fill("#compare-seed input", "5")
    page.click("#compare")
    videos = []
    for name in ("a", "b"):
        film = page.locator(f"#film-{name} video")
        film.wait_for()
        videos.append(service.get(film.get_attribute("src").split("/")[3]))
    assert [video["seed"] for video in videos] == [5, 5]
    assert [video["num_steps"] for video in videos] == [1, 2]


def test_a_dataset_opens_with_thumbnails_scores_and_reasons(page, service):
    page.get_by_role("tab", name="Curate").click()
    page.click("#dataset input")
    page.get_by_role("option", name="footage").click()
    page.wait_for_selector("#clips details[data-clip=a1] img")
    page.wait_for_function("() => [...document.querySelectorAll('#clips img')].every(each => each.naturalWidth > 0)")
    cards = page.locator("#clips details")
    assert sorted(cards.nth(place).get_attribute("data-clip") for place in range(cards.count())) == ["a1", "b2", "c3"]
    assert "a dog runs <b>fast</b>" in page.locator("#clips details[data-clip=a1]").inner_text()
    assert page.locator("#charts svg").count() == 2  # duration and aesthetic
    said = page.locator("#reasons").inner_text()
    assert "motion … is below …" in said
    assert "text covers … % of the frame" in said
    page.fill("#least textarea, #least input", "5")
    page.click("#score input")
    page.get_by_role("option", name="aesthetic").click()
    page.wait_for_function("() => document.querySelectorAll('#clips details').length === 2")
    assert "2 of 5 clips" in page.locator("#clips").inner_text()
    page.fill("#least textarea, #least input", "")
    page.click("#stage input")
    page.get_by_role("option", name="text").click()
    page.wait_for_function(
        "() => [...document.querySelectorAll('#clips details')].map(each => each.dataset.clip).join() === 'e5'"
    )
    page.click("#stage input")
    page.get_by_role("option", name="any stage").click()
    page.get_by_label("rejected", exact=True).check()
    page.wait_for_selector("#clips details[data-clip=d4] .why")
    assert page.locator("#clips details[data-clip=d4] img").count() == 1  # its source is still there
    assert page.locator("#clips details[data-clip=e5] .blank").count() == 1
    page.fill("#most textarea, #most input", "many")
    page.wait_for_selector("#clips >> text=From and To must be numbers")


def test_a_clip_plays_and_no_table_leads_out_of_its_dataset(page, service):
    assert service.ask("GET", "/studio/datasets/0/a1.mp4")[2][4:8] == b"ftyp"
    for name in ("c3.mp4", "d4.mp4", "..%2foutside.mp4", "nothing.mp4", "a1.parquet"):
        assert service.ask("GET", f"/studio/datasets/0/{name}")[0] == 404, name
    assert service.ask("GET", "/studio/datasets/1/a1.mp4")[0] == 404
    assert service.ask("GET", "/studio/datasets/-1/a1.mp4")[0] == 404


def test_files_of_the_service_are_not_served_by_their_paths(page, service):
    generate(page)
    data = service.log.parent / "data"
    for path in (data / "jobs.sqlite", "/etc/passwd", data / "uploads"):
        assert service.ask("GET", f"/studio/gradio_api/file={path}")[0] in (403, 404), path


def test_nothing_is_wider_than_a_phone(browser, service):
    page = browser.new_page(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"{service.url}/studio/")
    page.wait_for_selector("#prompt textarea")
    for tab in ("Generate", "Compare", "Curate"):
        chosen = page.get_by_role("tab", name=tab)
        if not chosen.is_visible():  # tabs that find no room are in a menu
            page.locator(".overflow-menu > button").click()
            chosen = page.locator(".overflow-dropdown").get_by_text(tab)
        chosen.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab
    page.close()
