"""`python -m reference_models` is `reference-models`."""

from reference_models.cli import main

if __name__ == "__main__":
    main()
