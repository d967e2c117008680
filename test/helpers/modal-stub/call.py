"""
Runs one call of a function of modal_app/app.py, as a new container would: `python call.py FUNCTION RESULT CHECKOUT`, with the
keyword arguments as JSON on stdin. `{"base64": text}` stands for bytes, on the way in and out. RESULT is the file for
`{"value": ...}` or `{"type": ..., "message": ...}` of an exception; what the function prints goes to stdout and stderr.
"""

import base64
import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[2] / "modal_app")]
sys.dont_write_bytecode = True

import app  # noqa: E402


def decode(value: Any) -> Any:
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else value


def encode(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def main() -> None:
    name, result, checkout = sys.argv[1:]
    with tempfile.TemporaryDirectory() as mount:
        app.volume.mount = Path(mount)
        app.SETTINGS = dataclasses.replace(app.SETTINGS, checkout=Path(checkout), results=Path(mount, "results"))
        app.musetalk = app.Process(app.SETTINGS)
        kwargs = {key: decode(value) for key, value in json.load(sys.stdin).items()}
        try:
            outcome: dict[str, Any] = {"value": encode(app.app.functions[name].local(**kwargs))}
        except Exception as error:
            outcome = {"type": type(error).__name__, "message": str(error)}
        finally:
            app.musetalk.close()
        Path(result).write_text(json.dumps(outcome))


if __name__ == "__main__":
    main()
