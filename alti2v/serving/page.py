"""Import path of the server that the documentation names; the code is in `alti2v.serving.app`."""

from alti2v.serving.app import ServeConfig, serve

__all__ = ["ServeConfig", "serve"]
