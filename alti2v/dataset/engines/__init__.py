"""Engines that run one function over many tasks: processes of this machine, or a Dask cluster."""
