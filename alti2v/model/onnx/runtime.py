"""ONNX and ONNX Runtime, imported at first use: they come with the extra `export`, not with the base install.

Modules refer to `runtime.onnx` and `runtime.onnxruntime`; if they are not installed, the error names the extra.
"""

from __future__ import annotations

import importlib
from typing import Any

from alti2v.errors import UsageError

onnx: Any
onnxruntime: Any


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: modules, of which one has no types
    """Import a library at first use.

    Raises:
        UsageError: It is not installed.
    """
    if name not in {"onnx", "onnxruntime"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(name)
    except ImportError as exc:
        raise UsageError(f"{name} is not installed: pip install 'alti2v[export]'") from exc
    globals()[name] = module
    return module
