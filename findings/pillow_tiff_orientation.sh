#!/usr/bin/env bash
# Pillow 13.0.0: a TIFF is turned as its orientation tag says when it is read, a JPEG or PNG with the same tag is not.
#
# Expected: one rule for all formats. Pillow's documentation leaves turning to ImageOps.exif_transpose, which data sets
# that want it call, and torchvision's ImageFolder does not.
# Seen: the TIFF comes back with its sides exchanged, the others as they are stored, so that a folder whose pictures
# were converted from one format to the other is another data set.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pillow==13.0.0
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys
from pathlib import Path

import PIL
from PIL import Image

folder = Path(sys.argv[1])
picture = Image.new("RGB", (12, 8))
exif = Image.Exif()
exif[274] = 6  # to be turned by a quarter
sizes = {}
for ending in ("jpg", "png", "tif"):
    path = folder / f"picture.{ending}"
    picture.save(path, exif=exif)
    with Image.open(path) as read:
        read.load()
        sizes[ending] = read.size
print(f"Pillow {PIL.__version__}: stored as {picture.size}, read as {sizes}")
assert sizes == {"jpg": (12, 8), "png": (12, 8), "tif": (8, 12)}, "one rule for all formats now"
PYTHON
