"""The data sets, one file each: `config.dataset.name` is the name of a file here."""
