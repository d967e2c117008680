"""A warm MuseTalk: loads the models once, then runs MuseTalk's own script for each request.

Started by `run.py` in MuseTalk's checkout, with a marker as its only argument. A request is one line of JSON on stdin,
`{"argv": [...]}`, the arguments of `scripts.inference`. What MuseTalk prints goes to stdout and stderr as it comes; lines
that start with the marker are the worker's own: `<marker> ready`, then `<marker> done` after each request, or
`<marker> error <text>`.
"""

import gc
import json
import os
import runpy
import sys
import traceback
from typing import Any, Callable

SCRIPT = "scripts.inference"


def main() -> None:
    marker = sys.argv[1]
    requests = detach_stdin()
    # As `python -m` has it: the checkout, not the folder of this file.
    sys.path[0] = os.getcwd()
    try:
        load_models()
    except Exception as error:
        traceback.print_exc()
        say(marker, f"error the models cannot be loaded: {error}")
        sys.exit(1)
    say(marker, "ready")
    for line in requests:
        say(marker, run_script(json.loads(line)["argv"]))


def detach_stdin() -> Any:
    """Moves stdin to a descriptor of its own: the ffmpeg that MuseTalk starts would read the requests."""
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return requests


def say(marker: str, text: str) -> None:
    sys.stdout.write(f"\n{marker} {' '.join(text.split())}\n")
    sys.stdout.flush()


def load_models() -> None:
    """
    Importing MuseTalk's preprocessing loads the models of pose and face detection. The others are loaded by its script,
    through `load_all_model`: what that returns is kept. The models of v15 in float16 are loaded now.
    """
    from musetalk.utils import preprocessing, utils

    utils.load_all_model = keep_last(utils.load_all_model)
    torch = preprocessing.torch
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    sys.argv = [SCRIPT, "--use_float16"]
    utils.load_all_model(
        unet_model_path="models/musetalkV15/unet.pth",
        vae_type="sd-vae",
        unet_config="models/musetalkV15/musetalk.json",
        device=device,
    )


def keep_last(load: Callable[..., Any]) -> Callable[..., Any]:
    """
    Keeps the models of the last version only: a GPU of 16 GB has no room for more. The script turns them into float16 in
    place, so its flag is part of the key.
    """
    kept: dict[str, Any] = {}

    def load_all_model(**options: Any) -> Any:
        key = json.dumps([sorted((name, str(value)) for name, value in options.items()), "--use_float16" in sys.argv])
        if key not in kept:
            kept.clear()
            free_memory()
            kept[key] = load(**options)
        return kept[key]

    return load_all_model


def run_script(argv: list[str]) -> str:
    """Runs the script as `python -m` would, and returns the rest of the worker's line."""
    sys.argv = [SCRIPT, *argv]
    try:
        runpy.run_module(SCRIPT, run_name="__main__", alter_sys=True)
    except SystemExit as exit:
        if exit.code not in (None, 0):
            return f"error the script ended with {exit.code}"
    except Exception as error:
        traceback.print_exc()
        return f"error {type(error).__name__}: {error}"
    finally:
        free_memory()
    return "done"


def free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
