"""
Stands in for the `modal` package of Python, as far as modal_app/app.py uses it: records what is declared, refuses options
that the real one (1.5) does not have, and runs functions in this process. A Volume shows what was committed elsewhere only
after a reload, and shows others only what was committed, like the real one.
"""

import os
import shutil
from pathlib import Path
from typing import Any, Callable

FUNCTION_OPTIONS = set(
    "image schedule env secrets gpu serialized volumes cpu memory ephemeral_disk min_containers max_containers "
    "buffer_containers scaledown_window proxy retries timeout startup_timeout name is_generator cloud region routing_region "
    "nonpreemptible enable_memory_snapshot block_network restrict_modal_access single_use_containers i6pn include_source "
    "experimental_options".split()
)
CLASS_OPTIONS = FUNCTION_OPTIONS - {"schedule", "name", "is_generator"}


def check_options(options: dict[str, Any], known: set[str]) -> None:
    unknown = set(options) - known
    if unknown:
        raise TypeError(f"unexpected keyword arguments: {sorted(unknown)}")


class Image:
    """Records the steps of its build, each with its arguments."""

    def __init__(self, steps: tuple[Any, ...] = ()) -> None:
        self.steps = steps

    @staticmethod
    def debian_slim(python_version: str) -> "Image":
        return Image((("debian_slim", python_version),))

    def _add(self, *step: Any) -> "Image":
        name = step[0]
        files = [one for one in self.steps if one[0].startswith("add_local") and not one[-1]]
        if files and not name.startswith("add_local"):
            raise RuntimeError("no step can follow files that are added when a container starts (copy=False)")
        return Image((*self.steps, step))

    def apt_install(self, *packages: str) -> "Image":
        return self._add("apt_install", packages)

    def pip_install(self, *packages: str, index_url: str | None = None) -> "Image":
        return self._add("pip_install", packages, index_url)

    def run_commands(self, *commands: str) -> "Image":
        return self._add("run_commands", commands)

    def add_local_python_source(self, *modules: str, copy: bool = False) -> "Image":
        return self._add("add_local_python_source", modules, copy)

    def add_local_file(self, local_path: Any, remote_path: str, *, copy: bool = False) -> "Image":
        return self._add("add_local_file", Path(local_path), remote_path, copy)


class Function:
    def __init__(self, raw: Callable[..., Any], options: dict[str, Any]) -> None:
        self.raw, self.options = raw, options

    def remote(self, **kwargs: Any) -> Any:
        return self.raw(**kwargs)


class App:
    def __init__(self, name: str) -> None:
        self.name = name
        self.functions: dict[str, Function] = {}
        self.classes: dict[str, tuple[type, dict[str, Any]]] = {}
        self.entrypoints: list[str] = []

    def function(self, **options: Any) -> Callable[[Callable[..., Any]], Function]:
        check_options(options, FUNCTION_OPTIONS)

        def declare(raw: Callable[..., Any]) -> Function:
            self.functions[raw.__name__] = Function(raw, options)
            return self.functions[raw.__name__]

        return declare

    def cls(self, **options: Any) -> Callable[[type], type]:
        check_options(options, CLASS_OPTIONS)

        def declare(declared: type) -> type:
            self.classes[declared.__name__] = (declared, options)
            return declared

        return declare

    def local_entrypoint(self) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def declare(raw: Callable[..., Any]) -> Callable[..., Any]:
            self.entrypoints.append(raw.__name__)
            return raw

        return declare


def _mark(name: str) -> Callable[[], Callable[[Any], Any]]:
    def decorator() -> Callable[[Any], Any]:
        def mark(raw: Any) -> Any:
            raw.modal = name
            return raw

        return mark

    return decorator


enter, exit, method = _mark("enter"), _mark("exit"), _mark("method")


class Volume:
    """`MODAL_STUB_VOLUME`: a folder that stands for the Volume itself; `mount`: where this container sees it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.mount: Path | None = None

    @staticmethod
    def from_name(name: str, *, create_if_missing: bool = False, version: int | None = None) -> "Volume":
        assert create_if_missing and version in (1, 2, None)
        return Volume(name)

    def commit(self) -> None:
        shutil.copytree(self._mounted(), os.environ["MODAL_STUB_VOLUME"], dirs_exist_ok=True)

    def reload(self) -> None:
        shutil.copytree(os.environ["MODAL_STUB_VOLUME"], self._mounted(), dirs_exist_ok=True)

    def _mounted(self) -> Path:
        assert self.mount is not None, "the Volume is not mounted"
        return self.mount


class Secret:
    def __init__(self, name: str) -> None:
        self.name = name

    @staticmethod
    def from_name(name: str) -> "Secret":
        return Secret(name)


class CloudBucketMount:
    def __init__(
        self,
        bucket_name: str,
        bucket_endpoint_url: str | None = None,
        key_prefix: str | None = None,
        secret: Secret | None = None,
    ) -> None:
        self.bucket_name, self.bucket_endpoint_url = bucket_name, bucket_endpoint_url
        self.key_prefix, self.secret = key_prefix, secret
