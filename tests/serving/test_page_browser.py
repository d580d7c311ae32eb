"""The page in a real browser, and its API as docs/SERVE.md shows it: run by `make serve-test`."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.model.helpers.tiny_wd import write_picture, write_wd_folder

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if CHROMIUM is None or DRIVER is None:
    pytest.skip("no Chromium with chromedriver is installed", allow_module_level=True)
pytest.importorskip("gradio_client", reason="Gradio is not installed here: run `make serve-test`")
pytest.importorskip("selenium", reason="selenium is not installed here: run `make serve-test`")

from selenium import webdriver  # noqa: E402 - after the skips
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

SERVE_MD = Path(__file__).parents[2] / "docs" / "SERVE.md"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--window-size=1280,1100",
)


def alti2v(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "alti2v", *map(str, arguments)]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page with an index, served as a user would."""
    folder = tmp_path_factory.mktemp("serve")
    model = write_wd_folder(folder / "model", with_features=True)
    for colour in ("red", "green", "blue"):
        write_picture(folder / "art" / f"{colour}.png", colour)
    vectors, index = folder / "art.parquet", folder / "index"
    for step in (
        alti2v("embed", model, folder / "art", "--out", vectors),
        alti2v("search", vectors, "--tags", "red_eyes", "--index", index),
    ):
        subprocess.run(step, check=True, capture_output=True, timeout=100)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serving = alti2v("serve", model, "--index", index, "--port", port, "--max-megabytes", 1)
    with subprocess.Popen(serving, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def test_person_tags_a_picture(browser: Any, url: str, tmp_path: Path) -> None:
    """Upload, tags, a slider, a prompt, a heat-map, nearest pictures; nothing comes from elsewhere."""
    browser.get(url)
    wait = WebDriverWait(browser, 60)
    upload(browser, wait, write_picture(tmp_path / "red.png", "red"))
    wait.until(lambda _: "red_eyes" in tags(browser))
    assert "saber_(fate)" in tags(browser)
    assert "red eyes" in text_of(browser, "#prompt textarea", "value")
    assert r"saber \(fate\)" in text_of(browser, "#prompt textarea", "value")
    near = browser.find_elements(By.CSS_SELECTOR, "#near li span")
    assert near[0].text == "red.png"

    limit = browser.find_element(By.CSS_SELECTOR, "#limit-character input[type=number]")
    limit.send_keys(Keys.CONTROL, "a")
    limit.send_keys("1", Keys.TAB)
    wait.until(lambda _: "saber_(fate)" not in tags(browser))
    assert "red_eyes" in tags(browser)

    before = text_of(browser, "#view img", "src")
    where = browser.find_element(By.CSS_SELECTOR, "#where input")
    where.click()
    where.send_keys("red_eyes", Keys.ENTER)
    wait.until(lambda _: browser.find_elements(By.CSS_SELECTOR, "#view figcaption"))
    assert "occlusion" in browser.find_element(By.CSS_SELECTOR, "#view figcaption").text
    assert before.startswith("data:image/jpeg")

    asked = requested(browser)
    assert {urlsplit(one).netloc for one in asked if one.startswith(("http", "ws"))} == {urlsplit(url).netloc}
    assert browser.save_screenshot(str(tmp_path / "page.png"))


def test_wrong_file_is_answered_with_one_line(browser: Any, url: str, tmp_path: Path) -> None:
    """A file that is no picture leaves no tags, but a line that says so."""
    browser.get(url)
    wait = WebDriverWait(browser, 60)
    wrong = tmp_path / "letter.png"
    wrong.write_text("Dear reader")
    upload(browser, wait, wrong)
    line = wait.until(lambda _: browser.find_elements(By.CSS_SELECTOR, ".a-problem"))[0].text

    assert line == "this file cannot be used: not a JPEG, PNG, GIF, WebP or AVIF picture"
    assert tags(browser) == []


def test_documented_shell_example_works(url: str, tmp_path: Path) -> None:
    """The commands of docs/SERVE.md, with this server's address."""
    write_picture(tmp_path / "picture.jpg", "red")
    script = example("sh").replace("http://127.0.0.1:7860", url)
    finished = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    event = re.search(r"event: complete\ndata: (.+)", finished.stdout)
    assert event is not None, finished.stdout
    answer = json.loads(event[1])[0]

    assert "red_eyes" in answer["tags"]["general"]
    assert answer["tags"]["character"] == {"saber_(fate)": pytest.approx(0.98, abs=0.02)}
    assert set(answer["rating"]) == {"general", "sensitive", "questionable", "explicit"}


def test_api_says_what_the_command_says(url: str, tmp_path: Path) -> None:
    """The Python client of docs/SERVE.md gets the numbers of `alti2v tag --format json`."""
    from gradio_client import Client, handle_file

    picture = write_picture(tmp_path / "picture.jpg", "blue")
    client = Client(url, analytics_enabled=False, verbose=False)
    answer = client.predict(handle_file(str(picture)), None, api_name="/tag")
    model = next((tmp_path.parent).glob("serve*/model"))
    said = subprocess.run(alti2v("tag", model, picture, "--format", "json"), capture_output=True, check=True)
    expected = json.loads(said.stdout)

    assert answer["tags"] == expected["tags"]
    assert answer["rating"] == expected["rating"]


def test_addresses_are_not_followed(url: str) -> None:
    """The server fetches nothing that a client names, and hands out no file of its own."""
    from gradio_client import Client
    from gradio_client.exceptions import AppError

    client = Client(url, analytics_enabled=False, verbose=False)
    meta = {"_type": "gradio.FileData"}
    with pytest.raises(AppError, match="addresses are not followed"):
        client.predict({"path": f"{url}/x.png", "meta": meta}, None, api_name="/tag")


def upload(browser: Any, wait: Any, picture: Path) -> None:
    field = wait.until(lambda _: browser.find_elements(By.CSS_SELECTOR, "#picture input[type=file]"))[0]
    field.send_keys(str(picture))


def tags(browser: Any) -> list[str]:
    script = 'return [...document.querySelectorAll("#tags li")].map((one) => one.dataset.tag)'
    found: list[str] = browser.execute_script(script)
    return found


def text_of(browser: Any, place: str, attribute: str) -> str:
    return str(browser.find_element(By.CSS_SELECTOR, place).get_attribute(attribute))


def requested(browser: Any) -> set[str]:
    """Every address that the browser asked for."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return {
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    }


def example(language: str) -> str:
    return SERVE_MD.read_text(encoding="utf-8").split(f"```{language}\n")[1].split("```")[0]
