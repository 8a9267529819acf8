"""Many experiments, on many workers, with Dask."""
