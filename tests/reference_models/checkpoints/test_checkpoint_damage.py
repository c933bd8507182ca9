"""Checkpoints damaged in any file, or made by another version: one line that names it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import reference_models
from reference_models.checkpoints.checkpoint import FORMAT, Checkpoint, save
from reference_models.errors import CheckpointError, RecipeError
from tests.helpers.runs import NEVER, run

PARTS = ("generator.safetensors", "discriminator.safetensors", "generator_ema.safetensors", "training.safetensors",
         "training.json", "config.json", "manifest.json")  # fmt: skip


def told(out: Path) -> list[str]:
    """What loading and resuming say; one line each."""
    with pytest.raises(CheckpointError) as loading:
        reference_models.load(out, device="cpu").sample(1, ema=False)
    with pytest.raises(CheckpointError) as resuming:
        run("dcgan", out, 6, resume=True)
    with pytest.raises(CheckpointError) as starting:
        run("dcgan", out, 6)
    found = [str(error.value) for error in (loading, resuming, starting)]
    assert not any("\n" in line for line in found)
    return found


def flip(path: Path) -> None:
    held = bytearray(path.read_bytes())
    held[0 if path.name == "manifest.json" else len(held) // 2] ^= 1  # in there it would be about another file
    path.write_bytes(held)


def test_a_checkpoint_is_these_files(trained: Path) -> None:
    assert {path.name for path in (trained / "last").iterdir()} == set(PARTS)


DAMAGE = {
    "flip": flip,
    "truncate": lambda path: os.truncate(path, path.stat().st_size * 2 // 3),
    "empty": lambda path: os.truncate(path, 0),
    "delete": lambda path: path.unlink(),
    "no file": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_line_that_names_the_file(part: str, damage: str, copy: Path) -> None:
    DAMAGE[damage](copy / "last" / part)
    for line in told(copy):
        assert line.startswith(f"{copy}/last: damaged checkpoint: {part}"), line
        assert "best/" not in line  # there is none


def test_the_exact_words(copy: Path) -> None:
    shutil.copytree(copy / "last", copy / "best")
    (copy / "last/discriminator.safetensors").unlink()
    assert set(told(copy)) == {
        f"{copy}/last: damaged checkpoint: discriminator.safetensors: No such file or directory; "
        "the run's best/ may be whole"
    }
    (copy / "last/manifest.json").write_text(json.dumps({"format": "another-7"}))
    assert set(told(copy)) == {
        f"{copy}/last: damaged checkpoint: its format is 'another-7', expected {FORMAT!r}; the run's best/ may be whole"
    }


@pytest.mark.parametrize("text", ["[1]", "3", "null", "{}", '{"format": 1}', "\x00", "{", '{"format": null}'])
def test_a_manifest_that_is_none(text: str, copy: Path) -> None:
    (copy / "last/manifest.json").write_text(text)
    told(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(step=m["step"] + 1),
        lambda m: m.update(step="many"),
        lambda m: m["networks"].pop(),
        lambda m: m.update(networks=["generator", "generator"]),
        lambda m: m["sha256"].pop("generator.safetensors"),
        lambda m: m.update(sha256={}),
        lambda m: m.update(sha256=[1]),
        lambda m: m["sha256"].update({"../config.json": "0"}),
        lambda m: m["sha256"].update({"config.json": 7}),
    ],
)
def test_a_manifest_that_does_not_fit_is_not_believed(change: Callable[[dict[str, Any]], None], copy: Path) -> None:
    manifest = json.loads((copy / "last/manifest.json").read_text())
    change(manifest)
    (copy / "last/manifest.json").write_text(json.dumps(manifest))
    told(copy)


def test_any_byte_of_the_manifest(copy: Path) -> None:
    """Flipped, it is told or was about the versions, which nothing depends on."""
    path = copy / "last/manifest.json"
    held, whole = path.read_bytes(), Checkpoint(copy / "last")
    for at in range(len(held)):
        path.write_bytes(held[:at] + bytes([held[at] ^ 1]) + held[at + 1 :])
        try:
            found = Checkpoint(copy / "last")
        except CheckpointError:
            continue
        assert (found.step, found.networks, found.config) == (whole.step, whole.networks, whole.config)
        same = {**found.manifest, "versions": whole.manifest["versions"]}
        assert {key: same[key] for key in whole.manifest} == whole.manifest


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_not_mixed(copy: Path) -> None:
    expected = {ema: reference_models.load(copy, device="cpu").sample(3, ema=ema) for ema in (True, False)}
    model = reference_models.load(copy, device="cpu")
    run("dcgan", copy, 4, resume=True)
    for ema in (True, False):  # both were read at once
        assert torch.equal(model.sample(3, ema=ema), expected[ema])


def test_a_checkpoint_of_another_variant(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        run("lsgan", copy, 6, resume=True)
    assert str(caught.value) == f"{copy}: holds a run of dcgan, not of lsgan; name another --out"
    run("lsgan", tmp_path / "other", 1, cadence=NEVER)
    shutil.rmtree(copy / "last")
    shutil.copytree(tmp_path / "other/last", copy / "last")
    assert reference_models.load(copy).config["variant"] == "lsgan"
    with pytest.raises(CheckpointError, match="holds a run of lsgan, not of dcgan"):
        run("dcgan", copy, 6, resume=True)


def rewritten(out: Path, **config: Any) -> None:
    """Another configuration under right checksums, as another version would write."""
    state, kept = Checkpoint(out / "last").state(), Checkpoint(out / "last").config
    save(out / "last", state, {**kept, **config})


def test_a_variant_and_a_recipe_that_this_version_does_not_know(copy: Path) -> None:
    rewritten(copy, variant="supergan")
    with pytest.raises(RecipeError, match="unknown variant 'supergan'; expected one of gan, dcgan, lsgan"):
        reference_models.load(copy)
    with pytest.raises(CheckpointError, match="holds a run of supergan, not of dcgan"):
        run("dcgan", copy, 6, resume=True)
    rewritten(copy, variant="dcgan", recipe={"depth": 3})
    with pytest.raises(CheckpointError, match="made by another version of DCGAN: unknown recipe field 'depth'"):
        reference_models.load(copy)


def test_networks_of_another_version(copy: Path) -> None:
    found = Checkpoint(copy / "last")
    state, config = found.state(), found.config
    state["networks"]["generator"] = state["average"] = {"main.0.weight": torch.zeros(3)}
    save(copy / "last", state, config)
    with pytest.raises(CheckpointError, match="generator_ema does not fit this version's network"):
        reference_models.load(copy, device="cpu")
    with pytest.raises(CheckpointError, match=r"last: does not fit this version of dcgan") as caught:
        run("dcgan", copy, 6, resume=True)
    assert "\n" not in str(caught.value)
