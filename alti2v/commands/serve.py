"""`alti2v serve`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from alti2v.commands.options import (
    LOCAL_PATH,
    default_of,
    fetched_model,
    option_of,
    relation_options,
    relations_of,
)
from alti2v.output import print_lines, tell
from alti2v.serving.config import ServeConfig, UploadLimits

_serve_option = option_of(ServeConfig)


@click.command()
@click.argument("model", type=LOCAL_PATH)
@_serve_option("--index", help="Index of `alti2v search` over this model's vectors, to show similar pictures.")
@relation_options
@_serve_option("--host", help="Address to listen on.")
@_serve_option(
    "--allow-host",
    "allowed_hosts",
    metavar="NAME",
    help="Name under which the server may also be called, such as a reverse proxy's; * for any. Repeatable.",
)
@_serve_option("--port", help="Port to listen on.")
@_serve_option("--count", help="Number of similar pictures to show.")
@click.option(
    "--max-megabytes",
    type=float,
    default=default_of(UploadLimits, "megabytes"),
    show_default=True,
    help="Maximum size of an uploaded file in MB.",
)
@click.option(
    "--max-megapixels",
    type=float,
    default=default_of(UploadLimits, "megapixels"),
    show_default=True,
    help="Maximum size of an uploaded picture in million pixels.",
)
def serve(*, max_megabytes: float, max_megapixels: float, **options: Any) -> None:  # noqa: ANN401 - typed by ServeConfig
    """Serve a page and an HTTP API for a MODEL.

    The page shows the tags of an uploaded picture, with sliders for the thresholds, the tags as a prompt, and a
    heat map of each tag. MODEL is a RUN, an exported folder, or a tagger of any family in docs/MODELS.md;
    hf:owner/name is one on the Hugging Face hub. Only this machine can connect unless --host is given. No usage
    data is sent. docs/SERVE.md describes the API. Stop it with Ctrl-C.
    """
    from alti2v.serving.app import serve as serve_page

    config = ServeConfig(
        relations=relations_of(options),
        limits=UploadLimits(megabytes=max_megabytes, megapixels=max_megapixels),
        **options,
    )
    config = replace(config, model=fetched_model(config.model))
    if not config.is_local:
        tell(
            f"alti2v: warning: anyone who can reach {config.host}:{config.port} can use the model, within the "
            "limits; there is no password: put a server with one in front, or give --host 127.0.0.1"
        )
    running = serve_page(config)
    print_lines([running.url])
    running.wait()
