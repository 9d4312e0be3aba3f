"""A study: a grid of datasets, arms and seeds from one TOML file, run and summed up."""
