"""Folders of images as people have them: what is taken, what is left out, what is changed, and that it is said."""

import io
import os
import re
import struct
import unicodedata
import warnings
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from plain_vs_residual.cli.announcements import say_what_is_trained
from plain_vs_residual.data import unreadable
from plain_vs_residual.data.datasets import load_dataset
from plain_vs_residual.data.decoding import decode, decode_image
from plain_vs_residual.data.feeds import make_feed
from plain_vs_residual.data.identity import NAMED_BEFORE, files_fingerprint, images_variant, list_parts
from plain_vs_residual.data.images import ImageFiles, Images
from plain_vs_residual.data.listing import readable
from plain_vs_residual.executors.doctor import _data
from plain_vs_residual.records.files import RESULTS, run_folders, run_name
from plain_vs_residual.records.store import read_record
from plain_vs_residual.settings import CIFAR10, DIGITS, IMAGENET, Setting

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (20, 24), dtype=np.uint8)
COLOURS = RANDOM.integers(0, 256, (20, 24, 3), dtype=np.uint8)
SIXTEEN = GREY.astype(np.uint16) * 257  # 0 is black and 65,535 white, as 0 and 255 are in 8 bits


def pixels_of(path: Path) -> Any:
    return np.asarray(decode_image(path))


def png(pixels: np.ndarray, colour_type: int) -> bytes:
    """Write a PNG of 16 bits per channel, which Pillow writes in grey alone."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*one) for one in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


def tiff_of_12_bits(values: np.ndarray) -> bytes:
    bits = "".join(format(value, "012b") for value in values.flatten().tolist())
    data = int(bits, 2).to_bytes(len(bits) // 8, "big")
    height, width = values.shape
    tags = [(256, 3, width), (257, 3, height), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    tags += [(278, 3, height), (279, 4, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


# ---- more than 8 bits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm", "a.jp2"])
@pytest.mark.parametrize("factor", [257, 256], ids=["scaled", "shifted"])
def test_grey_of_16_bits_gives_the_pixels_of_its_twin_of_8_bits(tmp_path: Path, name: str, factor: int) -> None:
    Image.fromarray(GREY).save(tmp_path / "twin.png")
    options = {"irreversible": False} if name == "a.jp2" else {}
    Image.fromarray(GREY.astype(np.uint16) * factor).save(tmp_path / name, **options)
    assert np.array_equal(pixels_of(tmp_path / name), pixels_of(tmp_path / "twin.png"))
    assert "16 bits" in decode(tmp_path / name).original.properties


def test_values_of_either_byte_order_of_12_bits_and_of_another_white(tmp_path: Path) -> None:
    (tmp_path / "big.tif").write_bytes(tiff_of_16_bits(SIXTEEN))
    (tmp_path / "12.tif").write_bytes(tiff_of_12_bits(SIXTEEN >> 4))
    twelve = (SIXTEEN >> 4).astype(">u2").tobytes()
    (tmp_path / "12.pgm").write_bytes(b"P5\n24 20\n4095\n" + twelve)
    (tmp_path / "inverted.tif").write_bytes(tiff_of_16_bits(65_535 - SIXTEEN, "<", photometric=0))
    for name in ("big.tif", "12.tif", "12.pgm", "inverted.tif"):
        assert np.array_equal(pixels_of(tmp_path / name)[..., 0], GREY), name
    assert decode(tmp_path / "12.tif").original.properties == ("12 bits",)


def tiff_of_16_bits(values: np.ndarray, order: str = ">", photometric: int = 1) -> bytes:
    data, (height, width) = values.astype(f"{order}u2").tobytes(), values.shape
    tags = [(256, width), (257, height), (258, 16), (259, 1), (262, photometric), (277, 1), (278, height)]
    entries = {tag: struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in tags}
    entries |= {tag: struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in ((273, 8), (279, len(data)))}
    directory = b"".join(entries[tag] for tag in sorted(entries)) + struct.pack(f"{order}I", 0)
    begins = b"MM\0*" if order == ">" else b"II*\0"
    count = struct.pack(f"{order}H", len(entries))
    return begins + struct.pack(f"{order}I", 8 + len(data)) + data + count + directory


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (4, 2), (6, 4)], ids=["RGB", "LA", "RGBA"])
def test_colours_of_16_bits_give_the_pixels_of_their_twin(tmp_path: Path, colour_type: int, channels: int) -> None:
    shape = (20, 24, channels)
    eight = RANDOM.integers(0, 256, shape, dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(png(eight.astype(np.uint16) * 257, colour_type))
    expected = eight[..., :3] if channels > 2 else np.repeat(eight[..., :1], 3, axis=2)
    assert np.array_equal(pixels_of(tmp_path / "a.png"), expected)
    assert "16 bits" in decode(tmp_path / "a.png").original.properties


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (GREY.astype(np.int32) * 70_000, r"its mode is I \(integers beyond 16 bits, or with a sign\)"),
        (GREY.astype(np.float32) / 255, r"its mode is F \(floating-point numbers\)"),
    ],
    ids=["I", "F"],
)
def test_what_has_no_one_meaning_in_8_bits_is_refused(tmp_path: Path, values: np.ndarray, said: str) -> None:
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=rf"unreadable image .*a\.tif: {said}, and nothing says which is white"):
        decode_image(tmp_path / "a.tif")


def test_a_folder_of_16_bits_is_trained_on_as_its_twin_and_that_is_said(
    image_folder: Path, tmp_path: Path
) -> None:
    twin, deep = (tmp_path / name for name in ("twin", "deep"))
    for path in image_folder.rglob("*.png"):
        grey = np.asarray(Image.open(path).convert("L"))
        for folder, values in ((twin, grey), (deep, grey.astype(np.uint16) * 257)):
            target = folder / path.relative_to(image_folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(target)
    loaded = load_dataset(CIFAR10, deep)
    assert loaded.fingerprint == load_dataset(CIFAR10, twin).fingerprint
    (said,) = [one for one in loaded.remarks if "16 bits" in one]
    assert said.startswith("of 16 bits, the upper 8 were taken in 33 of 33 images (33 I;16)")


def test_16_bits_that_were_meant_as_8_are_said_to_be_black(image_folder: Path) -> None:
    for path in image_folder.rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(path).convert("L")).astype(np.uint16)).save(path)
    (said,) = [one for one in load_dataset(CIFAR10, image_folder).remarks if "16 bits" in one]
    assert "of 65,535, so that nothing but black is left" in said


def test_grey_that_is_stored_times_its_transparency_is_divided_by_it_again(tmp_path: Path) -> None:
    """A TIFF says so by 1 where it says 2 of ordinary transparency, in the field with the number 338."""
    alpha = np.full((20, 24), 128, dtype=np.uint8)
    stored = (GREY * 128.0 / 255).round().astype(np.uint8)
    Image.merge("LA", (Image.fromarray(stored), Image.fromarray(alpha))).save(tmp_path / "a.tif")
    content, ordinary = (tmp_path / "a.tif").read_bytes(), struct.pack("<HHIH", 338, 3, 1, 2)
    assert content.count(ordinary) == 1
    (tmp_path / "a.tif").write_bytes(content.replace(ordinary, struct.pack("<HHIH", 338, 3, 1, 1)))
    with Image.open(tmp_path / "a.tif") as image:
        assert image.mode == "La"
    expected = np.repeat((stored * 255.0 / 128).round()[..., None], 3, axis=2)
    assert np.abs(pixels_of(tmp_path / "a.tif") - expected).max() <= 1


# ---- transparency ----------------------------------------------------------------------------------------


def transparent() -> dict[str, tuple[Image.Image, dict[str, Any]]]:
    image, palette = Image.fromarray(COLOURS), Image.fromarray(COLOURS).quantize(16)
    with_alpha = image.copy()
    with_alpha.putalpha(Image.fromarray(GREY))
    return {
        "rgba.png": (with_alpha, {}),
        "la.png": (with_alpha.convert("LA"), {}),
        "pa.tif": (with_alpha.convert("PA"), {}),
        "p.png": (palette, {"transparency": 3}),
        "p-bytes.png": (palette, {"transparency": bytes(range(16))}),
        "rgb.png": (image, {"transparency": tuple(COLOURS[0, 0].tolist())}),
        "l.png": (Image.fromarray(GREY), {"transparency": 5}),
        "rgba.webp": (with_alpha, {"lossless": True, "exact": True}),
        "p.gif": (palette, {"transparency": 2}),
    }


@pytest.mark.parametrize("name", transparent())
def test_transparency_is_dropped_as_torchvision_drops_it(tmp_path: Path, name: str) -> None:
    image, options = transparent()[name]
    image.save(tmp_path / name, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of transparency in bytes
        theirs = Image.open(tmp_path / name).convert("RGB")  # torchvision.datasets.folder.pil_loader
    assert np.array_equal(pixels_of(tmp_path / name), np.asarray(theirs))
    assert decode(tmp_path / name).original.properties[0] == "transparent"


def test_transparent_grey_and_animated_images_are_counted_with_their_kind(image_folder: Path) -> None:
    image = Image.fromarray(COLOURS)
    for number, name in enumerate(("rgba.png", "la.png", "p.png")):
        made, options = transparent()[name]
        made.save(image_folder / "train" / "bee" / f"new{number}.png", **options)
    frames = {"save_all": True, "append_images": [image.rotate(180)]}
    image.save(image_folder / "val" / "bee" / "new.gif", **frames)
    Image.fromarray(GREY).save(image_folder / "val" / "bee" / "new.jfif")
    loaded = load_dataset(CIFAR10, image_folder)
    assert list(loaded.remarks) == [
        "transparency was dropped in 3 of 38 images (1 RGBA, 1 LA, 1 P)",
        "of several pictures in a file, the first was taken in 1 of 38 images (1 P)",
        "grey was made three equal channels in 2 of 38 images (1 LA, 1 L)",
        "38 of 38 images were scaled to 32 px from 24x20 to 50x47; 38 of them were not square",
    ]
    listed = load_dataset(IMAGENET, image_folder)  # nothing is decoded
    assert list(listed.remarks) == list(loaded.remarks[:3])


def test_what_was_changed_is_said_by_doctor_and_as_training_starts(
    image_folder: Path, make_suite: Any, tiny_setting: Setting, capsys: pytest.CaptureFixture[str]
) -> None:
    made, options = transparent()["rgba.png"]
    made.save(image_folder / "train" / "bee" / "new.png", **options)
    (image_folder / "train" / "bee" / ".DS_Store").write_bytes(b"x")
    finding = _data(tiny_setting, image_folder)
    suite = make_suite("plain18", dataset=load_dataset(tiny_setting, image_folder))
    say_what_is_trained(suite.selection, suite.placed(suite.plan()), suite.ledger)
    started = capsys.readouterr().out
    for line in ("transparency was dropped in 1 of 34 images (1 RGBA)", "left out: 1 hidden (.DS_Store)"):
        assert line in finding.found
        assert started.count(f"note: {line}\n") == 1
    assert finding.fix == ""


def test_clean_images_of_the_right_size_need_no_remark(image_folder: Path) -> None:
    for path in image_folder.rglob("*.png"):
        Image.open(path).convert("RGB").resize((32, 32)).save(path)
    assert load_dataset(CIFAR10, image_folder).remarks == ()
    assert load_dataset(DIGITS, image_folder).remarks == ("33 of 33 images were scaled to 16 px from 32x32",)


# ---- what is no image ------------------------------------------------------------------------------------


def test_hidden_and_system_files_are_left_out_counted_and_said_once(image_folder: Path) -> None:
    clean = load_dataset(CIFAR10, image_folder)
    train = image_folder / "train"
    for folder in (train / ".ipynb_checkpoints", train / "bee" / ".ipynb_checkpoints", train / "__MACOSX"):
        folder.mkdir()
        (folder / "0.png").write_bytes((train / "bee" / "0.png").read_bytes())
    (train / "bee" / "._0.png").write_bytes(b"\0\5\x16\7")
    (train / "bee" / ".DS_Store").write_bytes(b"x")
    (train / ".DS_Store").write_bytes(b"x")
    (train / "ant" / "Thumbs.db").write_bytes(b"x")
    (train / "notes.txt").write_text("x")
    loaded = load_dataset(CIFAR10, image_folder)
    assert (loaded.classes, loaded.fingerprint) == (clean.classes, clean.fingerprint)
    (said,) = [one for one in loaded.remarks if one.startswith("left out")]
    assert "5 hidden (2 .DS_Store, 2 .ipynb_checkpoints, ._0.png)" in said
    assert "1 of the system (__MACOSX)" in said
    assert "1 beside the class folders (notes.txt)" in said
    assert "1 by ending (.db)" in said


@pytest.mark.parametrize(
    "ending", ["gif", "jfif", "pgm", "webp", "tif", "TIFF", "JPG", "jp2", "ppm", "bmp", "tga"]
)
def test_what_pillow_reads_is_taken(image_folder: Path, ending: str) -> None:
    for number in range(2):
        Image.fromarray(COLOURS).convert("L" if ending == "pgm" else "RGB").save(
            image_folder / "train" / "bee" / f"x{number}.{ending}"
        )
    loaded = load_dataset(CIFAR10, image_folder)
    assert loaded.training.labels.bincount().tolist() == [8, 10, 8]
    assert not [one for one in loaded.remarks if one.startswith("left out")]


def test_links_to_folders_are_followed_once_and_links_to_nothing_are_named(
    image_folder: Path, tmp_path: Path
) -> None:
    bee, elsewhere = image_folder / "train" / "bee", tmp_path / "elsewhere"
    elsewhere.mkdir()
    for number in range(3):
        Image.fromarray(COLOURS).save(elsewhere / f"far{number}.png")
    (bee / "more").symlink_to(elsewhere)
    (bee / "again").symlink_to(elsewhere)
    (bee / "circle").symlink_to(bee)
    (bee / "gone.png").symlink_to(tmp_path / "nothing.png")
    (bee / "linked.png").symlink_to(elsewhere / "far0.png")
    os.mkfifo(bee / "pipe.png")
    (bee / "folder.png").mkdir()
    (image_folder / "train" / "dog").symlink_to(elsewhere)
    (image_folder / "val" / "dog").symlink_to(elsewhere)
    loaded = load_dataset(CIFAR10, image_folder)
    assert loaded.training.labels.bincount().tolist() == [8, 8 + 3 + 1, 8, 3]
    (said,) = [one for one in loaded.remarks if one.startswith("left out")]
    assert "2 there already by another way (" in said
    assert "2 neither file nor folder (gone.png, pipe.png)" in said


def test_an_order_that_was_is_kept(image_folder: Path) -> None:
    """As Python sorts paths: by folders, then by names, of whatever case."""
    bee = image_folder / "train" / "bee"
    for name in ("sub/a.png", "sub-1.png", "Z.png", "10.png", "sub/deeper/b.png", "sub.png"):
        (bee / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(COLOURS).save(bee / name)
    listing, _ = list_parts(image_folder, "cifar10")
    listed = [image_folder / "train" / name for name in listing.names]
    assert listed == [
        path for name in ("ant", "bee", "cat") for path in sorted((bee.parent / name).rglob("*.png"))
    ]


def test_a_class_without_images_says_what_is_there_instead(image_folder: Path) -> None:
    for path in (image_folder / "train" / "cat").iterdir():
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(ValueError, match=r"train/cat holds no images; left out: 8 by ending \(8 \.heic\)"):
        load_dataset(CIFAR10, image_folder)


# ---- unreadable files ------------------------------------------------------------------------------------


def whole() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(COLOURS).save(buffer, "png")
    return buffer.getvalue()


BROKEN = {
    "a.png": (b"", "it has zero bytes"),
    "b.jpg": (b"\n<!DOCTYPE html><html>404</html>", "it is HTML"),
    "c.png": (whole()[:200], "it is cut off or damaged"),
    "d.png": (whole()[:30], "it is cut off or damaged"),
    "e.jpg": (b"version https://git-lfs.github.com/spec/v1\noid", "it is a pointer of git LFS"),
    "f.gif": (b"rate limit exceeded", "it is text"),
    "g.png": (bytes(range(128, 256)), "it is no image that Pillow reads"),
    "h.webp": (b"\x1f\x8b\x08", "it is a gzip archive"),
}


def break_some(folder: Path) -> None:
    for name, (content, _) in BROKEN.items():
        (folder / ("val/cat" if name > "d" else "train/bee") / name).write_bytes(content)


def says_all_that_is_broken(text: str) -> None:
    for name, (_, what) in BROKEN.items():
        assert name in text
        assert what in text
    assert "8 unreadable images in " in text
    for never in ("BytesIO", "Traceback", "worker", "\n"):
        assert never not in text


def test_all_unreadable_files_are_named_at_once_each_with_what_it_is(image_folder: Path) -> None:
    break_some(image_folder)
    with pytest.raises(ValueError) as raised:
        load_dataset(CIFAR10, image_folder)
    says_all_that_is_broken(str(raised.value))


def test_a_file_that_may_not_be_read_is_named(image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(ValueError, match=r"0\.png: Permission denied"):
        decode_image(image_folder / "train" / "bee" / "0.png")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_on_files_names_all_that_are_unreadable_and_no_worker(image_folder: Path, workers: int) -> None:
    setting = IMAGENET.with_changes({"image_size": 16, "batch_size": 8, "norm_batch": None})
    break_some(image_folder)
    feed: Any = make_feed(load_dataset(setting, image_folder), setting, 0, torch.device("cpu"))
    feed.num_workers = workers
    for ask in (lambda: feed.inputs(0, 9), lambda: feed.evaluation_batches("validation")):
        with pytest.raises(ValueError) as raised:
            list(ask())
        says_all_that_is_broken(str(raised.value))


def test_a_search_for_unreadable_files_ends_in_time_and_says_so(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_some(image_folder)
    files = load_dataset(IMAGENET, image_folder).training
    assert isinstance(files, ImageFiles)
    monkeypatch.setattr(unreadable, "SECONDS", -1.0)
    met = unreadable.UnreadableImage("unreadable image x: it has zero bytes")
    assert unreadable.look_for_others([files.paths], met) is met


# ---- names -----------------------------------------------------------------------------------------------


def test_names_that_are_not_utf8_are_read_and_shown_in_escapes(image_folder: Path) -> None:
    for part in ("train", "val"):
        folder = os.fsencode(image_folder / part)
        os.rename(folder + b"/cat", folder + b"/caf\xe9")
        os.rename(folder + b"/caf\xe9/0.png", folder + b"/caf\xe9/\xff.png")
    for setting in (CIFAR10, IMAGENET):
        loaded = load_dataset(setting, image_folder)
        assert loaded.classes == ("ant", "bee", "caf\\xe9")
        repr(loaded.fingerprint).encode()
        " ".join([*loaded.classes, loaded.name, *loaded.remarks]).encode()
    path = image_folder / "train" / os.fsdecode(b"caf\xe9") / os.fsdecode(b"\xff.png")
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"caf\\xe9/\\xff\.png: it has zero bytes") as raised:
        load_dataset(CIFAR10, image_folder)
    str(raised.value).encode()


def test_a_folder_whose_own_name_is_not_utf8_is_named_in_escapes(image_folder: Path) -> None:
    own = image_folder.rename(image_folder.with_name(os.fsdecode(b"bilder\xfc")))
    assert load_dataset(CIFAR10, own).name == "bilder\\xfc"


def in_form(folder: Path, form: str) -> Path:
    """Give a class and a file names with umlauts in a Unicode form."""
    for part in ("train", "val"):
        named = (folder / part / "cat").rename(folder / part / unicodedata.normalize(form, "Kätzchen"))
        (named / "1.png").rename(named / unicodedata.normalize(form, "zä.png"))
        (named / "2.png").rename(named / unicodedata.normalize(form, "zb.png"))
    return folder


def test_one_name_in_two_unicode_forms_is_one_class(image_folder: Path) -> None:
    in_form(image_folder, "NFC")
    loaded = {setting.name: load_dataset(setting, image_folder) for setting in (CIFAR10, IMAGENET)}
    before = {name: (dataset.fingerprint, dataset.variant) for name, dataset in loaded.items()}
    name = unicodedata.normalize("NFC", "Kätzchen")
    (image_folder / "val" / name).rename(image_folder / "val" / unicodedata.normalize("NFD", name))
    train = image_folder / "train" / name
    (train / unicodedata.normalize("NFC", "zä.png")).rename(train / unicodedata.normalize("NFD", "zä.png"))
    for setting in (CIFAR10, IMAGENET):
        mixed = load_dataset(setting, image_folder)
        assert mixed.classes == ("Kätzchen", "ant", "bee")
        assert (mixed.fingerprint, mixed.variant) == before[setting.name]


def test_a_class_that_is_there_in_both_forms_is_refused(image_folder: Path) -> None:
    in_form(image_folder, "NFC")
    (image_folder / "train" / unicodedata.normalize("NFD", "Kätzchen")).mkdir()
    with pytest.raises(ValueError, match="holds class Kätzchen twice, in two Unicode forms"):
        load_dataset(CIFAR10, image_folder)


@pytest.mark.parametrize(
    "name", ["plain", "with space", "ä", "日本", "a\nb", "\u202eabc", os.fsdecode(b"\xff\xfe")]
)
def test_a_readable_name_can_be_printed_and_encoded(name: str) -> None:
    shown = readable(name)
    assert shown.isprintable()
    shown.encode()
    assert (shown == name) == name.isprintable()


# ---- which images a run saw ------------------------------------------------------------------------------


def test_the_images_decide_what_a_run_is_called_and_not_their_folder(image_folder: Path, tmp_path: Path) -> None:
    before = images_variant(CIFAR10, image_folder)
    staged = image_folder.rename(tmp_path / "job.41231")
    for path in list(staged.rglob("*.png")):
        path.rename(path.with_name(f"img_{path.name}"))  # the order stays
    assert images_variant(CIFAR10, staged) == before
    assert load_dataset(CIFAR10, staged).name == "job.41231"
    path = staged / "train" / "bee" / "img_0.png"
    Image.fromarray(COLOURS).save(path)
    assert images_variant(CIFAR10, staged) != before


def test_two_folders_of_one_name_are_two_sets_of_images(image_folder: Path, tmp_path: Path) -> None:
    """Same names, same sizes in bytes, other pixels: as files without compression have them."""
    loaded = []
    for number in range(2):
        folder = tmp_path / str(number) / "images"
        for path in image_folder.rglob("*.png"):
            target = (folder / path.relative_to(image_folder)).with_suffix(".bmp")
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.open(path).rotate(180 * number).save(target)
        loaded += [
            (load_dataset(setting, folder), images_variant(setting, folder)) for setting in (CIFAR10, IMAGENET)
        ]
    (first, variant), (files, _), (second, other), (other_files, _) = loaded
    assert first.name == second.name == "images"
    assert variant != other
    assert first.fingerprint != second.fingerprint
    assert files.fingerprint != other_files.fingerprint


def test_classes_and_labels_are_part_of_what_the_images_are(image_folder: Path) -> None:
    before = images_variant(CIFAR10, image_folder)
    for part in ("train", "val"):
        (image_folder / part / "ant").rename(image_folder / part / "zebra")
    assert images_variant(CIFAR10, image_folder) != before


def test_a_folder_staged_under_another_name_finds_its_runs(
    make_suite: Any, tiny_setting: Setting, image_folder: Path, tmp_path: Path
) -> None:
    first = make_suite("plain18", dataset=load_dataset(tiny_setting, image_folder))
    (job,) = first.plan()
    again = image_folder.rename(tmp_path / "job.41231")
    second = make_suite("plain18", dataset=load_dataset(tiny_setting, again))
    (same,) = second.plan()
    assert same.folder == job.folder
    assert "job" not in job.name
    assert "images-" in job.name


def test_an_ordinary_folder_has_the_fingerprint_that_it_had(image_folder: Path) -> None:
    """Pixels, order and classes are as before hidden files, Unicode forms and 16 bits were thought of."""
    dataset = load_dataset(CIFAR10, image_folder)
    assert isinstance(dataset.training, Images)
    expected = []
    for name in ("ant", "bee", "cat"):
        for path in sorted((image_folder / "train" / name).rglob("*.png")):
            image = Image.open(path).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)
            expected.append(np.asarray(image))
    assert np.array_equal(dataset.training.pixels.numpy(), np.stack(expected))
    other = replace(dataset, remarks=("something else",), name="x")
    assert other.fingerprint == dataset.fingerprint


def test_the_class_of_each_label_is_known(image_folder: Path) -> None:
    dataset = load_dataset(IMAGENET, image_folder)
    assert isinstance(dataset.training, ImageFiles)
    for path, label in zip(dataset.training.paths, dataset.training.labels.tolist(), strict=True):
        assert path.parent.name == dataset.classes[label]


def test_reference_runs_on_other_images_keep_their_names() -> None:
    """Their images are known by a fingerprint, under which they are planned as they were recorded."""
    folders = run_folders(RESULTS / "reference" / "cifar10-short")
    assert len(folders) == 12
    for folder in folders:
        assert folder.finished
        run = read_record(folder).run
        assert run.dataset.variant in NAMED_BEFORE.values()
        assert folder.name == run_name(run.network, (run.study, run.dataset.variant), run.seed)


def test_images_of_which_runs_were_recorded_before_keep_the_name(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = files_fingerprint(list_parts(image_folder, "cifar10"))
    monkeypatch.setitem(NAMED_BEFORE, known, "my-images")
    assert images_variant(CIFAR10, image_folder) == load_dataset(CIFAR10, image_folder).variant == "my-images"


# ---- siblings that others thought of ---------------------------------------------------------------------


def remarks_on(folder: Path) -> str:
    return "\n".join(load_dataset(CIFAR10, folder).remarks)


def test_colours_of_16_bits_that_were_meant_as_8_are_said_to_be_black(image_folder: Path) -> None:
    paths = sorted(image_folder.rglob("*.png"))
    for path in paths:
        path.write_bytes(png(COLOURS.astype(np.uint16), 2))
    assert "coloured ones is 0 of 255, so that nothing but black is left" in remarks_on(image_folder)
    paths[0].write_bytes(png(COLOURS.astype(np.uint16) * 257, 2))
    assert f"; {len(paths) - 1:,} of them came out black" in remarks_on(image_folder)
    for path in paths:
        path.write_bytes(png(COLOURS.astype(np.uint16) * 16, 2))
    assert f"coloured ones is {int(COLOURS.max()) * 16 // 256} of 255" in remarks_on(image_folder)


def test_values_of_8_bits_with_a_sign_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    Image.fromarray(GREY).save(path, tiffinfo={339: 2})
    with pytest.raises(ValueError, match=r"its mode is L .with a sign., and nothing says which is white"):
        decode(path)


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp"])
def test_notes_on_turning_are_counted(image_folder: Path, ending: str) -> None:
    note = Image.Exif()
    note[0x112] = 6
    Image.fromarray(COLOURS).save(image_folder / "train" / "ant" / f"turned{ending}", exif=note)
    note[0x112] = 1
    Image.fromarray(COLOURS).save(image_folder / "train" / "ant" / f"upright{ending}", exif=note)
    assert "the note on how to turn a picture (EXIF) was not followed in 1 of" in remarks_on(image_folder)


@pytest.mark.parametrize(("mode", "ending"), [("CMYK", ".jpg"), ("YCbCr", ".tif"), ("LAB", ".tif")])
def test_other_colours_are_counted(image_folder: Path, mode: str, ending: str) -> None:
    Image.frombytes(mode, (24, 20), bytes(20 * 24 * len(Image.new(mode, (1, 1)).getbands()))).save(
        image_folder / "train" / "ant" / f"other{ending}"
    )
    assert "colours were converted to RGB without their profile in 1 of" in remarks_on(image_folder)


def test_pictures_of_cameras_with_two_lenses_are_taken(image_folder: Path) -> None:
    before = len(load_dataset(CIFAR10, image_folder).training)
    Image.fromarray(COLOURS).save(
        image_folder / "train" / "ant" / "two.mpo", save_all=True, append_images=[Image.fromarray(COLOURS)]
    )
    assert len(load_dataset(CIFAR10, image_folder).training) == before + 1


@pytest.mark.parametrize("name", ["@Recycle", "__pycache__", "$Recycle.Bin", "__MacOSX", "#snapshot"])
def test_folders_that_programs_add_are_no_classes(image_folder: Path, name: str) -> None:
    classes = load_dataset(CIFAR10, image_folder).classes
    for part in ("train", "val"):
        (image_folder / part / name).mkdir()
        Image.fromarray(COLOURS).save(image_folder / part / name / "x.png")
    assert load_dataset(CIFAR10, image_folder).classes == classes
    assert f"2 of the system (2 {name})" in remarks_on(image_folder)


def test_a_class_that_is_a_link_to_nothing_is_named(image_folder: Path) -> None:
    (image_folder / "train" / "gone").symlink_to("/no/such/folder")
    assert "1 links to nothing in place of classes (gone)" in remarks_on(image_folder)


def test_copies_that_change_what_an_error_means_are_counted(image_folder: Path) -> None:
    assert "copies" not in remarks_on(image_folder)
    number = len(load_dataset(CIFAR10, image_folder).validation)
    (first, *_), (other, *_) = (sorted((image_folder / "train" / name).iterdir()) for name in ("ant", "bee"))
    (image_folder / "val" / "ant" / "known.png").write_bytes(first.read_bytes())
    assert f"1 of {number + 1} validation images are training images as well" in remarks_on(image_folder)
    os.link(first, image_folder / "train" / "ant" / "again.png")
    assert "1 are there once more in the same part" in remarks_on(image_folder)
    (image_folder / "val" / "ant" / "known.png").unlink()
    (image_folder / "train" / "ant" / "again.png").unlink()
    (image_folder / "train" / "ant" / "again.png").write_bytes(other.read_bytes())
    assert "2 of 34 are in several classes" in remarks_on(image_folder)


def test_a_link_from_validation_to_training_images_is_said(image_folder: Path) -> None:
    (image_folder / "val").rename(image_folder / "aside")
    (image_folder / "val").symlink_to("train")
    number = len(load_dataset(CIFAR10, image_folder).training)
    assert f"{number} of {number} validation images are training images as well" in remarks_on(image_folder)
    assert "the same folder, by a link" in "".join(load_dataset(IMAGENET, image_folder).remarks)


def test_which_of_two_folders_is_validated_on_is_said(image_folder: Path) -> None:
    assert "not looked at" not in remarks_on(image_folder)
    (image_folder / "test").mkdir()
    assert "validation images are those in val/; those in test/ are not looked at" in remarks_on(image_folder)


def test_what_is_there_in_place_of_the_two_parts_is_named(image_folder: Path, tmp_path: Path) -> None:
    upper, empty = tmp_path / "upper", tmp_path / "empty"
    for name in ("Train", "Val"):
        (upper / name).mkdir(parents=True)
    empty.mkdir()
    five, six = tmp_path / "five", tmp_path / "six"
    for number, folder in ((5, five), (6, six)):
        for name in "abcdef"[:number]:
            (folder / name).mkdir(parents=True)
    (tmp_path / "images.zip").write_bytes(b"PK\3\4")
    outer = tmp_path / "outer"
    outer.mkdir()
    image_folder.rename(outer / "inner")
    for folder, said in {
        upper: "it holds Train, Val",
        six: "it holds a, b, c, d, e, ...",
        empty: "it is empty",
        outer: f"they seem to be in {outer / 'inner'}: --data {outer / 'inner'}",
        tmp_path / "images.zip": "no folder; if it is an archive, unpack it first",
        Path("https://example.org/images"): "an address; download and unpack",
    }.items():
        with pytest.raises(ValueError, match=re.escape(said)):
            load_dataset(DIGITS, folder)
    with pytest.raises(ValueError, match=r"it holds a, b, c, d, e$"):
        load_dataset(DIGITS, five)
