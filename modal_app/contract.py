"""What a run takes (docs/function.md), and the limits of this app."""

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Arguments = dict[str, Any]

VERSIONS = ("v15", "v1")
FACES = ("video_path", "video_url", "image_url", "video_bytes", "image_bytes")
SPEECHES = ("audio_path", "audio_url", "audio_bytes")


@dataclass(frozen=True)
class Settings:
    # MuseTalk's checkout, with the weights in `models/`.
    checkout: Path = Path("/opt/MuseTalk")
    # The Python that has MuseTalk's packages.
    python: str = sys.executable
    results: Path = Path("/shared/results")
    max_input_bytes: int = 1024**3
    # For one input, redirects and repeated attempts included, in seconds.
    fetch_seconds: float = 300
    # How long a server may send nothing, in seconds.
    stall_seconds: float = 30
    max_speech_seconds: float = 1800
    # Memory for frames: MuseTalk holds all of them at once, and a container that runs out of memory starts the run again.
    max_frames_bytes: int = 24 * 1024**3


class RunError(Exception):
    """Why a run failed, in words that the client may see: they become the `error` of the job."""


@dataclass(frozen=True)
class Range:
    low: int
    high: int
    # The only model version that knows the parameter; None: both do.
    version: str | None = None


RANGES = {
    "bbox_shift": Range(-50, 50, "v1"),
    "extra_margin": Range(0, 40, "v15"),
    "left_cheek_width": Range(20, 160, "v15"),
    "right_cheek_width": Range(20, 160, "v15"),
    "batch_size": Range(1, 64),
    "fps": Range(1, 60),
}
PARSING_MODES = ("jaw", "raw", "neck")
PARAMETERS = (*RANGES, "parsing_mode", "use_float16")
# MuseTalk has 50 features of the speech a second, and ends without a video if there are no fewer frames than that.
MAX_FPS = 49
# A path reaches no shell here, as each input is copied first; what it names is in the checkout.
PATH = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)


@dataclass(frozen=True)
class Request:
    # The arguments that name the inputs, with their values: a path, a URL or bytes.
    face: tuple[str, Any]
    speech: tuple[str, Any]
    version: str = "v15"
    use_float16: bool = True
    # Those of RANGES and parsing_mode that were given.
    parameters: Arguments = field(default_factory=dict)


def parse_arguments(arguments: Arguments) -> Request:
    """Checks the arguments of `run_inference`; None counts as absent. Raises `RunError` with the name of a bad one."""
    given = {name: value for name, value in arguments.items() if value is not None}
    version = given.pop("version", "v15")
    if version not in VERSIONS:
        raise RunError(f"version: must be one of {', '.join(VERSIONS)}")
    use_float16 = given.pop("use_float16", True)
    if not isinstance(use_float16, bool):
        raise RunError("use_float16: must be true or false")
    face = take_input(given, FACES, "face")
    speech = take_input(given, SPEECHES, "speech")
    for name, value in given.items():
        check_parameter(name, value, version)
    return Request(face, speech, version, use_float16, given)


def take_input(given: Arguments, names: tuple[str, ...], what: str) -> tuple[str, Any]:
    present = [name for name in names if name in given]
    if len(present) != 1:
        found = ", ".join(present) or "none"
        raise RunError(f"{what}: exactly one of {', '.join(names)} is needed, found {found}")
    name = present[0]
    value = given.pop(name)
    is_bytes = name.endswith("_bytes")
    # A Path comes from the command line only: no argument of a call can be one.
    if not isinstance(value, (bytes, Path) if is_bytes else str) or not value:
        raise RunError(f"{name}: must be {'bytes' if is_bytes else 'a text'}, and not empty")
    if name.endswith("_path") and not PATH.fullmatch(value):
        raise RunError(f"{name}: must be names of letters, digits, _, - and ., separated by /")
    return name, value


def check_parameter(name: str, value: Any, version: str) -> None:
    if name == "parsing_mode":
        if value not in PARSING_MODES:
            raise RunError(f"parsing_mode: must be one of {', '.join(PARSING_MODES)}")
        only = "v15"
    elif name in RANGES:
        low, high, only = RANGES[name].low, RANGES[name].high, RANGES[name].version
        # In Python a bool is an int.
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise RunError(f"{name}: must be a whole number from {low} to {high}")
    else:
        raise RunError(f"{name}: unknown argument")
    if only is not None and only != version:
        raise RunError(f"{name}: only for version {only}")
    if name == "fps" and value > MAX_FPS:
        raise RunError(f"fps: MuseTalk can make at most {MAX_FPS} frames a second")
