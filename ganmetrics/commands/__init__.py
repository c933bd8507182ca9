"""The commands, one file per kind. They import torch inside the functions, so that `--help` is fast."""
