"""One file a variant, each reading like a page of its paper; `reference_models.index` lists them."""
