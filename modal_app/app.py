"""The Modal app of the orchestrator: `modal deploy modal_app/app.py`. See README.md beside it, and docs/function.md."""

from pathlib import Path
from typing import Any

import modal

import run
from contract import Settings
from process import MuseTalk as Process

# --- What you may want to change. Prices are of https://modal.com/pricing, in USD; check them there. -----------------

# T4 0.59 an hour, L4 0.80, A10 1.10, L40S 1.95, A100-40GB 2.10, H100 3.95. Much of a run is work of one CPU core, which a
# larger GPU does not speed up.
GPU = "L4"
# Cores, at about 0.05 an hour each. One does most of the work; ffmpeg uses the others.
CPU = 4.0
# MiB: what is reserved (0.008 an hour for each GiB), and where a container ends. MuseTalk holds every frame of the face in
# memory, 9 GiB for a minute of 1080p; a run that would need more is refused.
MEMORY_MIB = (16 * 1024, 40 * 1024)
MODELS_MIB = 10 * 1024
# Seconds that one run may take; beyond it Modal ends the run, and its job is `timed_out`.
TIMEOUT_SECONDS = 3600
# The most containers, hence GPUs, at a time, for each of the two functions that run MuseTalk. Other calls wait in Modal's
# queue, which costs nothing. The smallest plan allows 10 GPUs.
MAX_CONTAINERS = 5
# How long a container waits for the next call. You pay for it while it waits; the next call starts without loading models.
SCALEDOWN_SECONDS = 120
# None: wherever there is a GPU. A region ("eu", "us-east") costs 1.25 to 2.5 times as much. It moves the containers only:
# no function may have a `routing_region`, as the server could not call it.
REGION: str | None = None
# None: results are kept in a Volume, and the server fetches them by calling `download_result`. The name of a bucket: they
# are kept there, and the server reads them by itself (OUTPUT_SOURCE=s3). The Secret has its AWS_ACCESS_KEY_ID and
# AWS_SECRET_ACCESS_KEY. The endpoint is None for AWS.
BUCKET: str | None = None
BUCKET_ENDPOINT: str | None = None
BUCKET_SECRET = "musetalk-bucket"

# ---------------------------------------------------------------------------------------------------------------------

APP = "musetalk-poc"
SHARED = "/shared"
# This commit is what run.py and worker.py were written for.
MUSETALK = "https://github.com/TMElyralab/MuseTalk"
MUSETALK_COMMIT = "0a89dec45a0192b824e3cf4daf96c239440c5ed8"

SETTINGS = Settings(
    checkout=Path("/opt/MuseTalk"),
    results=Path(SHARED, "results"),
    max_frames_bytes=(MEMORY_MIB[1] - MODELS_MIB) * 1024**2,
)


HERE = Path(__file__).parent
SOURCES = ("run", "contract", "inputs", "media", "process", "worker")

small_image = (
    modal.Image.debian_slim(python_version="3.10")
    # Modal's client for JavaScript sends arguments as CBOR.
    .pip_install("cbor2")
    .add_local_python_source(*SOURCES)
)

image = (
    modal.Image.debian_slim(python_version="3.10")
    .apt_install("ffmpeg", "git", "libgl1", "libglib2.0-0")
    .run_commands(
        f"git clone --filter=blob:none {MUSETALK} {SETTINGS.checkout}",
        f"git -C {SETTINGS.checkout} checkout --quiet {MUSETALK_COMMIT}",
    )
    .pip_install(
        "torch==2.0.1",
        "torchvision==0.15.2",
        "torchaudio==2.0.2",
        index_url="https://download.pytorch.org/whl/cu118",
    )
    # Of MuseTalk's requirements those that inference imports.
    .pip_install(
        "accelerate==0.28.0",
        "diffusers==0.30.2",
        "einops==0.8.1",
        "huggingface_hub==0.30.2",
        "librosa==0.11.0",
        "numpy==1.23.5",
        "omegaconf==2.3.0",
        "opencv-python==4.9.0.80",
        "soundfile==0.12.1",
        "transformers==4.39.2",
    )
    # `mim` needs the `pkg_resources` of an older setuptools, and mmpose a package whose build needs pip itself.
    .pip_install("setuptools<81", "wheel", "openmim")
    .run_commands(
        "pip install --no-build-isolation chumpy",
        'mim install mmengine "mmcv==2.0.1" "mmdet==3.1.0" "mmpose==1.1.0"',
    )
    .pip_install("cbor2", "numpy==1.23.5")
    # The weights are a layer of the image: about 5 GB, once.
    .add_local_file(HERE / "weights.py", "/root/weights.py", copy=True)
    .run_commands(f"python /root/weights.py {SETTINGS.checkout}")
    .add_local_python_source(*SOURCES)
)

app = modal.App(APP)

volume = None if BUCKET else modal.Volume.from_name("musetalk-results", create_if_missing=True, version=2)
storage = (
    modal.CloudBucketMount(
        bucket_name=BUCKET, bucket_endpoint_url=BUCKET_ENDPOINT, secret=modal.Secret.from_name(BUCKET_SECRET)
    )
    if BUCKET
    else volume
)


def commit() -> None:
    """Makes what was written visible to other containers. A bucket needs no such step."""
    if volume is not None:
        volume.commit()


ON_GPU: dict[str, Any] = {
    "image": image,
    "gpu": GPU,
    "cpu": CPU,
    "memory": MEMORY_MIB,
    "timeout": TIMEOUT_SECONDS,
    "startup_timeout": 600,
    "max_containers": MAX_CONTAINERS,
    "scaledown_window": SCALEDOWN_SECONDS,
    "region": REGION,
    # The server repeats a run that was interrupted. A repetition by Modal would come on top of it.
    "retries": 0,
    "volumes": {SHARED: storage},
}

# One for each container: the warm MuseTalk.
musetalk = Process(SETTINGS)


@app.function(**ON_GPU)
def run_inference(
    *,
    video_path: str | None = None,
    audio_path: str | None = None,
    video_url: str | None = None,
    image_url: str | None = None,
    audio_url: str | None = None,
    version: str = "v15",
    use_float16: bool = True,
    video_bytes: bytes | None = None,
    image_bytes: bytes | None = None,
    audio_bytes: bytes | None = None,
    bbox_shift: int | None = None,
    extra_margin: int | None = None,
    parsing_mode: str | None = None,
    left_cheek_width: int | None = None,
    right_cheek_width: int | None = None,
    batch_size: int | None = None,
    fps: int | None = None,
) -> dict:
    """Makes one video. The first call of a container loads the models, the others find them loaded."""
    return run.run_inference(dict(locals()), musetalk, SETTINGS, commit)


@app.cls(**ON_GPU)
class MuseTalk:
    """
    The same as a class, `MODAL_FUNCTION=MuseTalk.run_inference`: a container loads the models before it takes a call, so
    that containers kept warm (`min_containers`) are ready.
    """

    @modal.enter()
    def load_models(self) -> None:
        musetalk.start()

    @modal.exit()
    def end(self) -> None:
        musetalk.close()

    @modal.method()
    def run_inference(
        self,
        *,
        video_path: str | None = None,
        audio_path: str | None = None,
        video_url: str | None = None,
        image_url: str | None = None,
        audio_url: str | None = None,
        version: str = "v15",
        use_float16: bool = True,
        video_bytes: bytes | None = None,
        image_bytes: bytes | None = None,
        audio_bytes: bytes | None = None,
        bbox_shift: int | None = None,
        extra_margin: int | None = None,
        parsing_mode: str | None = None,
        left_cheek_width: int | None = None,
        right_cheek_width: int | None = None,
        batch_size: int | None = None,
        fps: int | None = None,
    ) -> dict:
        arguments = {name: value for name, value in locals().items() if name != "self"}
        return run.run_inference(arguments, musetalk, SETTINGS, commit)


@app.function(image=small_image, cpu=0.25, memory=1024, timeout=300, retries=0, volumes={SHARED: storage})
def download_result(job_id: str, version: str = "v15") -> bytes:
    """The video of a run, by the id that the run returned."""
    if volume is not None:
        # A container that has served before does not see newer files.
        volume.reload()
    return run.read_result(job_id, version, SETTINGS)


@app.local_entrypoint()
def main(video: str = "", audio: str = "", output: str = "video.mp4") -> None:
    """`modal run modal_app/app.py`: makes one video of two files of this machine, or of two of MuseTalk's, and fetches it."""
    face = {"video_bytes": Path(video).read_bytes()} if video else {"video_path": "data/video/yongen.mp4"}
    speech = {"audio_bytes": Path(audio).read_bytes()} if audio else {"audio_path": "data/audio/yongen.wav"}
    made = run_inference.remote(**face, **speech)
    if made["status"] != "succeeded":
        raise SystemExit(f"failed: {made['error']}")
    Path(output).write_bytes(download_result.remote(job_id=made["job_id"]))
    print(f"{made['output_path']} is now {output}")
