"""A real Chromium, driven through the DevTools protocol over a pair of pipes.

Messages are JSON, ended by a zero byte (chromium's ``--remote-debugging-pipe``); no port, so
neither a network nor a library is needed.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

__all__ = ["Page", "open_page"]

CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome")
_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)
_PATIENCE: Final = 90.0


class BrowserError(AssertionError):
    """The browser did not do as it was told."""


class Page:
    """One page in its own browser.

    Attributes:
        said: what the console and the log said, exceptions included.
        asked: the addresses that the page asked for.
    """

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._buffer = b""
        self._count = 0
        self._session: str | None = None
        self.said: list[str] = []
        self.asked: list[str] = []

    def start(self, width: int, height: int, *, dark: bool) -> None:
        """Attach to the first page, offline."""
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(one["targetId"] for one in targets if one["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call(
            "Network.emulateNetworkConditions",
            offline=True, latency=0, downloadThroughput=0, uploadThroughput=0,
        )  # fmt: skip
        self.resize(width, height)
        self.dark(dark)

    def resize(self, width: int, height: int) -> None:
        """Give the window a size in pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def dark(self, dark: bool) -> None:
        """Prefer dark, or light."""
        value = "dark" if dark else "light"
        features = [{"name": "prefers-color-scheme", "value": value}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def open(self, path: Path) -> None:
        """Open a file, and wait until its figures are drawn."""
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait("['ready', 'failed'].includes(document.documentElement?.dataset.state)")

    def wait(self, expression: str) -> None:
        """Wait until an expression is true."""
        until = time.monotonic() + _PATIENCE
        while not self.run(f"Boolean({expression})"):
            if time.monotonic() > until:
                raise BrowserError(f"never true: {expression}; {self.said}")
            self._hear(0.02)

    def run(self, expression: str) -> Any:
        """What an expression comes to."""
        done = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in done:
            raise BrowserError(f"{expression}: {done['exceptionDetails']}")
        return done["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key and let it go."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def click(self, x: float, y: float) -> None:
        """Click into the window."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            buttons = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **buttons)

    def picture(self, path: Path, *, whole: bool = True) -> bytes:
        """A PNG of the page."""
        made = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        data = base64.b64decode(made)
        path.write_bytes(data)
        return data

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method and wait for its answer."""
        self._count += 1
        number = self._count
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            for heard in self._hear(1.0):
                if heard.get("id") == number:
                    if "error" in heard:
                        raise BrowserError(f"{method}: {heard['error']}")
                    return heard["result"]
        raise BrowserError(f"no answer to {method} in {_PATIENCE} s; {self.said}")

    def _hear(self, seconds: float) -> list[dict[str, Any]]:
        """What came in; what the page says of itself is kept."""
        if b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], seconds)
            if not ready:
                return []
            data = os.read(self._read, 1 << 20)
            if not data:
                raise BrowserError(f"the browser ended; {self.said}")
            self._buffer += data
        *whole, self._buffer = self._buffer.split(b"\0")
        heard = [json.loads(one) for one in whole]
        for one in heard:
            self._note(one.get("method"), one.get("params", {}))
        return heard

    def _note(self, method: str | None, given: Any) -> None:
        if method == "Runtime.consoleAPICalled":
            texts = [str(one.get("value", one.get("description"))) for one in given["args"]]
            self.said.append(f"{given['type']}: {' '.join(texts)}")
        elif method == "Runtime.exceptionThrown":
            self.said.append(f"exception: {given['exceptionDetails']}")
        elif method == "Log.entryAdded":
            self.said.append(f"{given['entry']['level']}: {given['entry']['text']}")
        elif method == "Network.requestWillBeSent":
            self.asked.append(given["request"]["url"])


@contextlib.contextmanager
def open_page(width: int = 1200, height: int = 900, *, dark: bool = False) -> Iterator[Page]:
    """A browser with one empty page, and an empty profile.

    Raises:
        BrowserError: there is no Chromium.
    """
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        raise BrowserError("no chromium: install Debian's package chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process, write, read = _start([found, *_FLAGS, f"--user-data-dir={profile}"])
        try:
            page = Page(write, read)
            page.start(width, height, dark=dark)
            yield page
        finally:
            with contextlib.suppress(OSError):
                os.write(write, b'{"id":0,"method":"Browser.close"}\0')
            os.close(write)
            _end(process)
            os.close(read)


def _start(command: list[str]) -> tuple[subprocess.Popen[bytes], int, int]:
    """Start it with descriptor 3 to read from and 4 to write to."""
    theirs_in, ours_out = _pipe(high=0)
    ours_in, theirs_out = _pipe(high=1)
    # a shell puts the descriptors in place: dup2 in a forked child is not safe beside threads
    script = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out} {theirs_in}<&- {theirs_out}>&-'
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", *command, "about:blank"],
        pass_fds=(theirs_in, theirs_out),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    return process, ours_out, ours_in


def _pipe(high: int) -> tuple[int, int]:
    """A pipe of which one end is out of the way of descriptors 3 and 4."""
    ends = list(os.pipe())
    low = ends[high]
    ends[high] = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(low)
    return ends[0], ends[1]


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        for stop in _stops(process):
            stop()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
                return


def _stops(process: subprocess.Popen[bytes]) -> list[Callable[[], None]]:
    """Ways to stop it and its children, which have a process group of their own."""
    return [lambda: os.killpg(process.pid, 15), lambda: os.killpg(process.pid, 9)]
