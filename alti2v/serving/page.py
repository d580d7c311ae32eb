"""The name under which the documents import the page; the code is in `alti2v.serving.app`."""

from alti2v.serving.app import ServeConfig, serve

__all__ = ["ServeConfig", "serve"]
