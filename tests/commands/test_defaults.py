"""Defaults on the command line are the library's: each is written once, in the configuration of its command."""

from __future__ import annotations

import dataclasses
from typing import Any

import click
import pytest

from alti2v.cli import cli
from alti2v.crawl.config import CrawlConfig
from alti2v.crawl.importing.config import ImportConfig
from alti2v.crawl.windows import WindowConfig
from alti2v.dataset.config import BuildConfig
from alti2v.dataset.shard_cache import CacheConfig
from alti2v.dataset.stats import StatsConfig
from alti2v.demo.board.site import BoardConfig
from alti2v.demo.config import DemoConfig
from alti2v.kpi.config import KpiConfig
from alti2v.model.options.evaluation import CompareConfig, EvalConfig
from alti2v.model.options.export import ExportConfig
from alti2v.model.options.tagging import CaptionStyle, RelationOptions, SidecarConfig, TagConfig
from alti2v.model.options.training import TrainConfig
from alti2v.serving.config import ServeConfig, UploadLimits
from alti2v.vectors.config import EmbedConfig, SearchConfig

CONFIGS: dict[str, tuple[Any, ...]] = {
    "board": (BoardConfig,),
    "build-shards": (BuildConfig,),
    "crawl": (CrawlConfig,),
    "demo": (DemoConfig,),
    "embed": (EmbedConfig,),
    "eval": (EvalConfig, CompareConfig, CacheConfig),
    "export": (ExportConfig,),
    "import": (ImportConfig,),
    "kpi": (KpiConfig,),
    "search": (SearchConfig,),
    "serve": (ServeConfig, UploadLimits, RelationOptions),
    "stats": (StatsConfig,),
    "status": (WindowConfig,),
    "tag": (TagConfig, SidecarConfig, CaptionStyle, RelationOptions),
    "train": (TrainConfig, CacheConfig),
}
# Options that the library does not have, or has under another name.
FIELD_OF = {"max_megabytes": "megabytes", "max_megapixels": "megapixels"}
OF_THE_COMMAND = {("demo", "out"), ("import", "form"), ("tag", "form")}


def defaults(command: str) -> dict[str, object]:
    """Return the defaults that an option shows or means, by name of the library's field."""
    return {
        FIELD_OF.get(str(option.name), str(option.name)): option.default
        for option in cli.commands[command].params
        if isinstance(option, click.Option)
        and not option.is_flag
        and isinstance(option.default, str | int | float)
        and (command, option.name) not in OF_THE_COMMAND
    }


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_defaults_are_the_librarys(command: str) -> None:
    """What `--help` shows as a default is what the library would do by itself."""
    fields = {
        field.name: field.default for config in CONFIGS.get(command, ()) for field in dataclasses.fields(config)
    }

    assert defaults(command) == {name: fields.get(name) for name in defaults(command)}


@pytest.mark.parametrize("command", sorted(CONFIGS))
def test_switches_that_are_not_given_mean_the_librarys_default(command: str) -> None:
    """A switch of three states, such as --head-start/--no-head-start, is not off when it is left out."""
    fields = {field.name: field for config in CONFIGS[command] for field in dataclasses.fields(config)}
    context = click.Context(cli.commands[command])
    for option in cli.commands[command].params:
        if isinstance(option, click.Option) and option.is_flag and option.name in fields:
            value = option.type_cast_value(context, option.get_default(context))
            assert value == fields[option.name].default, option.name


def test_defaults_are_found() -> None:
    """The comparison above is of something."""
    assert sum(len(defaults(command)) for command in cli.commands) > 40
