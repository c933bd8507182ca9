"""Folders and lists of files: which are read, in which order, under whatever name, and what an empty one answers."""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganmetrics.errors import ImageError, SourceError
from ganmetrics.images import open_images, read_batches
from ganmetrics.images.names import IMAGE_EXTENSIONS
from ganmetrics.printable import printable
from tests.helpers.pictures import NO_IMAGE, RGB


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop to a user who may not read")
def test_unreadable_file_and_folder_as_another_user():
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        for name in ("bad.png", "good.png", "sub/closed.png"):
            (folder / name).parent.mkdir(exist_ok=True)
            Image.fromarray(RGB).save(folder / name)
        (folder / "bad.png").chmod(0)
        (folder / "sub").chmod(0)
        os.seteuid(65534)
        try:
            reader = read_batches(open_images(folder), 4, on_error="skip")
            [[stack]] = list(reader)
            with pytest.raises(SourceError) as closed:
                open_images(folder / "sub")
        finally:
            os.seteuid(0)
        assert len(stack) == 1
        assert reader.summary.skipped == [
            {"image": f"{folder}/bad.png", "reason": "permission denied"},
            {"image": f"{folder}/sub/", "reason": "folder cannot be listed: permission denied"},
        ]
        assert str(closed.value) == f"{folder}/sub: the folder cannot be listed: permission denied"
    finally:
        shutil.rmtree(folder)


def test_folder_named_like_an_image_is_a_folder(tmp_path):
    (tmp_path / "x.png").mkdir()
    Image.fromarray(RGB).save(tmp_path / "x.png" / "y.png")
    assert len(open_images(tmp_path)) == 1


def test_folders_are_walked_sorted_linked_and_without_circles(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    names = ["b/2.PNG", "b/10.png", "a.png", "c.d/x.png", ".hidden/x.png", "__MACOSX/x.png", "._a.png", "notes.txt"]
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((2, 2), number, np.uint8)).save(root / name, format="PNG")
    outside.mkdir()
    Image.fromarray(np.full((2, 2), 99, np.uint8)).save(outside / "o.png")
    (root / "linked").symlink_to(outside)
    (root / "b" / "up").symlink_to(root)
    values = [int(stack[i, 0, 0, 0]) for [stack] in read_batches(open_images(root), 1) for i in range(len(stack))]
    assert values == [2, 1, 0, 3, 99]  # a.png, b/10.png, b/2.PNG, c.d/x.png, linked/o.png


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"caf\xe9.png", "caf\\xe9.png"),
        (b"two\nlines.png", "two\\nlines.png"),
        (b"bell\x07\x1b[31m.png", "bell\\x07\\x1b[31m.png"),
        ("größe 猫.png".encode(), "größe 猫.png"),
    ],
)
def test_any_name_is_read_and_shown_on_one_line(name, shown, tmp_path):
    path = os.path.join(os.fsencode(tmp_path), name)
    with open(path, "wb") as stream:
        Image.fromarray(RGB).save(stream, format="PNG")
    assert len(list(read_batches(open_images(tmp_path), 4))) == 1
    with open(path, "wb") as stream:
        stream.write(b"text")
    with pytest.raises(ImageError) as caught:
        list(read_batches(open_images(tmp_path), 4))
    assert str(caught.value) == f"{tmp_path}/{shown}: {NO_IMAGE}"
    assert printable(shown) == shown
    str(caught.value).encode("utf-8")


def test_folder_without_images_says_what_it_saw(tmp_path):
    for name in ("a.txt", "b.txt", "c.mat", "README", "train/x.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    with pytest.raises(SourceError) as caught:
        open_images(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: no image in this folder; searched it for {' '.join(IMAGE_EXTENSIONS)}; "
        "saw 2 .txt, 1 .csv, 1 .mat, 1 without extension; subfolders train"
    )


def test_all_bad_is_an_error(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(SourceError) as caught:
        list(read_batches(open_images(tmp_path), 4, on_error="skip"))
    assert str(caught.value) == (
        f"{tmp_path}: none of its 2 images can be read; the first is {tmp_path}/a.png: empty file (0 bytes)"
    )


def test_list_of_paths_keeps_its_order(tmp_path):
    for number in range(3):
        Image.fromarray(np.full((2, 2), number, np.uint8)).save(tmp_path / f"{number}.png")
    [[stack]] = list(read_batches(open_images([tmp_path / "2.png", str(tmp_path / "0.png")]), 4))
    assert stack[:, 0, 0, 0].tolist() == [2, 0]
    with pytest.raises(ImageError, match="no such file or directory"):
        list(read_batches(open_images([tmp_path / "absent.png"]), 4))
    with pytest.raises(SourceError, match="is a folder; a list of paths holds image files"):
        open_images([tmp_path])
