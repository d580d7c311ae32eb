"""The page and its HTTP API, by Gradio: the orchestrator of `alti2v serve`.

Gradio is told to report nothing to anybody; the page loads nothing from elsewhere, which its test reads in a
browser's own log.
"""

from __future__ import annotations

import ipaddress
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from alti2v.errors import Alti2vError, DataError, UsageError
from alti2v.model.fingerprint import model_hash
from alti2v.model.tagging.tagger import Tagger, load_tagger
from alti2v.report.neighbours import cards_of
from alti2v.report.rendering import render
from alti2v.serving.view import (
    MEGABYTE,
    Limits,
    ViewedPicture,
    default_thresholds,
    heat_picture,
    judge,
    look_at,
)
from alti2v.vectors.index import Index, neighbours, open_index
from alti2v.vectors.vector_file import as_vectors

_MOST_TAGS = 40  # of a category on the page
_KEPT_S = 3600  # uploads are deleted after an hour
_SWEPT_S = 600
_FONTS = ("ui-sans-serif", "system-ui", "sans-serif")
_MONO = ("ui-monospace", "monospace")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """What to serve, and to whom.

    Attributes:
        model: see `tagger.load_tagger`.
        index: of pictures, by `alti2v search`; made with the same model. None to show no neighbours.
        host: to listen at.
        port: to listen at.
        count: neighbours that are shown.
        limits: of what is handed in.
    """

    model: Path
    index: Path | None = None
    host: str = "127.0.0.1"
    port: int = 7860
    count: int = 8
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 < self.port < 2**16:
            raise UsageError(f"--port {self.port} is none: give one from 1 to 65535")
        if self.count < 1:
            raise UsageError(f"--count {self.count} is less than 1")
        if not (self.limits.megabytes > 0 and self.limits.megapixels > 0):
            raise UsageError("--max-megabytes and --max-megapixels have to be more than 0")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can ask."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A page that is being served.

    Attributes:
        url: where.
        wait: blocks until Ctrl-C.
        close: ends it.
    """

    url: str
    wait: Callable[[], None]
    close: Callable[[], None]


def serve(config: ServeConfig) -> Running:
    """Load the model and start to serve it.

    Raises:
        UsageError: no model, an index of another model, Gradio is not installed, or the port is taken.
        DamagedError: the model or the index is damaged.
    """
    gradio = _gradio()
    tagger = load_tagger(config.model, batch_size=16)
    index = None if config.index is None else _index_of(config.index, config.model, tagger)
    page = _page(gradio, tagger, index, config)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Gradio and the libraries below it
            _, url, _ = page.queue(default_concurrency_limit=1).launch(
                server_name=config.host,
                server_port=config.port,
                share=False,
                quiet=True,
                prevent_thread_lock=True,
                max_file_size=int(config.limits.megabytes * MEGABYTE),
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
        raise UsageError(f"{config.host}:{config.port} cannot be listened at ({exc}): give another") from exc
    return Running(url=url.rstrip("/"), wait=page.block_thread, close=page.close)


def _gradio() -> Any:  # noqa: ANN401 - a library without type information here
    """Gradio, imported with its reports switched off.

    Raises:
        UsageError: it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import gradio
    except ImportError as exc:
        raise UsageError(
            "serving needs Gradio: pip install 'alti2v[serve]' in an environment of its own"
        ) from exc
    return gradio


def _index_of(folder: Path, model: Path, tagger: Tagger) -> Index:
    """Open the index, of this model's vectors.

    Raises:
        UsageError: it is no index, of another model, or the model gives no vectors.
        DamagedError: it is damaged.
    """
    if tagger.features is None:
        raise UsageError(f"{model} gives no vectors to look up in {folder}: export with --format wd-embedding")
    index = open_index(folder)
    if index.origin.model_sha256 != model_hash(model):
        raise UsageError(f"{folder} is of {index.origin.model}, not of {model}: serve that one")
    return index


def _page(gradio: Any, tagger: Tagger, index: Index | None, config: ServeConfig) -> Any:  # noqa: ANN401
    """Put the page together, and say what follows what."""
    defaults = default_thresholds(tagger)
    name = config.model.resolve().name
    with gradio.Blocks(
        title=f"alti2v: {name}", analytics_enabled=False, delete_cache=(_SWEPT_S, _KEPT_S)
    ) as page:
        look = gradio.State()
        gradio.HTML(render("serve_head.html", name=name, tagger=tagger, limits=config.limits))
        with gradio.Row():
            with gradio.Column(scale=5):
                picture = _own_files_only(gradio, gradio.File(label="Picture", height=150, elem_id="picture"))
                view = gradio.HTML(elem_id="view")
                where = gradio.Dropdown([], label="Where is it? Choose a tag", elem_id="where", visible=False)
                with gradio.Accordion("Thresholds", open=True):
                    sliders = [
                        gradio.Slider(0, 1, value=value, step=0.01, label=category, elem_id=f"limit-{category}")
                        for category, value in defaults.items()
                    ]
            with gradio.Column(scale=6):
                tags = gradio.HTML(elem_id="tags", elem_classes="a-tags")
                prompt = gradio.Textbox(label="As a prompt", lines=3, buttons=["copy"], elem_id="prompt")
        near = gradio.HTML(elem_id="near")

        def shown(found: ViewedPicture, values: Sequence[float]) -> tuple[Any, ...]:
            verdict = judge(found.probabilities, tagger.vocabulary, dict(zip(defaults, values, strict=True)))
            names = [tag.name for group in verdict.groups.values() for tag in group]
            return (
                render("serve_tags.html", verdict=verdict, shown_tags=_MOST_TAGS),
                verdict.prompt,
                gradio.Dropdown(names, value=None, visible=True),
            )

        def on_picture(path: str | None, *values: float) -> tuple[Any, ...]:
            nothing = ("", "", gradio.Dropdown(visible=False))
            if path is None:
                return None, _view(), *nothing, ""
            try:
                found = look_at(tagger, _content(path, config.limits), config.limits)
            except Alti2vError as exc:
                return None, _view(problem=str(exc)), *nothing, ""
            return found, _view(found.shown), *shown(found, values), _near(index, found, config.count)

        def on_limits(found: ViewedPicture | None, *values: float) -> tuple[Any, ...]:
            if found is None:
                return "", "", gradio.Dropdown(visible=False)
            return shown(found, values)

        def on_tag(found: ViewedPicture | None, tag: str | None) -> str:
            return "" if found is None else _heat(tagger, found, tag)

        answers = [tags, prompt, where]
        quietly = {"api_visibility": "private", "concurrency_id": "model"}
        picture.change(
            on_picture, [picture, *sliders], [look, view, *answers, near], show_progress_on=[view], **quietly
        )
        gradio.on(
            [slider.change for slider in sliders],
            on_limits,
            [look, *sliders],
            answers,
            trigger_mode="always_last",
            show_progress="hidden",
            **quietly,
        )
        where.input(on_tag, [look, where], view, show_progress_on=[view], **quietly)
        _add_api(gradio, tagger, config)
    return page


def _add_api(gradio: Any, tagger: Tagger, config: ServeConfig) -> None:  # noqa: ANN401
    """The named endpoint /tag: the same numbers as `alti2v tag --format json`, and a prompt."""

    def tag(picture: str, thresholds: dict[str, float] | None) -> dict[str, Any]:
        try:
            if picture is None:
                raise DataError("no picture was sent: upload one and give its path, see docs/SERVE.md")
            found = look_at(tagger, _content(picture, config.limits), config.limits)
            wanted = {**default_thresholds(tagger), **(thresholds or {})}
            verdict = judge(found.probabilities, tagger.vocabulary, wanted)
        except Alti2vError as exc:
            raise gradio.Error(str(exc), print_exception=False) from exc
        except (AttributeError, TypeError, ValueError) as exc:
            raise gradio.Error(
                'thresholds are an object such as {"character": 0.85}', print_exception=False
            ) from exc
        return {
            "tags": {
                category: {one.name: one.probability for one in group}
                for category, group in verdict.groups.items()
            },
            "rating": dict(verdict.ratings),
            "prompt": verdict.prompt,
        }

    picture = _own_files_only(gradio, gradio.File(visible=False, label="picture"))
    thresholds = gradio.JSON(visible=False, label="thresholds")
    answer = gradio.JSON(visible=False, label="answer")
    gradio.Button(visible=False).click(
        tag, [picture, thresholds], answer, api_name="tag", concurrency_id="model"
    )


def _own_files_only(gradio: Any, file: Any) -> Any:  # noqa: ANN401
    """Take what was uploaded, and fetch nothing: Gradio would follow an address that a client names."""
    move = file.move_resource_to_block_cache

    def refuse_addresses(place: str | Path | None) -> str | None:
        if isinstance(place, str) and "://" in place:
            raise gradio.Error("send the picture itself: addresses are not followed", print_exception=False)
        moved: str | None = move(place)
        return moved

    async def refuse_addresses_too(place: str | Path | None) -> str | None:
        return refuse_addresses(place)

    file.move_resource_to_block_cache = refuse_addresses
    file.async_move_resource_to_block_cache = refuse_addresses_too
    return file


def _content(path: str, limits: Limits) -> bytes:
    """The uploaded file; of one that is too large only as much as shows that."""
    with Path(path).open("rb") as file:
        return file.read(int(limits.megabytes * MEGABYTE) + 1)


def _heat(tagger: Tagger, found: ViewedPicture, tag: str | None) -> str:
    if not tag:
        return _view(found.shown)
    heat = tagger.heat_map(found.pixels, tag)
    jpeg = heat_picture(found.shown, heat)
    if jpeg is None:
        return _view(found.shown, note=f"No place of the picture speaks for {tag} ({heat.method}).")
    return _view(jpeg, note=f"What speaks for {tag}, by {heat.method}: red most.")


def _near(index: Index | None, found: ViewedPicture, count: int) -> str:
    if index is None or found.features is None:
        return ""
    query = as_vectors(found.features[None], index.origin.form)[0]
    return render(
        "serve_neighbours.html", cards=cards_of(neighbours(index, query, count), index.origin.dataset)
    )


def _view(jpeg: bytes | None = None, *, note: str = "", problem: str = "") -> str:
    return render("serve_view.html", jpeg=jpeg, note=note, problem=problem)
