#!/usr/bin/env bash
# Pillow 12.3.0: a grey PNG of 16 bits becomes nearly white by convert("RGB"), a coloured one of 16 bits does
# not.
#
# Expected: both are scaled to 8 bits, as `convert("L")` of a coloured image is.
# Seen: grey values are clipped at 255 (257 * v, the 16-bit twin of v, is white for every v but 0), colours have
# lost their low byte when the file is opened. A data set whose grey images were stored with 16 bits trains on
# white squares, without a warning.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pillow==12.3.0 numpy==2.3.5 pypng==0.20220715.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import numpy as np
import PIL
import png
from PIL import Image

values = np.array([[0, 1, 100, 200, 255]], dtype=np.uint16)
wide = values * 257  # the same shades in 16 bits
png.from_array(wide, "L;16").save("grey.png")
png.from_array(np.repeat(wide, 3, axis=1), "RGB;16").save("colour.png")
grey, colour = Image.open("grey.png"), Image.open("colour.png")
images = {"grey": grey, "colour": colour}
shown = {name: np.asarray(image.convert("RGB"))[0, :, 0].tolist() for name, image in images.items()}
print(f"Pillow {PIL.__version__}: grey has mode {grey.mode}, colour {colour.mode}; as RGB: {shown}")
assert shown["grey"] == [0, 255, 255, 255, 255], "grey images of 16 bits are no longer clipped"
assert shown["colour"] == [0, 1, 100, 200, 255], "coloured images of 16 bits are no longer scaled"
PYTHON
