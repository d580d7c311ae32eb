"""`alti2v serve`."""

from __future__ import annotations

from typing import Any

import click

from alti2v.commands.options import LOCAL_PATH


@click.command()
@click.argument("model", type=LOCAL_PATH)
@click.option(
    "--index",
    type=LOCAL_PATH,
    default=None,
    help="Show the nearest pictures, too: an index of `alti2v search`, of this model's vectors.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=int, default=7860, show_default=True, help="Port to listen at.")
@click.option("--count", type=int, default=8, show_default=True, help="How many nearest pictures.")
@click.option("--max-megabytes", type=float, default=20.0, show_default=True, help="Larger files are refused.")
@click.option(
    "--max-megapixels", type=float, default=50.0, show_default=True, help="Larger pictures are refused."
)
def serve(*, max_megabytes: float, max_megapixels: float, **options: Any) -> None:  # noqa: ANN401 - typed by ServeConfig
    """Serve a page and an HTTP API for a MODEL.

    Drop a picture: its tags, sliders for the thresholds, the tags as a prompt, where in the picture a tag is.
    MODEL is a RUN, an exported folder, or anybody's WD tagger. Only this machine can ask, unless --host says
    otherwise; nothing is reported to anybody. docs/SERVE.md has the API. Ends with Ctrl-C.
    """
    from alti2v.serving.app import ServeConfig
    from alti2v.serving.app import serve as serve_page
    from alti2v.serving.view import UploadLimits

    config = ServeConfig(limits=UploadLimits(megabytes=max_megabytes, megapixels=max_megapixels), **options)
    if not config.is_local:
        click.echo(
            f"alti2v: warning: whoever reaches {config.host}:{config.port} can use the model, within "
            "the limits; there is no password: put a server with one in front, or give --host 127.0.0.1",
            err=True,
        )
    running = serve_page(config)
    click.echo(running.url)
    running.wait()
