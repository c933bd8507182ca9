"""Pickled statistics of other tools: never unpickled, and the advice in the error leads to the right value."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ganmetrics as gm
from ganmetrics.errors import GanMetricsError
from ganmetrics.statistics.loading import load
from tests.helpers.cached import OPTIONS
from tests.helpers.commands import PIXELS, Cli

ADVICE = "np.savez('ref.npz', mu=..., sigma=...)"


class Trap:
    """Its pickle makes a file when it is loaded."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (self.path, "w")


def dumped(protocol: int) -> Callable[[Path, Any], None]:
    return lambda path, content: path.write_bytes(pickle.dumps(content, protocol)) and None


def object_array(path: Path, content: Any) -> None:
    with open(path, "wb") as stream:
        np.save(stream, np.array(content, dtype=object), allow_pickle=True)


def object_member(path: Path, content: Any) -> None:
    with open(path, "wb") as stream:
        np.savez(stream, mu=np.array(content, dtype=object), sigma=np.eye(2))


WAYS: dict[str, tuple[str, Callable[[Path, Any], None]]] = {
    "a dict saved by np.save": ("ref.npy", object_array),
    "a pickle": ("ref.pkl", dumped(4)),
    "a pickle of the first protocol": ("ref.PKL", dumped(0)),
    "a pickle by a long name": ("ref.pickle", dumped(5)),
    "a pickle named .npy": ("ref.npy", dumped(2)),
    "a pickle named .npz": ("ref.npz", dumped(3)),
    "an object among the arrays": ("ref.npz", object_member),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_command_says_how_to_convert_it(way: str, cli: Cli, tmp_path: Path, rng: np.random.Generator) -> None:
    name, save = WAYS[way]
    path = str(tmp_path / name)
    save(tmp_path / name, {"mu": np.zeros(2), "sigma": np.eye(2), "trap": Trap(tmp_path / "sprung")})
    np.save("fake.npy", rng.integers(0, 256, (9, 5, 4, 3), dtype=np.uint8))
    commands = [("fid", path, "fake.npy", *PIXELS), ("fid", "fake.npy", path, *PIXELS), ("merge", path, "-o", "x.npz")]
    if way != "an object among the arrays":  # `stats` refuses statistics before it looks at them
        commands.append(("stats", path, "-o", "x.npz", *PIXELS))
    for command in commands:
        error = cli(*command).error
        assert error.startswith(f"{path}: holds Python objects, which only pickle could read")
        assert ADVICE in error
    assert not (tmp_path / "sprung").exists()


def test_the_advice_gives_the_value(tmp_path: Path, rng: np.random.Generator) -> None:
    """As EDM2 keeps them, in a dict of a dict. Expected: the Fréchet distance of two Gaussians in one dimension."""
    images = rng.integers(0, 256, (200, 1, 1, 1), dtype=np.uint8)
    path, ref = tmp_path / "ref.pkl", tmp_path / "ref.npz"
    path.write_bytes(pickle.dumps({"fid": {"mu": np.array([0.25]), "sigma": np.array([[0.04]])}}))
    with pytest.raises(GanMetricsError, match="which only pickle could read"):
        load(path)
    loaded = pickle.loads(path.read_bytes())["fid"]
    np.savez(ref, mu=loaded["mu"], sigma=loaded["sigma"])
    values = images.reshape(-1) / 255
    expected = (values.mean() - 0.25) ** 2 + (values.std(ddof=1) - 0.2) ** 2
    assert gm.fid(ref, images, **OPTIONS).value == pytest.approx(expected, rel=1e-6)


def test_other_files_are_no_pickles(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    (tmp_path / "text.npz").write_text("text")
    for name in ("x.npy", "text.npz"):
        with pytest.raises(GanMetricsError, match=r"it is no \.npz archive"):
            load(tmp_path / name)
