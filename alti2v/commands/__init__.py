"""The commands: options to a config dataclass, one library call, the result printed.

Heavy libraries are imported inside the commands, so that `alti2v --help` is fast. Defaults and choices come
from the config dataclasses, which import none of them.
"""
