"""ONNX and ONNX Runtime, imported at first use: they come with the extra `export`, not with the base install.

Modules refer to `runtime.onnx` and `runtime.onnxruntime`; if they are not installed, the error names the extra.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

from alti2v.errors import UsageError

onnx: Any
onnxruntime: Any

# 1.23.2 and older read files outside a model's folder that its graph names as external data.
_LEAST_RUNTIME = (1, 24, 1)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: modules, of which one has no types
    """Import a library at first use.

    Raises:
        UsageError: It is not installed, or too old to be safe.
    """
    if name not in {"onnx", "onnxruntime"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(name)
    except ImportError as exc:
        raise UsageError(f"{name} is not installed: pip install 'alti2v[export]'") from exc
    if name == "onnxruntime":
        require_safe(module.__version__)
    globals()[name] = module
    return module


def require_safe(version: str) -> None:
    """Check a version of ONNX Runtime, such as "1.24.1".

    Raises:
        UsageError: It is one that reads files outside a model's folder.
    """
    numbers = tuple(int(part) for part in re.findall(r"[0-9]+", version)[:3])
    if numbers < _LEAST_RUNTIME:
        least = ".".join(map(str, _LEAST_RUNTIME))
        raise UsageError(
            f"onnxruntime {version} reads files outside a model's folder: pip install 'onnxruntime>={least}'"
        )
