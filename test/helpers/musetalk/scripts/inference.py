"""
Stands in for MuseTalk's `scripts.inference`: the options, lines, bars and files of the real one, and a real video, made by
ffmpeg. `plan.json` in the checkout says how it is to fail; `runs.jsonl` records what reached it.
"""

import argparse
import json
import os
import subprocess
import sys
import wave
from pathlib import Path

import torch
from musetalk.utils.utils import load_all_model


def bars(count: int) -> None:
    """As tqdm draws them, on stderr, each over the one before."""
    for done in range(count + 1):
        percent = done * 100 // count
        sys.stderr.write(f"\r{percent:3}%|{'#' * (percent // 10):10}| {done}/{count} [00:00<00:00, 90.00it/s]")
        sys.stderr.flush()
    sys.stderr.write("\n")


def main(args: argparse.Namespace) -> None:
    load_all_model(
        unet_model_path=args.unet_model_path,
        vae_type=args.vae_type,
        unet_config=args.unet_config,
        device=torch.device("cuda:0" if torch.cuda.is_available() else "cpu"),
    )
    plan = json.loads(Path("plan.json").read_text()) if Path("plan.json").exists() else {}
    config = json.loads(Path(args.inference_config).read_text())
    print("Loaded inference config:", config)
    with open("runs.jsonl", "a") as runs:
        runs.write(json.dumps({"args": vars(args), "config": config, "environment": dict(os.environ)}) + "\n")
    for task in config.values():
        try:
            make(args, task, plan)
        except Exception as error:
            print("Error occurred during processing:", error)


def make(args: argparse.Namespace, task: dict, plan: dict) -> None:
    if plan.get("exit") is not None:
        os._exit(plan["exit"])
    if plan.get("hang"):
        # A reader of the pipe sees its end once this process and its child are gone.
        pipe = os.open("alive", os.O_WRONLY)
        print("it hangs")
        subprocess.run(["sleep", "600"], pass_fds=[pipe])
    if plan.get("raise_outside"):
        raise SystemExit(plan["raise_outside"])
    face, speech = task["video_path"], task["audio_path"]
    folder = Path(args.result_dir) / args.version
    folder.mkdir(parents=True)
    print("Extracting landmarks... time-consuming operation")
    print("reading images...")
    bars(4)
    print("get key_landmark and face bounding boxes with the default value")
    if plan.get("faceless"):
        raise ZeroDivisionError("division by zero")
    bars(20)
    if plan.get("error"):
        raise RuntimeError(plan["error"])
    print("Number of frames: 4")
    print("Starting inference")
    bars(args.batch_size)
    print("Padding generated images to original video size")
    bars(10)
    print("Video generation command: ffmpeg ...")
    output = folder / task["result_name"]
    # Without `-nostdin`, as MuseTalk does: it would read what is meant for the process that runs the script.
    command = ["ffmpeg", "-y", "-v", "error"]
    is_still = face.endswith(".png")
    command += ["-loop", "1", "-framerate", str(args.fps)] if is_still else ["-stream_loop", "-1"]
    command += ["-i", face, "-i", speech, "-map", "0:v", "-map", "1:a", "-pix_fmt", "yuv420p"]
    with wave.open(speech) as sound:
        seconds = sound.getnframes() / sound.getframerate()
    command += ["-t", str(plan.get("seconds", seconds))]
    if plan.get("silent"):
        command += ["-an"]
    if not plan.get("no_output"):
        subprocess.run([*command, str(output)], check=True)
    if is_still:
        # The real script fails here, with this error, after it has made the video of a still.
        raise UnboundLocalError("local variable 'save_dir_full' referenced before assignment")
    print(f"Results saved to {output}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name, default in {
        "vae_type": "sd-vae",
        "unet_config": "./models/musetalk/config.json",
        "unet_model_path": "./models/musetalkV15/unet.pth",
        "whisper_dir": "./models/whisper",
        "inference_config": "configs/inference/test_img.yaml",
        "result_dir": "./results",
        "parsing_mode": "jaw",
    }.items():
        parser.add_argument(f"--{name}", default=default)
    for name, number in {
        "bbox_shift": 0,
        "extra_margin": 10,
        "fps": 25,
        "batch_size": 8,
        "left_cheek_width": 90,
        "right_cheek_width": 90,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--use_float16", action="store_true")
    parser.add_argument("--version", default="v15", choices=["v1", "v15"])
    main(parser.parse_args())
