"""One function over many tasks, in the processes of this machine or on a Dask cluster."""
