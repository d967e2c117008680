"""Downloads MuseTalk's weights into its checkout, about 5 GB: `python weights.py /opt/MuseTalk`.

Needs the packages `huggingface_hub` and `torch`, which MuseTalk has. `download_weights.sh` of MuseTalk is no substitute: it
uses a mirror and Google Drive, which often refuse, and forgets the face detector.
"""

import sys
from pathlib import Path

import torch
from huggingface_hub import snapshot_download

REPOSITORIES = (
    ("TMElyralab/MuseTalk", ".", ["musetalk/*", "musetalkV15/*"]),
    ("stabilityai/sd-vae-ft-mse", "sd-vae", ["config.json", "diffusion_pytorch_model.bin"]),
    ("openai/whisper-tiny", "whisper", ["config.json", "pytorch_model.bin", "preprocessor_config.json"]),
    ("yzd-v/DWPose", "dwpose", ["dw-ll_ucoco_384.pth"]),
    ("vivym/face-parsing-bisenet", "face-parse-bisent", ["79999_iter.pth"]),
)
# The last word of such a name is the beginning of the file's SHA-256, which is checked.
FILES = (
    ("https://download.pytorch.org/models/resnet18-5c106cde.pth", "models/face-parse-bisent/resnet18-5c106cde.pth"),
    (
        "https://www.adrianbulat.com/downloads/python-fan/s3fd-619a316812.pth",
        "musetalk/utils/face_detection/detection/sfd/s3fd.pth",
    ),
)


def main() -> None:
    checkout = Path(sys.argv[1])
    for repository, folder, files in REPOSITORIES:
        snapshot_download(repository, local_dir=checkout / "models" / folder, allow_patterns=files)
    for url, path in FILES:
        prefix = url.removesuffix(".pth").rpartition("-")[2]
        torch.hub.download_url_to_file(url, str(checkout / path), hash_prefix=prefix)


if __name__ == "__main__":
    main()
