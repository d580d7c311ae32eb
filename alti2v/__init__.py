"""alti2v: build your own illustration tagger from an image board or from pictures that you have.

This is the public API; everything else may change in any release. Each step is one function that takes one
configuration object:

    from pathlib import Path

    import alti2v

    store, dataset, run = Path("store"), Path("dataset"), Path("run")
    alti2v.crawl_board(alti2v.CrawlConfig(store=store, board="safebooru", limit=5000))
    alti2v.build_shards(alti2v.BuildConfig(store=store, dataset=dataset, test=500, validation=500))
    alti2v.train(alti2v.TrainConfig(dataset=dataset, run=run))
    report = alti2v.write_evaluation(alti2v.EvalConfig(run=run))
    tagger = alti2v.load_tagger(run)

Names are imported on first use, so `import alti2v` itself loads no dependency. The function of a crawl is not
called `crawl`, because a package has that name.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# Module -> the public names that it defines, imported when one of them is first used.
_NAMES_OF = {
    "alti2v.crawl.config": ("CrawlConfig",),
    "alti2v.crawl.crawler": ("crawl_board",),
    "alti2v.crawl.importing.config": ("ImportConfig",),
    "alti2v.crawl.importing.importer": ("import_pictures",),
    "alti2v.crawl.importing.report": ("ImportReport",),
    "alti2v.crawl.report": ("CrawlReport",),
    "alti2v.crawl.status": ("StoreStatus", "store_status"),
    "alti2v.crawl.verify": ("verify_store",),
    "alti2v.dataset.build": ("build_shards",),
    "alti2v.dataset.check.verify": ("verify_dataset",),
    "alti2v.dataset.config": ("BuildConfig",),
    "alti2v.dataset.reading": ("StoredSample", "read_sample", "read_samples"),
    "alti2v.dataset.remove": ("RemoveReport", "remove_pictures"),
    "alti2v.dataset.report": ("BuildReport",),
    "alti2v.dataset.shard_cache": ("CacheConfig", "open_dataset"),
    "alti2v.dataset.stats": ("DatasetStats", "StatsConfig", "dataset_stats"),
    "alti2v.demo.board.app": ("serve_board",),
    "alti2v.demo.board.site": ("BoardConfig",),
    "alti2v.demo.config": ("DemoConfig",),
    "alti2v.demo.run": ("DemoReport", "run_demo"),
    "alti2v.errors": (
        "Alti2vError",
        "DamagedError",
        "DataError",
        "HungUpError",
        "RemoteError",
        "StorageError",
        "TerminatedError",
        "UsageError",
        "VersionError",
    ),
    "alti2v.model.compare": ("compare",),
    "alti2v.model.comparison.result": ("Comparison",),
    "alti2v.model.data.pipeline": ("training_batches",),
    "alti2v.model.evaluate": ("evaluate",),
    "alti2v.model.evaluation.result": ("Evaluation",),
    "alti2v.model.export": ("ExportReport", "export"),
    "alti2v.model.options.evaluation": ("CompareConfig", "EvalConfig"),
    "alti2v.model.options.export": ("ExportConfig",),
    "alti2v.model.options.training": ("TrainConfig",),
    "alti2v.model.recipes": ("Augmentation",),
    "alti2v.model.tagging.tagger": ("Tagger", "load_tagger"),
    "alti2v.model.train": ("TrainReport", "train"),
    "alti2v.records": ("Finding", "Progress", "ProgressHook", "Verification"),
    "alti2v.report.comparison": ("ComparisonReport", "write_comparison"),
    "alti2v.report.evaluation": ("EvaluationReport", "write_evaluation"),
    "alti2v.serving.app": ("serve",),
    "alti2v.serving.config": ("ServeConfig",),
    "alti2v.vectors.config": ("EmbedConfig", "SearchConfig"),
    "alti2v.vectors.embedding": ("EmbedReport", "embed"),
    "alti2v.vectors.search": ("SearchReport", "search"),
}
_MODULE_OF = {name: module for module, names in _NAMES_OF.items() for name in names}

__all__ = sorted(_MODULE_OF)

if TYPE_CHECKING:  # the same names for type checkers and editors
    from alti2v.crawl.config import CrawlConfig as CrawlConfig
    from alti2v.crawl.crawler import crawl_board as crawl_board
    from alti2v.crawl.importing.config import ImportConfig as ImportConfig
    from alti2v.crawl.importing.importer import import_pictures as import_pictures
    from alti2v.crawl.importing.report import ImportReport as ImportReport
    from alti2v.crawl.report import CrawlReport as CrawlReport
    from alti2v.crawl.status import StoreStatus as StoreStatus
    from alti2v.crawl.status import store_status as store_status
    from alti2v.crawl.verify import verify_store as verify_store
    from alti2v.dataset.build import build_shards as build_shards
    from alti2v.dataset.check.verify import verify_dataset as verify_dataset
    from alti2v.dataset.config import BuildConfig as BuildConfig
    from alti2v.dataset.reading import StoredSample as StoredSample
    from alti2v.dataset.reading import read_sample as read_sample
    from alti2v.dataset.reading import read_samples as read_samples
    from alti2v.dataset.remove import RemoveReport as RemoveReport
    from alti2v.dataset.remove import remove_pictures as remove_pictures
    from alti2v.dataset.report import BuildReport as BuildReport
    from alti2v.dataset.shard_cache import CacheConfig as CacheConfig
    from alti2v.dataset.shard_cache import open_dataset as open_dataset
    from alti2v.dataset.stats import DatasetStats as DatasetStats
    from alti2v.dataset.stats import StatsConfig as StatsConfig
    from alti2v.dataset.stats import dataset_stats as dataset_stats
    from alti2v.demo.board.app import serve_board as serve_board
    from alti2v.demo.board.site import BoardConfig as BoardConfig
    from alti2v.demo.config import DemoConfig as DemoConfig
    from alti2v.demo.run import DemoReport as DemoReport
    from alti2v.demo.run import run_demo as run_demo
    from alti2v.errors import Alti2vError as Alti2vError
    from alti2v.errors import DamagedError as DamagedError
    from alti2v.errors import DataError as DataError
    from alti2v.errors import HungUpError as HungUpError
    from alti2v.errors import RemoteError as RemoteError
    from alti2v.errors import StorageError as StorageError
    from alti2v.errors import TerminatedError as TerminatedError
    from alti2v.errors import UsageError as UsageError
    from alti2v.errors import VersionError as VersionError
    from alti2v.model.compare import compare as compare
    from alti2v.model.comparison.result import Comparison as Comparison
    from alti2v.model.data.pipeline import training_batches as training_batches
    from alti2v.model.evaluate import evaluate as evaluate
    from alti2v.model.evaluation.result import Evaluation as Evaluation
    from alti2v.model.export import ExportReport as ExportReport
    from alti2v.model.export import export as export
    from alti2v.model.options.evaluation import CompareConfig as CompareConfig
    from alti2v.model.options.evaluation import EvalConfig as EvalConfig
    from alti2v.model.options.export import ExportConfig as ExportConfig
    from alti2v.model.options.training import TrainConfig as TrainConfig
    from alti2v.model.recipes import Augmentation as Augmentation
    from alti2v.model.tagging.tagger import Tagger as Tagger
    from alti2v.model.tagging.tagger import load_tagger as load_tagger
    from alti2v.model.train import TrainReport as TrainReport
    from alti2v.model.train import train as train
    from alti2v.records import Finding as Finding
    from alti2v.records import Progress as Progress
    from alti2v.records import ProgressHook as ProgressHook
    from alti2v.records import Verification as Verification
    from alti2v.report.comparison import ComparisonReport as ComparisonReport
    from alti2v.report.comparison import write_comparison as write_comparison
    from alti2v.report.evaluation import EvaluationReport as EvaluationReport
    from alti2v.report.evaluation import write_evaluation as write_evaluation
    from alti2v.serving.app import serve as serve
    from alti2v.serving.config import ServeConfig as ServeConfig
    from alti2v.vectors.config import EmbedConfig as EmbedConfig
    from alti2v.vectors.config import SearchConfig as SearchConfig
    from alti2v.vectors.embedding import EmbedReport as EmbedReport
    from alti2v.vectors.embedding import embed as embed
    from alti2v.vectors.search import SearchReport as SearchReport
    from alti2v.vectors.search import search as search
else:

    def __getattr__(name: str) -> object:
        """Import a public name (PEP 562)."""
        if name not in _MODULE_OF:
            raise AttributeError(f"module 'alti2v' has no attribute {name!r}")
        value = getattr(importlib.import_module(_MODULE_OF[name]), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
