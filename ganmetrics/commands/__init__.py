"""The commands, a file for each kind. They import torch inside, so that `--help` answers at once."""
