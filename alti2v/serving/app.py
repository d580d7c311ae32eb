"""Load a model and serve its page and HTTP API with Gradio: the orchestrator of `alti2v serve`.

Gradio's analytics are switched off, and the page loads nothing from other hosts: its test reads the browser's
network log.
"""

from __future__ import annotations

import os
import tempfile
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from alti2v.arrays import Float32Array, Uint8Array
from alti2v.errors import UsageError
from alti2v.model.loading.fingerprint import model_hash
from alti2v.model.tagging.relation_sources import load_relations
from alti2v.model.tagging.relations import relate_with
from alti2v.model.tagging.tagger import Tagger, load_tagger
from alti2v.serving.admission import guarded, rules_for
from alti2v.serving.blocks import build_page
from alti2v.serving.config import ServeConfig
from alti2v.serving.handlers import Handlers
from alti2v.serving.view import MEGABYTE, page_title
from alti2v.vectors.index import Index, open_index

_FONTS = ("ui-sans-serif", "system-ui", "sans-serif")
_MONO = ("ui-monospace", "monospace")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server that is running.

    Attributes:
        url: URL of the page.
        wait: Blocks until Ctrl-C or another signal, whose exception it raises after removing the uploads.
        close: Stops the server and removes the uploads.
    """

    url: str
    wait: Callable[[], None]
    close: Callable[[], None]


def one_at_a_time(tagger: Tagger) -> Tagger:
    """Let a tagger be called from several threads: they decode side by side, and take turns at the network."""
    lock = threading.Lock()

    def forward(images: Uint8Array) -> tuple[Float32Array, Float32Array | None]:
        with lock:
            return tagger.forward(images)

    return replace(tagger, forward=forward)


def serve(config: ServeConfig) -> RunningServer:
    """Load the model, and start to serve it.

    Raises:
        UsageError: There is no model, the index is of another model, Gradio is not installed, or the port is
            taken.
        DamagedError: The model or the index is damaged.
    """
    uploads = tempfile.TemporaryDirectory(prefix="alti2v-serve-")
    try:
        page, url = _launch(config, Path(uploads.name))
    except BaseException:
        uploads.cleanup()
        raise

    def wait() -> None:
        try:
            threading.Event().wait()
        finally:
            uploads.cleanup()

    def close() -> None:
        page.close()
        uploads.cleanup()

    return RunningServer(url=url.rstrip("/"), wait=wait, close=close)


def _launch(config: ServeConfig, uploads: Path) -> tuple[Any, str]:
    """Load the model, start the server, and return the page and its URL."""
    gradio = _import_gradio(uploads)
    from starlette.middleware import Middleware

    max_bytes = int(config.limits.megabytes * MEGABYTE)
    rules = rules_for(config.host, config.allowed_hosts, max_file_bytes=max_bytes)
    tagger = one_at_a_time(load_tagger(config.model))
    index = None if config.index is None else _open_index(config.index, config.model, tagger)
    relations = load_relations(config.relations, tagger)
    handlers = Handlers(
        gradio=gradio,
        tagger=tagger,
        index=index,
        count=config.count,
        limits=config.limits,
        relate=None if relations is None else relate_with(relations, tagger.vocabulary),
    )
    page = build_page(gradio, handlers, title=page_title(config.model))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # from Gradio and its dependencies
            _, url, _ = page.queue(default_concurrency_limit=1).launch(
                server_name=config.host,
                server_port=config.port,
                share=False,
                quiet=True,
                prevent_thread_lock=True,
                max_file_size=max_bytes,
                show_error=True,  # or an API client gets null in place of a line
                app_kwargs={"middleware": [Middleware(guarded, rules=rules, uploads=uploads)]},
                footer_links=["api"],
                enable_monitoring=False,
                run_history=False,
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                theme=gradio.themes.Default(primary_hue="blue", font=list(_FONTS), font_mono=list(_MONO)),
                css=files("alti2v.report").joinpath("templates/serve.css").read_text(encoding="utf-8"),
            )
    except OSError as exc:
        raise UsageError(f"cannot listen on {config.host}:{config.port} ({exc}): give another --port") from exc
    return page, url


def _import_gradio(uploads: Path) -> Any:  # noqa: ANN401 - a library without type information here
    """Import Gradio with its analytics switched off and a folder for uploads.

    Raises:
        UsageError: Gradio is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import gradio
    except ImportError as exc:
        raise UsageError("serving needs Gradio: pip install 'alti2v[serve]' in a separate environment") from exc
    return gradio


def _open_index(folder: Path, model: Path, tagger: Tagger) -> Index:
    """Open an index of this model's vectors.

    Raises:
        UsageError: The folder is not an index, it is of another model, or the model gives no vectors.
        DamagedError: The index is damaged.
    """
    if tagger.features is None:
        raise UsageError(
            f"{model} gives no vectors to search for in {folder}: export with --format wd-embedding"
        )
    index = open_index(folder)
    if index.origin.model_sha256 != model_hash(model):
        raise UsageError(f"{folder} is an index of {index.origin.model}, not of {model}: serve that model")
    return index
