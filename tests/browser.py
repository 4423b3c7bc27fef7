"""Headless Chromium over its DevTools protocol, to view outputs as users see them."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from PIL import Image
from websockets.sync.client import connect

from ourvidz.dev.chromium import FLAGS, chromium
from ourvidz.dev.parts import Parts
from ourvidz.dev.pgbouncer import Program

PAGE = """<!doctype html><body style="margin:0;background:#000"><script>
async function show(url, kind, width, height) {
  document.body.replaceChildren();
  const seen = document.createElement(kind);
  seen.width = width; seen.height = height; seen.style.display = "block";
  document.body.append(seen);
  await new Promise((done, failed) => {
    seen[kind === "video" ? "onloadeddata" : "onload"] = done;
    seen.onerror = () => failed(new Error(`${kind}: ${seen.error ? seen.error.message : "cannot be shown"}`));
    seen.muted = true; seen.src = url;
  });
  if (kind === "video") await new Promise(done => { seen.onseeked = done; seen.currentTime = seen.duration / 2; });
  await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
}
</script>"""


class Browser:
    """`with Browser(program, folder) as browser`. `seconds`: limit for each answer."""

    def __init__(self, program: Program, folder: Path, seconds: float = 90) -> None:
        self.program, self.folder, self.seconds, self.asked, self.session = program, folder, seconds, 0, ""

    def __enter__(self) -> Browser:
        args = [str(self.program.path), *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={self.folder}"]
        self.process = subprocess.Popen(
            args, env=os.environ | self.program.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        said = []
        for line in self.process.stderr:  # it ends with the process
            said.append(line)
            if found := re.search(r"ws://\S+", line):
                break
        else:
            raise AssertionError(f"Chromium ended with {self.process.wait()}: {''.join(said)[-2000:]}")
        self.wire = connect(found[0], max_size=None, proxy=None)
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        frame = self("Page.getFrameTree")["frameTree"]["frame"]["id"]
        self("Page.setDocumentContent", frameId=frame, html=PAGE)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.communicate()

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        self.asked += 1
        message = {"id": self.asked, "method": method, "params": params} | ({"sessionId": self.session} if self.session else {})
        self.wire.send(json.dumps(message))
        while (answer := json.loads(self.wire.recv(timeout=self.seconds))).get("id") != self.asked:
            pass  # skip events
        assert "error" not in answer, answer["error"]
        return dict(answer["result"])

    def shown(self, file: Path, media_type: str, size: tuple[int, int]) -> Image.Image:
        """Screenshot of the file in a page at `size`; of a video, the frame in the middle."""
        url = f"data:{media_type};base64,{base64.b64encode(file.read_bytes()).decode()}"
        kind = "video" if media_type.startswith("video/") else "img"
        self("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=False)
        call = f"show({json.dumps(url)}, {json.dumps(kind)}, {size[0]}, {size[1]})"
        done = self("Runtime.evaluate", expression=call, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        data = self("Page.captureScreenshot", format="png")["data"]
        return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


@pytest.fixture(scope="session")
def browser(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(chromium(parts), tmp_path_factory.mktemp("chromium")) as started:
        yield started
