"""
Runs one call of a function of modal_app/app.py, as a new container would: `python call.py FUNCTION RESULT CHECKOUT`, with the
keyword arguments as JSON on stdin. `{"base64": text}` stands for bytes, on the way in and out. RESULT is the file for
`{"value": ...}` or `{"type": ..., "message": ...}` of an exception; what the function prints goes to stdout and stderr.
Without arguments it prints the schemas of all functions, as Modal keeps them: `{"run_inference": [{"name": ..., ...}]}`.
"""

import base64
import dataclasses
import inspect
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


def functions() -> dict[str, Any]:
    """What is deployed, by the names under which Modal knows it; methods of a class of which there is one instance."""
    found: dict[str, Any] = {name: function.raw for name, function in app.app.functions.items()}
    for class_name, (declared, _) in app.app.classes.items():
        instance = declared()
        for name, member in vars(declared).items():
            if getattr(member, "modal", None) == "method":
                found[f"{class_name}.{name}"] = getattr(instance, name)
    return found


def schema(function: Any) -> list[dict[str, Any]]:
    parameters = inspect.signature(function).parameters.values()
    return [{"name": one.name, "hasDefault": one.default is not one.empty} for one in parameters]


def run_hooks(class_name: str, when: str) -> None:
    for member in vars(app.app.classes[class_name][0]).values():
        if getattr(member, "modal", None) == when:
            member(None)


def run(name: str, kwargs: dict[str, Any]) -> Any:
    class_name, _, method = name.rpartition(".")
    if class_name:
        run_hooks(class_name, "enter")
    try:
        return functions()[name](**kwargs)
    finally:
        if class_name:
            run_hooks(class_name, "exit")


def main() -> None:
    if len(sys.argv) == 1:
        print(json.dumps({name: schema(function) for name, function in functions().items()}))
        return
    name, result, checkout = sys.argv[1:]
    with tempfile.TemporaryDirectory() as mount:
        app.volume.mount = Path(mount)
        app.SETTINGS = dataclasses.replace(app.SETTINGS, checkout=Path(checkout), results=Path(mount, "results"))
        app.musetalk = app.Process(app.SETTINGS)
        kwargs = {key: decode(value) for key, value in json.load(sys.stdin).items()}
        try:
            outcome: dict[str, Any] = {"value": encode(run(name, kwargs))}
        except Exception as error:
            outcome = {"type": type(error).__name__, "message": str(error)}
        finally:
            app.musetalk.close()
        Path(result).write_text(json.dumps(outcome))


if __name__ == "__main__":
    main()
