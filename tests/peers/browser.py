"""Chromium without a window, driven by its DevTools protocol over a pipe: a page as its user has it."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

# The longest that anything is waited for; only failures take that long.
PATIENCE = 60
FLAGS = """--headless --no-sandbox --disable-gpu --remote-debugging-pipe --no-first-run
    --disable-background-networking --disable-component-update --disable-sync""".split()
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "Space": 32}
TEXTS = {"Enter": "\r", "Space": " "}


class Browser:
    """One page; what it has asked for and what its console has said is kept."""

    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="chromium")
        (theirs_in, self.out), (self.answers, theirs_out) = os.pipe(), os.pipe()

        def descriptors():
            # Copies first: either may be one of those that are replaced.
            copies = [os.dup(theirs_in), os.dup(theirs_out)]
            os.dup2(copies[0], 3)
            os.dup2(copies[1], 4)

        self.process = subprocess.Popen(
            ["chromium", *FLAGS, f"--user-data-dir={self.profile}"],
            preexec_fn=descriptors, close_fds=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.pending, self.calls, self.session, self.events = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Log", "Network", "DOM", "Accessibility"]:
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)

    def call(self, method, **params):
        self.calls += 1
        message = {"id": self.calls, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.calls:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def receive(self):
        while b"\0" not in self.pending:
            if not select.select([self.answers], [], [], PATIENCE)[0]:
                raise SystemExit("the browser does not answer")
            part = os.read(self.answers, 1 << 16)
            if not part:
                raise SystemExit("the browser has ended")
            self.pending += part
        message, self.pending = self.pending.split(b"\0", 1)
        return json.loads(message)

    def js(self, expression):
        """What an expression, or a promise, comes to."""
        asked = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = self.call("Runtime.evaluate", **asked)
        if "exceptionDetails" in answer:
            raise SystemExit(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, expression):
        """Until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not (value := self.js(expression)):
            if time.monotonic() > end:
                text = self.js("document.body.innerText")
                raise SystemExit(f"waited in vain for {expression}\n{text}\n{self.complaints()}")
            time.sleep(0.03)
        return value

    def open(self, url):
        self.call("Page.navigate", url=url)

    def press(self, key, shift=False):
        of = {"key": key.replace("Space", " "), "code": key, "windowsVirtualKeyCode": KEYS[key]}
        of["modifiers"] = 8 if shift else 0
        down = {"text": TEXTS[key]} if key in TEXTS else {}
        kind = "keyDown" if down else "rawKeyDown"
        self.call("Input.dispatchKeyEvent", type=kind, **of, **down)
        self.call("Input.dispatchKeyEvent", type="keyUp", **of)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def screen(self, width, height, **features):
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=named)

    def choose_file(self, selector, path):
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[path])

    def picture(self, path):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "scale": 1, "width": size["width"], "height": min(size["height"], 4000)}
        taken = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        with open(path, "wb") as file:
            file.write(base64.b64decode(taken["data"]))

    def told(self, method):
        return [event["params"] for event in self.events if event.get("method") == method]

    def complaints(self):
        """Of the console, as texts."""
        entries = [told["entry"] for told in self.told("Log.entryAdded")]
        said = [f"{entry['text']} {entry.get('url', '')}" for entry in entries]
        said += [json.dumps(told["exceptionDetails"]) for told in self.told("Runtime.exceptionThrown")]
        return said + [json.dumps(told["args"]) for told in self.told("Runtime.consoleAPICalled")]
