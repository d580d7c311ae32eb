"""Handlers of the page's events and of the HTTP API: values of components in, values of components out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alti2v.errors import Alti2vError, DataError
from alti2v.model.tagging.selection import RelatingFunction
from alti2v.model.tagging.tagger import Tagger
from alti2v.report.neighbours import cards_of
from alti2v.report.rendering import render
from alti2v.serving.config import UploadLimits
from alti2v.serving.view import (
    MEGABYTE,
    AnalysedPicture,
    SelectedTags,
    analyse,
    default_thresholds,
    draw_heat_map,
    moved_thresholds,
    select_tags,
)
from alti2v.vectors.index import Index, neighbours
from alti2v.vectors.sources import picture_names
from alti2v.vectors.vector_file import as_vectors

_MOST_TAGS = 40  # of a category on the page


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """Functions that Gradio calls, with all they need.

    Attributes:
        gradio: The Gradio module.
        tagger: Model that is served.
        index: Index to look up similar pictures in; None to show none.
        count: Number of similar pictures to show.
        limits: Size limits of uploads.
        relate: Function that applies relations to a picture's tags; None to apply none.
    """

    gradio: Any
    tagger: Tagger
    index: Index | None
    count: int
    limits: UploadLimits
    relate: RelatingFunction | None = None

    def on_picture(self, path: str | None, *sliders: float) -> tuple[Any, ...]:
        """Analyse an uploaded picture: state, view, tags, prompt, choices of tags, similar pictures."""
        if path is None:
            return None, _view(), *self._no_tags(), ""
        try:
            picture = analyse(self.tagger, self._read(path), self.limits)
        except Alti2vError as exc:
            return None, _view(problem=str(exc)), *self._no_tags(), ""
        return picture, _view(picture.shown), *self._tags(picture, sliders), self._similar(picture)

    def on_thresholds(self, picture: AnalysedPicture | None, *sliders: float) -> tuple[Any, ...]:
        """Select tags again after a slider moved: tags, prompt, choices of tags."""
        return self._no_tags() if picture is None else self._tags(picture, sliders)

    def on_tag(self, picture: AnalysedPicture | None, tag: str | None) -> str:
        """Show the heat map of a tag, or the picture itself without one."""
        if picture is None:
            return ""
        if not tag:
            return _view(picture.shown)
        heat = self.tagger.heat_map(picture.pixels, tag)
        jpeg = draw_heat_map(picture.shown, heat)
        if jpeg is None:
            return _view(picture.shown, note=f"No part of the picture supports {tag} ({heat.method}).")
        return _view(jpeg, note=f"Parts of the picture that support {tag}, red the most ({heat.method}).")

    def tag(self, path: str | None, thresholds: dict[str, float] | None) -> dict[str, Any]:
        """Answer the endpoint /tag: the numbers of `alti2v tag --format json`, and a prompt."""
        try:
            if path is None:
                raise DataError("no picture was sent: upload one and give its path, see docs/SERVE.md")
            picture = analyse(self.tagger, self._read(path), self.limits)
            selected = self._select(picture, {**(thresholds or {})})
        except Alti2vError as exc:
            raise self.gradio.Error(str(exc), print_exception=False) from exc
        except (AttributeError, TypeError, ValueError) as exc:
            raise self.gradio.Error(
                'thresholds are an object such as {"character": 0.85}', print_exception=False
            ) from exc
        return {
            "tags": {
                category: {tag.name: tag.probability for tag in group}
                for category, group in selected.groups.items()
            },
            "rating": dict(selected.ratings),
            "prompt": selected.prompt,
        }

    def _tags(self, picture: AnalysedPicture, sliders: Sequence[float]) -> tuple[Any, ...]:
        selected = self._select(picture, moved_thresholds(sliders, default_thresholds(self.tagger)))
        names = [tag.name for group in selected.groups.values() for tag in group]
        return (
            render("serve_tags.html", selected=selected, shown_tags=_MOST_TAGS),
            selected.prompt,
            self.gradio.Dropdown(names, value=None, visible=True),
        )

    def _select(self, picture: AnalysedPicture, thresholds: Mapping[str, float]) -> SelectedTags:
        return select_tags(
            picture.probabilities,
            self.tagger.vocabulary,
            thresholds,
            own=self.tagger.own_thresholds(),
            relate=self.relate,
        )

    def _no_tags(self) -> tuple[Any, ...]:
        return "", "", self.gradio.Dropdown(visible=False)

    def _similar(self, picture: AnalysedPicture) -> str:
        if self.index is None or picture.features is None:
            return ""
        query = as_vectors(picture.features[None], self.index.origin.form)[0]
        nearest = neighbours(self.index, query, self.count)
        dataset = self.index.origin.dataset
        names = picture_names(dataset, (one.key for one in nearest))
        return render("serve_neighbours.html", cards=cards_of(nearest, dataset, names))

    def _read(self, path: str) -> bytes:
        """Read an uploaded file, or just enough of it to see that it is too large."""
        try:
            with Path(path).open("rb") as file:
                return file.read(int(self.limits.megabytes * MEGABYTE) + 1)
        except OSError as exc:
            raise DataError("the uploaded picture is no longer here: upload it again") from exc


def _view(jpeg: bytes | None = None, *, note: str = "", problem: str = "") -> str:
    return render("serve_view.html", jpeg=jpeg, note=note, problem=problem)
