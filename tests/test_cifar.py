"""CIFAR-10 and CIFAR-100 as published: found wherever they lie, checked, and never downloaded unasked."""

import gzip
import hashlib
import io
import pickle
import tarfile
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from plain_vs_residual.data.cifar import cifar
from plain_vs_residual.data.cifar_files import CIFAR_FILES
from plain_vs_residual.data.datasets import load_dataset, loader_of
from plain_vs_residual.data.identity import images_variant
from plain_vs_residual.data.images import Dataset, Images
from plain_vs_residual.data.torchvision_import import torchvision
from plain_vs_residual.recipe import IMAGE_KINDS
from plain_vs_residual.settings import CIFAR10, CIFAR100, CIFAR100_COARSE, DIGITS, SETTINGS

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (6, 2, 3072), dtype=np.uint8)  # of six files with two images each
CONTENTS_10 = {
    **{f"data_batch_{n}": {"data": PIXELS[n - 1], "labels": [n - 1, n]} for n in range(1, 6)},
    "test_batch": {"data": PIXELS[5], "labels": [8, 9]},
    "batches.meta": {"label_names": ["not", "needed"]},
}
CONTENTS_100 = {
    "train": {"data": PIXELS[0], "fine_labels": [0, 99], "coarse_labels": [4, 13]},
    "test": {"data": PIXELS[1], "fine_labels": [7, 8], "coarse_labels": [19, 0]},
    "meta": {
        "fine_label_names": [f"fine {n}" for n in range(100)],
        "coarse_label_names": [f"coarse {n}" for n in range(20)],
    },
}


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def archive_of(files: dict[str, bytes], folder: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


class Small:
    """A data set in the authors' form with two images per file, which torchvision's sums are made to fit."""

    def __init__(self, known: Any, contents: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self.files = {name: pickle.dumps(content) for name, content in contents.items()}
        self.archive = archive_of(self.files, known.base_folder)
        for names in ("train_list", "test_list"):
            sums = [[name, md5(self.files[name])] for name, _ in getattr(known, names)]
            monkeypatch.setattr(known, names, sums)
        meta = {**known.meta, "md5": md5(self.files[known.meta["filename"]])}
        monkeypatch.setattr(known, "meta", meta)
        monkeypatch.setattr(known, "tgz_md5", md5(self.archive))

    def unpacked(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return folder

    def packed(self, file: Path) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self.archive)
        return file


@pytest.fixture
def ten(monkeypatch: pytest.MonkeyPatch) -> Small:
    """Return a small CIFAR-10; whoever downloads fails."""

    def asked(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("a download was not asked for")

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", asked)
    return Small(torchvision.datasets.CIFAR10, CONTENTS_10, monkeypatch)


@pytest.fixture
def hundred(ten: Small, monkeypatch: pytest.MonkeyPatch) -> Small:
    return Small(torchvision.datasets.CIFAR100, CONTENTS_100, monkeypatch)


def pixels_and_labels(dataset: Dataset) -> list[Any]:
    parts = (dataset.training, dataset.validation)
    assert all(isinstance(part, Images) for part in parts)
    return [(part.pixels.numpy(), part.labels.tolist()) for part in parts if isinstance(part, Images)]


def is_the_small_cifar10(dataset: Dataset) -> None:
    (training, labels), (test, test_labels) = pixels_and_labels(dataset)
    assert (training.shape, test.shape) == ((10, 32, 32, 3), (2, 32, 32, 3))
    assert (labels, test_labels) == ([0, 1, 1, 2, 2, 3, 3, 4, 4, 5], [8, 9])
    # The authors store the red rows first, then the green, then the blue.
    assert training[3, 31, 7].tolist() == [PIXELS[1, 1, colour * 1024 + 31 * 32 + 7] for colour in range(3)]
    assert dataset.classes[0] == "airplane"
    assert (dataset.name, dataset.variant, dataset.validation_name) == ("CIFAR-10", "", "test")


def test_torchvision_and_the_table_name_the_same_files() -> None:
    for kind, known in (("cifar10", torchvision.datasets.CIFAR10), ("cifar100", torchvision.datasets.CIFAR100)):
        files = CIFAR_FILES[kind]
        listed = [name for name, _ in (*known.train_list, *known.test_list)]
        assert files.files == (*listed, known.meta["filename"])
        assert (files.folder, files.archive) == (known.base_folder, known.filename)
        assert files.setting in SETTINGS


@pytest.mark.parametrize(
    "where",
    ["cifar-10-batches-py", "cifar-10-python/cifar-10-batches-py", "renamed", "a/b/c", ""],
    ids=["named", "nested", "renamed", "deep", "itself"],
)
def test_batches_are_found_in_any_folder(ten: Small, tmp_path: Path, where: str) -> None:
    data = tmp_path / "data"
    ten.unpacked(data / where)
    assert images_variant(CIFAR10, data) == ""
    is_the_small_cifar10(load_dataset(CIFAR10, data))


def test_a_dot_inside_the_folder_means_the_folder(
    ten: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ten.unpacked(tmp_path / "cifar-10-batches-py"))
    is_the_small_cifar10(load_dataset(CIFAR10, Path(".")))
    is_the_small_cifar10(load_dataset(CIFAR10, Path("..")))
    is_the_small_cifar10(load_dataset(CIFAR10, Path("data_batch_1")))


def test_an_unzipped_archive_and_one_beside_half_unpacked_batches_are_read(ten: Small, tmp_path: Path) -> None:
    (tmp_path / "cifar-10-python.tar").write_bytes(gzip.decompress(ten.archive))
    is_the_small_cifar10(load_dataset(CIFAR10, tmp_path))
    (tmp_path / "cifar-10-python.tar").unlink()
    (ten.unpacked(tmp_path / "cifar-10-batches-py") / "data_batch_5").unlink()
    ten.packed(tmp_path / "cifar-10-python.tar.gz")
    is_the_small_cifar10(load_dataset(CIFAR10, tmp_path))


@pytest.mark.parametrize("name", ["cifar-10-python.tar.gz", "sub/cifar-10-python (1).tar.gz", "my_cifar10.tgz"])
def test_an_archive_is_read_where_it_lies_and_nothing_is_unpacked(ten: Small, tmp_path: Path, name: str) -> None:
    file = ten.packed(tmp_path / name)
    for path in (tmp_path, file):
        is_the_small_cifar10(load_dataset(CIFAR10, path))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]


def test_the_names_of_cifar10s_classes_are_known_without_their_file(ten: Small, tmp_path: Path) -> None:
    folder = ten.unpacked(tmp_path / "batches")
    (folder / "batches.meta").unlink()
    is_the_small_cifar10(load_dataset(CIFAR10, tmp_path))


@pytest.mark.parametrize("content", [b"half of it", b""], ids=["torn", "empty"])
def test_another_archive_is_named_with_both_sums_and_not_opened(
    ten: Small, tmp_path: Path, content: bytes
) -> None:
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(content)
    with pytest.raises(ValueError) as raised:
        load_dataset(CIFAR10, tmp_path)
    for part in (f"CIFAR-10 is not in {archive}", md5(content), torchvision.datasets.CIFAR10.tgz_md5):
        assert part in str(raised.value)
    assert archive.read_bytes() == content


def test_an_archive_that_is_not_cifar10_is_not_opened(
    ten: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive with another MD5 is not CIFAR-10, whatever it contains."""
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(archive_of(ten.files | {"more": b""}, "cifar-10-batches-py"))
    monkeypatch.setattr(tarfile, "open", None)
    with pytest.raises(ValueError, match=r"corrupted or another file.* unpack it if it holds images of your own"):
        load_dataset(CIFAR10, tmp_path)
    assert not (tmp_path / "cifar-10-batches-py").exists()


def test_an_archive_cannot_write_outside_its_folder(
    ten: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = archive_of({"../../outside": b"x"}, "cifar-10-batches-py")
    folder = tmp_path / "data" / "below"
    folder.mkdir(parents=True)
    (folder / "cifar-10-python.tar.gz").write_bytes(content)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "tgz_md5", md5(content))
    with pytest.raises(ValueError, match="data_batch_1 is missing"):
        load_dataset(CIFAR10, folder)
    assert not list(tmp_path.rglob("outside"))


def test_every_file_that_is_missing_or_another_is_named(ten: Small, tmp_path: Path) -> None:
    folder = ten.unpacked(tmp_path / "batches")
    (folder / "data_batch_2").unlink()
    (folder / "test_batch").write_bytes(b"cut")
    with pytest.raises(ValueError) as raised:
        load_dataset(CIFAR10, tmp_path)
    for part in (
        f"CIFAR-10 is not in {folder}: data_batch_2 is missing; test_batch has md5 {md5(b'cut')}",
        md5(ten.files["test_batch"]),
    ):
        assert part in str(raised.value)


def test_what_was_not_published_is_not_unpickled(
    ten: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ten.unpacked(tmp_path / "batches") / "data_batch_1").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    monkeypatch.setattr(pickle, "loads", None)
    with pytest.raises(ValueError, match="data_batch_1 has md5"):
        load_dataset(CIFAR10, tmp_path)


def test_both_label_sets_of_cifar100(hundred: Small, tmp_path: Path) -> None:
    hundred.unpacked(tmp_path / "somewhere" / "cifar-100-python")
    fine, coarse = (load_dataset(setting, tmp_path) for setting in (CIFAR100, CIFAR100_COARSE))
    assert [labels for _, labels in pixels_and_labels(fine)] == [[0, 99], [7, 8]]
    assert [labels for _, labels in pixels_and_labels(coarse)] == [[4, 13], [19, 0]]
    assert (fine.classes[99], coarse.classes[19]) == ("fine 99", "coarse 19")
    for dataset, setting in ((fine, CIFAR100), (coarse, CIFAR100_COARSE)):
        assert IMAGE_KINDS[setting.data][:3] == (dataset.channels, len(dataset.classes), dataset.name)
        assert (images_variant(setting, tmp_path), dataset.variant) == ("", "")
    assert fine.fingerprint != coarse.fingerprint


def test_cifar100_is_read_from_its_archive(hundred: Small, tmp_path: Path) -> None:
    hundred.packed(tmp_path / "cifar-100-python.tar.gz")
    dataset = load_dataset(CIFAR100, tmp_path)
    assert [labels for _, labels in pixels_and_labels(dataset)] == [[0, 99], [7, 8]]


def test_the_other_cifar_is_named_with_its_setting(ten: Small, hundred: Small, tmp_path: Path) -> None:
    ten.unpacked(tmp_path / "ten" / "batches")
    hundred.packed(tmp_path / "hundred" / "cifar-100-python.tar.gz")
    for setting, folder, said in (
        (CIFAR100, "ten", "is CIFAR-10: --setting cifar10"),
        (CIFAR10, "hundred", "is CIFAR-100: --setting cifar100"),
        (DIGITS, "ten", "is CIFAR-10: --setting cifar10"),
    ):
        for ask in (images_variant, load_dataset):
            with pytest.raises(ValueError, match=said):
                ask(setting, tmp_path / folder)


@pytest.mark.parametrize("name", ["cifar-10-batches-bin/data_batch_1.bin", "cifar-10-matlab.tar.gz"])
def test_a_form_for_other_programs_is_named(ten: Small, tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=r"is made for other programs, cifar-10-python\.tar\.gz for this one"):
        load_dataset(CIFAR10, tmp_path)


def test_a_folder_of_images_is_not_searched_below_its_classes(ten: Small, image_folder: Path) -> None:
    ten.unpacked(image_folder / "train" / "bee" / "batches")
    ten.unpacked(image_folder / "elsewhere" / "of" / "others")
    assert images_variant(CIFAR10, image_folder).startswith("images-")


def test_what_is_downloaded_lies_in_the_default_folder_and_is_read_from_there(
    ten: Small, hundred: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def download(url: str, root: Path, filename: str, sum_: str) -> None:
        asked.append(filename)
        if not (root / filename).exists() or md5((root / filename).read_bytes()) != sum_:
            (ten if filename.startswith("cifar-10-") else hundred).packed(root / filename)

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", download)
    monkeypatch.setattr("plain_vs_residual.data.cifar.DEFAULT_FOLDER", tmp_path / "data")
    is_the_small_cifar10(load_dataset(CIFAR10))
    assert loader_of("cifar100")(32).name == "CIFAR-100"
    assert asked == ["cifar-10-python.tar.gz", "cifar-100-python.tar.gz"]
    (tmp_path / "data" / "cifar-10-python.tar.gz").write_bytes(b"interrupted")
    is_the_small_cifar10(load_dataset(CIFAR10))
    ten.unpacked(tmp_path / "data" / "cifar-10-batches-py")
    asked.clear()
    is_the_small_cifar10(cifar("cifar10", tmp_path / "data", download=True))
    assert asked == []
