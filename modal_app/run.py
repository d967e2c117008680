"""Runs MuseTalk on one face and one speech: everything of the Modal functions that needs no Modal.

`app.py` deploys it; on a GPU of one's own it is a command (see docs/local-gpu.md):
`python3 run.py --face face.mp4 --audio speech.wav --output video.mp4 --checkout /opt/MuseTalk`.
Needs ffmpeg and ffprobe on the PATH, and nothing but Python's standard library (3.10 or later).
The contract of the functions is in docs/function.md.
"""

import argparse
import json
import re
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contract import PARAMETERS, RANGES, VERSIONS, Arguments, Request, RunError, Settings, parse_arguments
from inputs import is_image, open_input
from media import Face, Speech, check_memory, check_output, convert, prepare_speech, prepare_still, prepare_video
from process import MuseTalk, OutputReader, Progress, log_line

MODELS = {
    "v15": ("models/musetalkV15/unet.pth", "models/musetalkV15/musetalk.json"),
    "v1": ("models/musetalk/pytorch_model.bin", "models/musetalk/musetalk.json"),
}
OUTPUT_NAME = "output.mp4"


def script_arguments(request: Request, face: Path, speech: Path, folder: Path) -> list[str]:
    """The arguments of `scripts.inference`, whose configuration is written to the folder; so is its output, later."""
    # JSON is YAML too.
    config = folder / "inference.yaml"
    task: Arguments = {"video_path": str(face), "audio_path": str(speech), "result_name": OUTPUT_NAME}
    parameters = dict(request.parameters)
    if "bbox_shift" in parameters:
        task["bbox_shift"] = parameters.pop("bbox_shift")
    config.write_text(json.dumps({"task_0": task}))
    unet, unet_config = MODELS[request.version]
    argv = ["--inference_config", str(config), "--result_dir", str(folder / "results"), "--version", request.version]
    argv += ["--unet_model_path", unet, "--unet_config", unet_config, "--whisper_dir", "models/whisper"]
    for name, value in parameters.items():
        argv += [f"--{name}", str(value)]
    return [*argv, "--use_float16"] if request.use_float16 else argv


def render(
    request: Request, target: Path, musetalk: MuseTalk, settings: Settings, progress: Progress | None = None
) -> None:
    """Makes the video of a request. Raises `RunError`; temporary files are removed whatever happens."""
    progress = progress or Progress()
    with tempfile.TemporaryDirectory(prefix="musetalk-") as name:
        folder = Path(name)
        progress.report("inputs")
        (face_name, face_value), (speech_name, speech_value) = request.face, request.speech
        open_input(speech_name, speech_value, folder / "speech.input", settings)
        open_input(face_name, face_value, folder / "face.input", settings)
        speech = prepare_speech(speech_name, folder / "speech.input", folder, settings)
        face = prepare_face(request, folder / "face.input", speech, folder)
        check_memory(face_name, face, speech, settings)
        progress.report("models")
        reader = OutputReader(progress, log_line)
        musetalk.run(script_arguments(request, face.path, speech.path, folder), reader)
        output = folder / "results" / request.version / OUTPUT_NAME
        try:
            raise_failure(reader, face, output)
            check_output(output, speech, face.fps)
        except RunError:
            # After some errors of the GPU a process is of no more use.
            musetalk.close()
            raise
        progress.report("saving")
        finished = folder / "finished.mp4"
        convert("output", output, ["-map", "0:v:0", "-map", "0:a:0", "-c", "copy", "-movflags", "+faststart"], finished)
        target.parent.mkdir(parents=True, exist_ok=True)
        # Written once, from beginning to end: a bucket that is mounted allows nothing else.
        shutil.copyfile(finished, target)


def prepare_face(request: Request, source: Path, speech: Speech, folder: Path) -> Face:
    name = request.face[0]
    fps = request.parameters.get("fps")
    # A path may name either.
    if name.startswith("image") or is_image(source):
        return prepare_still(name, source, folder, fps)
    if fps is not None:
        raise RunError("fps: only for a still image; a video has its own")
    return prepare_video(name, source, speech, folder)


def raise_failure(reader: OutputReader, face: Face, output: Path) -> None:
    """MuseTalk prints what went wrong, and exits as if nothing had."""
    failures = reader.failures
    if face.is_still and output.exists():
        # With a still the script fails after the video is made, on the folder of frames that only a video has.
        failures = [failure for failure in failures if "save_dir_full" not in failure]
    if failures:
        raise RunError(f"MuseTalk failed: {'; '.join(failures[:3])[:1000]}")
    if not output.exists():
        raise RunError(f"MuseTalk made no video: {'; '.join(reader.last_lines)}")


def run_inference(
    arguments: Arguments, musetalk: MuseTalk, settings: Settings, commit: Callable[[], Any] = lambda: None
) -> dict[str, str]:
    """
    Makes the video of a call and keeps it as `<results>/<job id>/<version>/output.mp4`; `commit` makes it visible to
    others. What a caller can cause is returned as `failed`; anything else is raised.
    """
    run_id = uuid.uuid4().hex
    try:
        request = parse_arguments(arguments)
        target = settings.results / run_id / request.version / OUTPUT_NAME
        render(request, target, musetalk, settings)
    except RunError as error:
        log_line(f"failed: {error}")
        return {"job_id": run_id, "status": "failed", "error": str(error)}
    commit()
    return {"job_id": run_id, "status": "succeeded", "output_path": str(target)}


def read_result(job_id: str, version: str, settings: Settings) -> bytes:
    """The video of a run by the id that the run returned. Raises `ValueError` or `FileNotFoundError`."""
    if not re.fullmatch(r"[0-9a-f]{32}", job_id) or version not in VERSIONS:
        raise ValueError("no id of a run, or no version")
    path = settings.results / job_id / version / OUTPUT_NAME
    if not path.is_file():
        raise FileNotFoundError(f"there is no video of run {job_id} with version {version}")
    return path.read_bytes()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Makes a video with MuseTalk on this machine.")
    parser.add_argument("--face", required=True, help="a video or an image")
    parser.add_argument("--audio", required=True, help="the speech")
    parser.add_argument("--output", required=True, help="the MP4 file to write")
    parser.add_argument("--checkout", required=True, help="MuseTalk's checkout, with the weights in models/")
    parser.add_argument("--python", default=sys.executable, help="the Python that has MuseTalk's packages")
    parser.add_argument("--version", choices=VERSIONS, default="v15")
    for name in PARAMETERS:
        parser.add_argument(f"--{name}", default="")
    options = vars(parser.parse_args(argv))
    settings = Settings(checkout=Path(options["checkout"]).resolve(), python=options["python"])
    musetalk = MuseTalk(settings)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        request = parse_arguments(command_arguments(options))
        render(request, Path(options["output"]).resolve(), musetalk, settings)
    except RunError as error:
        log_line(str(error))
        return 1
    finally:
        musetalk.close()
    return 0


def command_arguments(options: dict[str, str]) -> Arguments:
    """The arguments of `run_inference` for options of the command."""
    face = Path(options["face"])
    arguments: Arguments = {"version": options["version"], "audio_bytes": Path(options["audio"])}
    arguments["image_bytes" if is_image(face) else "video_bytes"] = face
    for name in PARAMETERS:
        text = options[name]
        if re.fullmatch(r"-?\d+", text):
            arguments[name] = int(text)
        elif text:
            arguments[name] = {"true": True, "false": False}.get(text, text)
    return arguments


if __name__ == "__main__":
    sys.exit(main())
