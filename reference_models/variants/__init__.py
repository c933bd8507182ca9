"""One file per variant, in the terms of its paper; `reference_models.index` lists them."""
