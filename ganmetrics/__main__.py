"""`python -m ganmetrics` is `ganmetrics`."""

from ganmetrics.cli import main

if __name__ == "__main__":
    main()
