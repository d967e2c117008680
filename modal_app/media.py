"""Brings face and speech into the formats that MuseTalk reads, and checks what it makes, with ffmpeg and ffprobe."""

import json
import math
import subprocess
import wave
from dataclasses import dataclass
from pathlib import Path

from contract import Arguments, RunError, Settings

PROBE_SECONDS = 120
CONVERT_SECONDS = 1800
MAX_PIXELS = 8192 * 4320
# Beyond this a face video loses every second frame, until it has no more: each frame costs GPU time.
MAX_VIDEO_FPS = 30
DEFAULT_FPS = 25
DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpeg,mpegts,mpegvideo,ogg,wav,w64,aiff,caf,amr,flac,mp3,aac,"
    "jpeg_pipe,png_pipe,webp_pipe,bmp_pipe,tiff_pipe,gif,gif_pipe,apng"
)
# Opens nothing but the named file, as one of the media formats.
OPEN = ["-protocol_whitelist", "file", "-format_whitelist", DEMUXERS]


def probe(name: str, path: Path) -> list[Arguments]:
    """The streams of a file, as ffprobe shows them; empty if it is no media file."""
    command = ["ffprobe", "-v", "error", *OPEN, "-show_streams", "-of", "json", f"file:{path}"]
    done = call(name, command, PROBE_SECONDS)
    return json.loads(done.stdout or "{}").get("streams", []) if done.returncode == 0 else []


def call(name: str, command: list[str], seconds: float) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=seconds
        )
    except subprocess.TimeoutExpired as error:
        raise RunError(f"{name}: {command[0]} took longer than {seconds:g} s") from error


def convert(name: str, source: Path, options: list[str], target: Path) -> None:
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-max_pixels", str(MAX_PIXELS), *OPEN, "-i", f"file:{source}"]
    done = call(name, [*command, *options, "-map_metadata", "-1", f"file:{target}"], CONVERT_SECONDS)
    if done.returncode != 0 or not target.exists() or target.stat().st_size == 0:
        reason = done.stderr.replace(f"file:{source}", name).strip().splitlines()[-1:] or ["ffmpeg gave no reason"]
        raise RunError(f"{name}: cannot be decoded: {reason[0][:300]}")


def streams_of(streams: list[Arguments], kind: str) -> list[Arguments]:
    """Of one kind, without cover pictures."""
    return [s for s in streams if s.get("codec_type") == kind and not s.get("disposition", {}).get("attached_pic")]


@dataclass(frozen=True)
class Speech:
    path: Path
    seconds: float


def prepare_speech(name: str, source: Path, folder: Path, settings: Settings) -> Speech:
    """The first sound of a file as WAV: MuseTalk reads it, and so its length is known to the sample."""
    streams = streams_of(probe(name, source), "audio")
    if not streams:
        raise RunError(f"{name}: has no sound")
    target = folder / "speech.wav"
    channels = min(2, int(streams[0].get("channels") or 1))
    limit = settings.max_speech_seconds
    options = ["-map", "0:a:0", "-vn", "-ac", str(channels), "-ar", "48000", "-c:a", "pcm_s16le", "-t", str(limit + 1)]
    convert(name, source, options, target)
    with wave.open(str(target)) as sound:
        seconds = sound.getnframes() / sound.getframerate()
    if seconds > limit:
        raise RunError(f"{name}: longer than {limit:g} s")
    if seconds < 0.1:
        raise RunError(f"{name}: shorter than 0.1 s")
    return Speech(target, seconds)


@dataclass(frozen=True)
class Face:
    path: Path
    # Whole: MuseTalk cuts fractions off.
    fps: int
    is_still: bool


# Square pixels, and even numbers of them, as the encoder of MuseTalk's output needs.
EVEN = "scale=max(2\\,trunc(iw*sar/2)*2):max(2\\,trunc(ih/2)*2):flags=lanczos,setsar=1"


def prepare_still(name: str, source: Path, folder: Path, fps: int | None) -> Face:
    """An image, or the first one of several, as PNG. `fps`: of the video that is made of it."""
    require_picture(name, source)
    target = folder / "face.png"
    convert(name, source, ["-map", "0:V:0", "-frames:v", "1", "-vf", f"{EVEN},format=rgb24"], target)
    return Face(target, fps or DEFAULT_FPS, is_still=True)


def prepare_video(name: str, source: Path, speech: Speech, folder: Path) -> Face:
    """A video as MP4 with a whole number of frames a second; no longer than the speech, as the rest is never shown."""
    fps = frame_rate(require_picture(name, source))
    target = folder / "face.mp4"
    options = ["-map", "0:V:0", "-an", "-vf", f"fps={fps},{EVEN},format=yuv420p"]
    options += ["-frames:v", str(math.ceil(speech.seconds * fps)), "-c:v", "libx264", "-preset", "veryfast", "-crf", "10"]
    convert(name, source, options, target)
    return Face(target, fps, is_still=False)


def require_picture(name: str, source: Path) -> Arguments:
    streams = streams_of(probe(name, source), "video")
    if not streams:
        raise RunError(f"{name}: has no picture")
    return streams[0]


def frame_rate(stream: Arguments) -> int:
    """Frames a second as a whole number, at most 30."""
    numerator, _, denominator = str(stream.get("avg_frame_rate") or "0/1").partition("/")
    rate = float(numerator) / (float(denominator or 1) or 1) or DEFAULT_FPS
    while rate > MAX_VIDEO_FPS + 0.5:
        rate /= 2
    return max(1, round(rate))


# MuseTalk makes a mouth of 256 by 256 pixels for each frame of the output.
MOUTH_BYTES = 256 * 256 * 3


def check_memory(name: str, face: Face, speech: Speech, settings: Settings) -> None:
    picture = streams_of(probe(name, face.path), "video")[0]
    frames = int(picture.get("nb_frames") or 1)
    needed = frames * picture["width"] * picture["height"] * 3 + math.ceil(speech.seconds * face.fps) * MOUTH_BYTES
    if needed > settings.max_frames_bytes:
        sizes = f"{needed / 1024**3:.1f} GiB of memory, and there are {settings.max_frames_bytes / 1024**3:g}"
        raise RunError(f"{name}: its {frames} frames need {sizes}; send a shorter speech or smaller frames")


# How far the output may differ from the speech, in seconds.
TOLERANCE_SECONDS = 0.2


def check_output(path: Path, speech: Speech, fps: int) -> None:
    """Raises `RunError` unless the file has a picture and a sound, both as long as the speech."""
    streams = probe("output", path)
    # Less than a frame is cut off at the end.
    tolerance = max(TOLERANCE_SECONDS, 1 / fps)
    for kind, what in (("video", "picture"), ("audio", "sound")):
        found = streams_of(streams, kind)
        if not found:
            raise RunError(f"MuseTalk's video has no {what}")
        seconds = float(found[0].get("duration") or 0)
        if abs(seconds - speech.seconds) > tolerance:
            reason = "; frames without a face may be missing" if kind == "video" and seconds < speech.seconds else ""
            lengths = f"the {what} lasts {seconds:.2f} s, the speech {speech.seconds:.2f} s"
            raise RunError(f"MuseTalk's video is not as long as the speech: {lengths}{reason}")
