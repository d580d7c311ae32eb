"""Gradio components of the page, and the events that connect them to the handlers.

Gradio comes in as a parameter: it is imported by `alti2v serve` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alti2v.report.rendering import render
from alti2v.serving.handlers import Handlers
from alti2v.serving.view import default_thresholds, slider_values

_UPLOADS_KEPT_S = 3600
_SWEEP_EVERY_S = 600
# A picture that takes its decoder long holds up nobody else; the network still takes one batch at a time.
_SIDE_BY_SIDE: dict[str, Any] = {"concurrency_id": "pictures", "concurrency_limit": 8}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Components:
    """Components of the page; `state` holds the analysed picture."""

    state: Any
    picture: Any
    view: Any
    where: Any
    sliders: list[Any]
    tags: Any
    prompt: Any
    similar: Any


def build_page(gradio: Any, handlers: Handlers, *, title: str) -> Any:  # noqa: ANN401
    """Build the page with this title, and the endpoint /tag of its model."""
    with gradio.Blocks(
        title=title, analytics_enabled=False, delete_cache=(_SWEEP_EVERY_S, _UPLOADS_KEPT_S)
    ) as page:
        components = _lay_out(gradio, handlers, title)
        _connect(gradio, handlers, components)
        _add_endpoint(gradio, handlers)
    return page


def _lay_out(gradio: Any, handlers: Handlers, title: str) -> _Components:  # noqa: ANN401
    defaults = slider_values(default_thresholds(handlers.tagger))
    state = gradio.State()
    gradio.HTML(render("serve_head.html", title=title, tagger=handlers.tagger, limits=handlers.limits))
    with gradio.Row():
        with gradio.Column(scale=5):
            picture = _uploads_only(gradio, gradio.File(label="Picture", height=150, elem_id="picture"))
            view = gradio.HTML(elem_id="view")
            where = gradio.Dropdown([], label="Where is it? Choose a tag", elem_id="where", visible=False)
            with gradio.Accordion("Thresholds", open=True):
                sliders = [
                    gradio.Slider(0, 1, value=value, step=0.001, label=category, elem_id=f"limit-{category}")
                    for category, value in defaults.items()
                ]
        with gradio.Column(scale=6):
            tags = gradio.HTML(elem_id="tags", elem_classes="a-tags")
            prompt = gradio.Textbox(label="As a prompt", lines=3, buttons=["copy"], elem_id="prompt")
    return _Components(
        state=state,
        picture=picture,
        view=view,
        where=where,
        sliders=sliders,
        tags=tags,
        prompt=prompt,
        similar=gradio.HTML(elem_id="near"),
    )


def _connect(gradio: Any, handlers: Handlers, page: _Components) -> None:  # noqa: ANN401
    selected = [page.tags, page.prompt, page.where]
    private = {"api_visibility": "private", "concurrency_id": "page"}
    page.picture.change(
        handlers.on_picture,
        [page.picture, *page.sliders],
        [page.state, page.view, *selected, page.similar],
        show_progress_on=[page.view],
        api_visibility="private",
        **_SIDE_BY_SIDE,
    )
    gradio.on(
        [slider.change for slider in page.sliders],
        handlers.on_thresholds,
        [page.state, *page.sliders],
        selected,
        trigger_mode="always_last",
        show_progress="hidden",
        **private,
    )
    page.where.input(
        handlers.on_tag, [page.state, page.where], page.view, show_progress_on=[page.view], **private
    )


def _add_endpoint(gradio: Any, handlers: Handlers) -> None:  # noqa: ANN401
    """Add the named endpoint /tag, through hidden components."""
    picture = _uploads_only(gradio, gradio.File(visible=False, label="picture"))
    thresholds = gradio.JSON(visible=False, label="thresholds")
    answer = gradio.JSON(visible=False, label="answer")
    gradio.Button(visible=False).click(
        handlers.tag, [picture, thresholds], answer, api_name="tag", **_SIDE_BY_SIDE
    )


def _uploads_only(gradio: Any, file: Any) -> Any:  # noqa: ANN401
    """Make a file component refuse URLs: Gradio would fetch what a client names (SSRF).

    Gradio has no option for that, so two methods of the component are replaced. Checked with Gradio 6.31.0
    (gradio/blocks.py, `move_resource_to_block_cache` and `async_move_resource_to_block_cache`); setup.cfg
    allows 6.x only, and `tests/serving/test_page_browser.py` sends a URL.
    """
    move = file.move_resource_to_block_cache

    def refuse_urls(location: str | Path | None) -> str | None:
        if isinstance(location, str) and "://" in location:
            raise gradio.Error("send the picture itself: addresses are not followed", print_exception=False)
        moved: str | None = move(location)
        return moved

    async def refuse_urls_async(location: str | Path | None) -> str | None:
        return refuse_urls(location)

    file.move_resource_to_block_cache = refuse_urls
    file.async_move_resource_to_block_cache = refuse_urls_async
    return file
