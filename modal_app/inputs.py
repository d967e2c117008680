"""Copies the inputs of a run from where they are: a URL, bytes of the call, or a file. Limits size, time and type."""

import http.client
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from contract import RunError, Settings


def open_input(name: str, value: Any, target: Path, settings: Settings) -> None:
    """Copies an input to the target, a fixed name. Raises `RunError` if it cannot be had, or is no media file."""
    if name.endswith("_url"):
        fetch(name, value, target, settings)
    elif isinstance(value, Path):
        copy_file(name, value, target, settings)
    elif name.endswith("_bytes"):
        if len(value) > settings.max_input_bytes:
            raise too_large(name, settings)
        target.write_bytes(value)
    else:
        source = (settings.checkout / value).resolve()
        if not source.is_relative_to(settings.checkout.resolve()):
            raise RunError(f"{name}: no such file")
        copy_file(name, source, target, settings)
    check_content(name, target)


def copy_file(name: str, source: Path, target: Path, settings: Settings) -> None:
    if not source.is_file():
        raise RunError(f"{name}: no such file")
    if source.stat().st_size > settings.max_input_bytes:
        raise too_large(name, settings)
    shutil.copyfile(source, target)


def too_large(name: str, settings: Settings) -> RunError:
    return RunError(f"{name}: larger than {settings.max_input_bytes / 1024**2:g} MiB")


MAX_REDIRECTS = 5
FETCH_ATTEMPTS = 3
FETCH_PAUSE_SECONDS = 1.0


class Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = MAX_REDIRECTS
    max_repeats = MAX_REDIRECTS

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def check_scheme(url: str) -> None:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise RunError("only http and https can be fetched")


class TransientError(Exception):
    """A failure to fetch after which another attempt may work."""


def fetch(name: str, url: str, target: Path, settings: Settings) -> None:
    """Fetches a URL, in three attempts. Raises `RunError` with the host of the URL: the rest of it may be a secret."""
    host = ""
    deadline = time.monotonic() + settings.fetch_seconds
    try:
        host = urllib.parse.urlsplit(url).hostname or ""
        check_scheme(url)
        for attempt in range(1, FETCH_ATTEMPTS + 1):
            try:
                return fetch_once(url, target, settings, deadline)
            except TransientError:
                if attempt == FETCH_ATTEMPTS or time.monotonic() > deadline:
                    raise
            time.sleep(FETCH_PAUSE_SECONDS * attempt)
    except (TransientError, RunError) as error:
        raise RunError(f"{name}: cannot be fetched from {host}: {error}") from error
    except ValueError as error:
        raise RunError(f"{name}: no valid URL") from error


def fetch_once(url: str, target: Path, settings: Settings, deadline: float) -> None:
    opener = urllib.request.OpenerDirector()
    handlers = (urllib.request.HTTPHandler, urllib.request.HTTPSHandler, urllib.request.HTTPDefaultErrorHandler)
    for handler in (*handlers, urllib.request.HTTPErrorProcessor, urllib.request.ProxyHandler, Redirects):
        opener.add_handler(handler())
    request = urllib.request.Request(url, headers={"User-Agent": "musetalk", "Accept-Encoding": "identity"})
    try:
        with opener.open(request, timeout=settings.stall_seconds) as response:
            save(response, target, settings, deadline)
    except urllib.error.HTTPError as error:
        error.close()
        if 300 <= error.code < 400:
            raise RunError(f"more than {MAX_REDIRECTS} redirects, or one to something else than http or https") from error
        is_transient = error.code >= 500 or error.code in (408, 425, 429)
        raise (TransientError if is_transient else RunError)(f"status {error.code}") from error
    except urllib.error.URLError as error:
        raise TransientError(str(error.reason)) from error
    except TimeoutError as error:
        raise TransientError(f"nothing came for {settings.stall_seconds:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise TransientError(f"the connection broke ({type(error).__name__})") from error


def save(response: Any, target: Path, settings: Settings, deadline: float) -> None:
    length = int(response.headers.get("Content-Length") or -1)
    received = 0
    with target.open("wb") as file:
        while piece := response.read1(256 * 1024):
            received += len(piece)
            if max(received, length) > settings.max_input_bytes:
                raise RunError(f"larger than {settings.max_input_bytes / 1024**2:g} MiB")
            if time.monotonic() > deadline:
                raise RunError(f"it took longer than {settings.fetch_seconds:g} s")
            file.write(piece)
    if length >= 0 and received != length:
        raise TransientError(f"{received} of {length} bytes came")


# How the formats begin that are accepted: offset, bytes. Only the demuxers below open them.
SIGNATURES = (
    *((4, word) for word in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),  # MP4, MOV, M4A, 3GP
    (0, b"\x1aE\xdf\xa3"),  # WebM, MKV
    (0, b"RIFF"),  # AVI, WAV, WebP
    *((0, word) for word in (b"RF64", b"FORM", b"caff", b"#!AMR", b"fLaC", b"OggS", b"ID3", b"FLV\x01")),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),  # WMV, WMA
    (0, b"\x00\x00\x01\xba"),  # MPEG
    (0, b"\x00\x00\x01\xb3"),
    (188, b"G"),  # MPEG-TS
    *((0, bytes((0xFF, second))) for second in range(0xE0, 0x100)),  # MP3, AAC
    *((0, word) for word in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\x00", b"MM\x00*")),
)


def check_content(name: str, path: Path) -> None:
    """Refuses what does not begin as a media file: an error page, a playlist that names other files."""
    with path.open("rb") as file:
        start = file.read(192)
    if not start:
        raise RunError(f"{name}: the file is empty")
    if not any(start.startswith(word, offset) for offset, word in SIGNATURES):
        raise RunError(f"{name}: not a video, image or sound of a known format")


IMAGE_TYPES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\x00", b"MM\x00*")


def is_image(path: Path) -> bool:
    """False too where the file cannot be read; the run says why."""
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError:
        return False
    return start.startswith(IMAGE_TYPES) or (start.startswith(b"RIFF") and start[8:12] == b"WEBP")
