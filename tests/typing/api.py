"""The public API as a type checker sees it: mypy reads this file, nothing runs it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import assert_type

import alti2v

store, dataset, run = Path("store"), Path("dataset"), Path("run")


def show(progress: alti2v.Progress) -> None:
    """Be a progress hook."""


hook: alti2v.ProgressHook = show
assert_type(hook, Callable[[alti2v.Progress], None])

crawled = alti2v.crawl_board(alti2v.CrawlConfig(store=store, board="safebooru"), progress=show)
assert_type(crawled, alti2v.CrawlReport)
assert_type(crawled.stored, int)
assert_type(alti2v.store_status(store), alti2v.StoreStatus)
assert_type(alti2v.verify_store(store), alti2v.Verification)

assert_type(alti2v.build_shards(alti2v.BuildConfig(store=store, dataset=dataset)), alti2v.BuildReport)
assert_type(alti2v.verify_dataset(dataset).findings, tuple[alti2v.Finding, ...])
assert_type(alti2v.dataset_stats(alti2v.StatsConfig(dataset=dataset)), alti2v.DatasetStats)
assert_type(alti2v.open_dataset("s3://bucket/dataset", alti2v.CacheConfig()), Path)
assert_type(alti2v.read_sample(dataset, 7), alti2v.StoredSample)
assert_type(alti2v.read_sample(dataset, 7).picture, bytes)
assert_type(alti2v.read_samples(dataset, [7, 8]), Iterator[alti2v.StoredSample])

assert_type(alti2v.train(alti2v.TrainConfig(dataset=dataset, run=run)), alti2v.TrainReport)
assert_type(alti2v.evaluate(alti2v.EvalConfig(run=run)), alti2v.Evaluation)
assert_type(alti2v.write_evaluation(alti2v.EvalConfig(run=run)), alti2v.EvaluationReport)
assert_type(
    alti2v.write_comparison(alti2v.CompareConfig(models=(run, "hf:owner/name"))),
    alti2v.ComparisonReport,
)
assert_type(alti2v.export(alti2v.ExportConfig(run=run, out=Path("out"))), alti2v.ExportReport)

tagger = alti2v.load_tagger(run)
assert_type(tagger, alti2v.Tagger)
assert_type(tagger.estimate_specific_tags([Path("picture.jpg")], ["1girl"]), list[dict[str, float]])

assert_type(
    alti2v.embed(alti2v.EmbedConfig(model=run, inputs=("pictures",), out=Path("vectors.parquet")), show=print),
    alti2v.EmbedReport,
)
assert_type(
    alti2v.search(alti2v.SearchConfig(vectors=Path("vectors.parquet"), tags="1girl")),
    alti2v.SearchReport,
)

assert_type(alti2v.run_demo(alti2v.DemoConfig(out=Path("demo"))), alti2v.DemoReport)
assert_type(alti2v.serve_board(alti2v.BoardConfig(posts=100), announce=print), None)

assert_type(alti2v.UsageError("").exit_status, int)
try:
    alti2v.train(alti2v.TrainConfig(dataset=dataset, run=run))
except alti2v.Alti2vError as error:
    assert_type(error, alti2v.Alti2vError)

alti2v.unheard_of  # type: ignore[attr-defined]  # noqa: B018 - an error to mypy, too
alti2v.CrawlConfig(store=store)  # type: ignore[call-arg]
