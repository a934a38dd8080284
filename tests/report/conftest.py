"""A headless Chromium, driven through its DevTools protocol over a pipe; and runs to look at."""

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
TROUBLE = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")


class Browser:
    """One page of a browser. Messages are JSON that ends with a zero byte.

    See https://chromedevtools.github.io/devtools-protocol for methods and events.
    """

    def __init__(self, profile: str):
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()

        def as_3_and_4() -> None:  # where Chromium looks for the pipes
            ends = os.dup(to_read), os.dup(to_write)
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        self._process = subprocess.Popen(
            [
                str(CHROMIUM), "--headless=new", "--remote-debugging-pipe", "--no-first-run",
                "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
                "--hide-scrollbars", f"--user-data-dir={profile}", *["--no-sandbox"] * _is_root(),
            ],
            preexec_fn=as_3_and_4, close_fds=False, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self._buffer, self._number, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        (target,) = (
            info for info in self.call("Target.getTargets")["targetInfos"] if info["type"] == "page"
        )
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._from, 2**20)
            assert part, "Chromium has gone"
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(text)

    def open(self, path: Path, *, width: int = 1280, dark: bool = False) -> None:
        """Show a file, drawn completely; events start anew."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        value = "dark" if dark else "light"
        features = [{"name": "prefers-color-scheme", "value": value}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call("Page.navigate", url="about:blank")
        self.events = []
        self.call("Page.navigate", url=path.resolve().as_uri())
        ready = "document.readyState == 'complete' && (!document.getElementById('gallery') ||"
        self.wait_for(ready + " document.getElementById('gallery').dataset.ready == '1')")

    def wait_for(self, expression: str) -> None:
        end = time.monotonic() + 15
        while not self.value(f"location.protocol == 'file:' && {expression}"):
            assert time.monotonic() < end, f"never came true: {expression}"
            time.sleep(0.02)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives; promises are waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str, *, shift: bool = False) -> None:
        code = {"Tab": 9, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39,
                "ArrowDown": 40, " ": 32}[key]  # fmt: skip
        for kind in ("keyDown", "keyUp"):
            more = {"text": " "} if key == " " and kind == "keyDown" else {}
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key,
                windowsVirtualKeyCode=code, modifiers=8 * shift, **more,
            )  # fmt: skip

    def picture(self, selector: str = "") -> bytes:
        """A PNG of the first such element, or of the whole page."""
        params: dict[str, Any] = {"captureBeyondViewport": True}
        if selector:
            box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
            numbers = f"(b => [b.x + scrollX, b.y + scrollY, b.width, b.height])({box})"
            x, y, width, height = self.value(numbers)
            params["clip"] = {"x": x, "y": y, "width": width, "height": height, "scale": 1}
        else:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            params["clip"] = {**size, "x": 0, "y": 0, "scale": 1}
        return base64.b64decode(self.call("Page.captureScreenshot", **params)["data"])

    def trouble(self) -> list[dict[str, Any]]:
        """Errors, console messages and requests to a network since the page was opened."""
        self.value("1")  # so that what came before is here
        found = [event for event in self.events if event["method"] in TROUBLE]
        for event in self.events:
            if event["method"] == "Network.requestWillBeSent":
                url = event["params"]["request"]["url"]
                found += [event] * (not url.startswith(("file:", "data:", "blob:", "about:")))
        return found

    def close(self) -> None:
        self._session = ""
        with contextlib.suppress(OSError, AssertionError):
            self.call("Browser.close")
        self._process.wait(10)
        os.close(self._to)
        os.close(self._from)


def _is_root() -> bool:
    return os.geteuid() == 0


@pytest.fixture(scope="session")
def browser():
    """One Chromium for all tests, which are skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(profile)
        yield browser
        browser.close()


class Html(HTMLParser):
    """The tags, ids and links of a page; a tag that is not closed in order is an error."""

    VOID = ("meta", "img", "input", "link", "br")

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.ids, self.links = set[str](), set[str](), list[str]()
        self._open: list[str] = []
        self.feed(text)
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        values = dict(attrs)
        assert not values.keys() & {"onclick", "onload", "onerror"}
        if name := values.get("id"):
            assert name not in self.ids, f"id {name} stands twice"
            self.ids.add(name)
        if tag == "a":
            self.links.append(values["href"] or "")
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


@pytest.fixture
def check_html():
    """Parse a page that must be well formed, have links to itself alone, and load nothing."""

    def check(text: str) -> Html:
        found = Html(text)
        assert {link.removeprefix("#") for link in found.links} <= found.ids
        assert not found.tags & {"link", "iframe", "object", "embed", "base"}
        assert not re.search("https?:|//[a-z]|@import|url\\(", re.sub("data:[^\"']*", "", text))
        return found

    return check
