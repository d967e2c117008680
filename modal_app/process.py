"""MuseTalk as a warm process (`worker.py`), and what its output says of the progress of a run."""

import json
import math
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from contract import RunError, Settings


class Progress:
    """Prints one line of JSON for each step, at most one a second: what falls between two lines is not printed."""

    INTERVAL_SECONDS = 1.0

    def __init__(self, write: Callable[[str], Any] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write or (lambda line: print(line, flush=True))
        self._clock = clock
        self._printed_at = -math.inf

    def report(self, step: str, done: int | None = None, total: int | None = None) -> None:
        now = self._clock()
        if now - self._printed_at < self.INTERVAL_SECONDS:
            return
        self._printed_at = now
        counts = {} if done is None or total is None else {"done": done, "total": total}
        self._write(json.dumps({"musetalk": {"step": step, **counts}}))


# A bar of tqdm: ` 45%|####      | 9/20 [00:03<00:04,  2.93it/s]`.
BAR = re.compile(r"\d+%\|.*\| (\d+)/(\d+) \[")
# What MuseTalk prints before a step.
STEPS = {
    "reading images": "frames",
    "get key_landmark": "landmarks",
    "Starting inference": "lips",
    "Padding generated images": "blending",
    "Video generation command": "encoding",
}
FAILURE = re.compile(r"Error occurred(?: during processing)?: ?(.*)")


class OutputReader:
    """Reads what MuseTalk prints: bars become progress, all else goes to the log. Keeps what explains a failure."""

    def __init__(self, progress: Progress, log: Callable[[str], Any]) -> None:
        self.failures: list[str] = []
        self.last_lines: deque[str] = deque(maxlen=5)
        self.step = "models"
        self._progress = progress
        self._log = log

    def read(self, line: str) -> None:
        bar = BAR.search(line)
        if bar:
            self._progress.report(self.step, int(bar[1]), int(bar[2]))
            return
        if not line.strip():
            return
        self._log(line)
        self.last_lines.append(line.strip()[:300])
        for text, step in STEPS.items():
            if line.startswith(text):
                self.step = step
                self._progress.report(step)
        failure = FAILURE.match(line)
        if failure:
            # The first model of the landmarks divides by the number of faces.
            is_faceless = self.step == "landmarks" and "division by zero" in failure[1]
            self.failures.append("no face was found" if is_faceless else failure[1].strip() or "no reason was given")


class MuseTalk:
    """
    MuseTalk in a warm process of its own (`worker.py`), which is started again after a run that failed or was stopped.
    One run at a time.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._marker = ""
        self._pending = b""

    def start(self, reader: OutputReader | None = None) -> None:
        """Loads the models, unless they are loaded. Raises `RunError` if they cannot be."""
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        self._marker = f"musetalk-{secrets.token_hex(8)}"
        self._process = subprocess.Popen(
            [self._settings.python, "-u", str(Path(__file__).with_name("worker.py")), self._marker],
            cwd=self._settings.checkout,
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._await("ready", reader or OutputReader(Progress(), log_line))

    def run(self, argv: list[str], reader: OutputReader) -> None:
        """Runs `scripts.inference` with the arguments. Raises `RunError` if the process says that it failed."""
        self.start(reader)
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps({"argv": argv}).encode() + b"\n")
        self._process.stdin.flush()
        self._await("done", reader)

    def close(self) -> None:
        """Kills the process and all that it started."""
        process, self._process, self._pending = self._process, None, b""
        if process is None:
            return
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                # What was written and not read is lost with the process.
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass

    def _await(self, word: str, reader: OutputReader) -> None:
        """Reads until the worker says the word. Whatever else ends the wait, a cancellation by Modal too, kills it."""
        try:
            for line in self._lines():
                if not line.startswith(f"{self._marker} "):
                    reader.read(line)
                    continue
                said, _, text = line[len(self._marker) + 1 :].partition(" ")
                if said == word:
                    return
                raise RunError(f"MuseTalk failed: {text}")
            assert self._process is not None
            code = self._process.wait()
            raise RunError(f"MuseTalk's process ended with code {code}: {'; '.join(reader.last_lines)}")
        except BaseException:
            self.close()
            raise

    def _lines(self) -> Iterator[str]:
        """Lines as they end, by a line feed or, as those of bars, by a carriage return."""
        assert self._process is not None and self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while True:
            *lines, self._pending = re.split(rb"[\r\n]", self._pending)
            # Of many lines read at once, those after the worker's own belong to nobody.
            yield from (line.decode(errors="replace") for line in lines)
            piece = os.read(descriptor, 65536)
            if not piece:
                yield self._pending.decode(errors="replace")
                return
            self._pending += piece


def clean_environment() -> dict[str, str]:
    """MuseTalk passes paths to a shell: its environment has no credentials."""
    secret = re.compile("TOKEN|SECRET|PASSW|CREDENTIAL|KEY|^MODAL_")
    return {name: value for name, value in os.environ.items() if not secret.search(name)}


def log_line(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
