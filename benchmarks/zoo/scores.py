"""The scores of one trained run of `benchmarks.zoo`, kept beside it."""

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
    """Of 2,000 test images at that size: extracted once."""
    target = work / f"test-{size}.npz"
    if not target.exists():
        gm.stats(reference(root, size, "test"), layout="NCHW", **EXTRACTION).save(target)
    return target


def of_samples(work: Path, root: Path, fake: Any) -> dict[str, float]:
    """FD and IS of 2,000 images `(N, 1, H, W)`, in one pass."""
    real = statistics_of(work, root, fake.shape[-1])
    found = gm.evaluate(real, fake, ["fid", "is"], layout="NCHW", **EXTRACTION)
    return {"fd": float(found["fid"]), "is": float(found["is"])}


def of_parzen(root: Path, samples: Any) -> dict[str, float | None]:
    """Log-likelihood of MNIST's test images under 10,000 samples, bandwidth chosen on 10,000 held-out ones."""
    sets = ("mnist:train[50000:60000]", "mnist:test")
    found = gm.parzen_log_likelihood(samples, *sets, layout="NCHW", data_root=root, progress=False)
    return {"parzen": found.value, "parzen_spread": found.spread}


def measure(work: Path, root: Path, name: str, seed: int) -> dict[str, Any]:
    """One row: a trained run, sampled and scored."""
    folder = folder_of(work, name, seed)
    kept, model = folder.with_suffix(".json"), load(folder)
    if kept.exists() and (row := json.loads(kept.read_text()))["steps"] == model.step:
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
        **of_samples(work, root, samples[:N_FEATURES]),
        **(of_parzen(root, samples) if PLANS[name].image_size == 28 else {}),
        "reconstruction": reconstruction.value,
        "tracked": [[line["step"], line["score"]["value"]] for line in log if "score" in line],
        **circumstances(PACKAGES),
    }
    np.savez(folder.with_suffix(".npz"), arr_0=samples[:N_FEATURES].permute(0, 2, 3, 1).numpy())
    kept.write_text(json.dumps(row))
    shown = ("fd", "is", "parzen", "reconstruction")
    print(f"{name}, seed {seed}: {', '.join(f'{key} {row[key]:.4g}' for key in shown if key in row)}", flush=True)
    return row


def real_rows(work: Path, root: Path) -> list[dict[str, Any]]:
    """What 2,000 training images score in place of samples, at every size."""
    rows = []
    for size in sorted({plan.image_size for plan in PLANS.values()}):
        kept = work / f"real-{size}.json"
        if not kept.exists():
            found = of_samples(work, root, reference(root, size, "train"))
            kept.write_text(json.dumps({"name": f"real images, {size} px", "seed": 0, **found}))
        rows.append({**json.loads(kept.read_text()), **circumstances(PACKAGES)})
    return rows
