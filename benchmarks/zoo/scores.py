"""Scores of the trained runs of `benchmarks.zoo`, stored beside each run so that they are computed once."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import ganmetrics as gm
from benchmarks.process import circumstances
from benchmarks.zoo.plans import FINAL, N_FEATURES, N_PARZEN, PLANS, folder_of
from reference_models import load
from reference_models.recipe import Recipe
from reference_models.training.data import open_data

PACKAGES = ("ganmetrics", "torch", "accelerate", "numpy")
EXTRACTION = {"features": "efficientnet-lite0", "progress": False}


@cache
def reference(root: Path, size: int, part: str) -> Any:
    """2,000 MNIST images `(N, 1, size, size)`, prepared as for training."""
    data = open_data(f"mnist:{part}[0:{N_FEATURES}]", Recipe(image_size=size, dataroot=str(root)))
    return data.images.__getitems__(list(range(N_FEATURES)))


def statistics_of(work: Path, root: Path, size: int) -> Path:
    """The statistics file of 2,000 test images of that size; extracted only once."""
    target = work / f"test-{size}.npz"
    if not target.exists():
        gm.stats(reference(root, size, "test"), layout="NCHW", **EXTRACTION).save(target)
    return target


def fd_and_is(work: Path, root: Path, fake: Any) -> dict[str, float]:
    """FD and IS of 2,000 images `(N, 1, H, W)`, in one pass."""
    real = statistics_of(work, root, fake.shape[-1])
    scores = gm.evaluate(real, fake, ["fid", "is"], layout="NCHW", **EXTRACTION)
    return {"fd": float(scores["fid"]), "is": float(scores["is"])}


def parzen_likelihood(root: Path, samples: Any) -> dict[str, float | None]:
    """Log-likelihood of MNIST's test images under 10,000 samples, bandwidth chosen on 10,000 validation images."""
    sets = ("mnist:train[50000:60000]", "mnist:test")
    score = gm.parzen_log_likelihood(samples, *sets, layout="NCHW", data_root=root, progress=False)
    return {"parzen": score.value, "parzen_spread": score.spread}


def measure(work: Path, root: Path, name: str, seed: int) -> dict[str, Any]:
    """Sample and score a trained run; one row of the table. A stored row is reused if no steps were added since."""
    folder = folder_of(work, name, seed)
    stored, model = folder.with_suffix(".json"), load(folder)
    if stored.exists() and (row := json.loads(stored.read_text()))["steps"] == model.step:
        return row
    samples = model.sample(N_PARZEN)
    reconstruction = gm.reconstruction_loss(model, FINAL, resize=True, data_root=root, progress=False)
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    row = {
        "name": name,
        "seed": seed,
        "steps": model.step,
        "options": list(PLANS[name].options),
        "cpu_seconds": round(float(folder.with_suffix(".seconds").read_text()), 1),
        **fd_and_is(work, root, samples[:N_FEATURES]),
        **(parzen_likelihood(root, samples) if PLANS[name].image_size == 28 else {}),
        "reconstruction": reconstruction.value,
        "tracked": [[line["step"], line["score"]["value"]] for line in log if "score" in line],
        **circumstances(PACKAGES),
    }
    np.savez(folder.with_suffix(".npz"), arr_0=samples[:N_FEATURES].permute(0, 2, 3, 1).numpy())
    stored.write_text(json.dumps(row))
    shown = ("fd", "is", "parzen", "reconstruction")
    print(f"{name}, seed {seed}: {', '.join(f'{key} {row[key]:.4g}' for key in shown if key in row)}", flush=True)
    return row


def real_rows(work: Path, root: Path) -> list[dict[str, Any]]:
    """Scores of 2,000 training images in place of samples, for every image size."""
    rows = []
    for size in sorted({plan.image_size for plan in PLANS.values()}):
        stored = work / f"real-{size}.json"
        if not stored.exists():
            scores = fd_and_is(work, root, reference(root, size, "train"))
            stored.write_text(json.dumps({"name": f"real images, {size} px", "seed": 0, **scores}))
        rows.append({**json.loads(stored.read_text()), **circumstances(PACKAGES)})
    return rows
