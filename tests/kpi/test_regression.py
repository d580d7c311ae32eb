"""`alti2v kpi`: what was put into invented KPIs is found again, and measured as scikit-learn measures it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alti2v.cli import main
from alti2v.errors import DataError, UsageError
from alti2v.kpi.config import KpiConfig
from alti2v.kpi.data import KpiKind, SplitRows
from alti2v.kpi.regression import KpiReport, loss_ratio, regress
from tests.model.helpers.tiny_dataset import square, write_dataset

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install 'alti2v[kpi]'")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    numbers = iter(range(600))
    splits = {
        split: [square(next(numbers), size=8) for _ in range(count)]
        for split, count in (("train", 400), ("validation", 80), ("test", 120))
    }
    return write_dataset(tmp_path_factory.mktemp("kpi") / "dataset", splits, size=8, shard_samples=200)


def carries(number: int, tag: str) -> bool:
    return tag in square(number, size=8).tags


def write_csv(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def regressed(dataset: Path, table: Path, **options: object) -> KpiReport:
    config = KpiConfig(dataset=dataset, out=table.parent / "out", table=table, bootstraps=20)
    return regress(replace(config, **options))  # type: ignore[arg-type]


def side(value: np.ndarray, weight: np.ndarray) -> SplitRows:
    return SplitRows(value=value, weight=weight, baseline=np.zeros((len(value), 1)), picture=None)


def test_normalized_entropy_is_that_of_the_paper() -> None:
    """He et al. 2014, equation 1: mean log loss over the entropy of the mean rate, per impression."""
    from sklearn.metrics import log_loss

    rng = np.random.default_rng(0)
    shown = rng.integers(1, 9, 50).astype(float)
    clicks = rng.binomial(shown.astype(int), 0.3).astype(float)
    said = rng.uniform(0.1, 0.9, 50)
    labels, weights = np.repeat([1, 0], 50), np.concatenate([clicks, shown - clicks])
    p = clicks.sum() / shown.sum()
    entropy = -(p * math.log(p) + (1 - p) * math.log(1 - p))
    expected = log_loss(labels, np.tile(said, 2), sample_weight=weights) / entropy

    assert loss_ratio(KpiKind.RATE, side(clicks, shown), said, np.ones(50)) == pytest.approx(expected)
    assert loss_ratio(KpiKind.RATE, side(clicks, shown), np.full(50, p), np.ones(50)) == pytest.approx(1)


def test_other_ratios_are_those_of_scikit_learn() -> None:
    """1 - D2 of the Poisson deviance for counts, 1 - R2 for numbers."""
    from sklearn.metrics import d2_tweedie_score, r2_score

    rng = np.random.default_rng(0)
    counts, said = rng.poisson(3, 80).astype(float), rng.uniform(1, 6, 80)
    plain = side(counts, np.ones(80))

    assert loss_ratio(KpiKind.COUNT, plain, said, np.ones(80)) == pytest.approx(
        1 - d2_tweedie_score(counts, said, power=1)
    )
    assert loss_ratio(KpiKind.NUMBER, plain, said, np.ones(80)) == pytest.approx(1 - r2_score(counts, said))


def test_a_rate_that_follows_a_tag(dataset: Path, tmp_path: Path) -> None:
    """Red is clicked more, blue less: both are named with sign and size, and facts alone know nothing."""
    rng = np.random.default_rng(3)
    rows = []
    for number in range(600):
        odds = -1.0 + 1.5 * carries(number, "red") - 1.5 * carries(number, "blue")
        rows.append(f"{1000 + number},{rng.binomial(200, 1 / (1 + math.exp(-odds)))},200")
    report = regressed(dataset, write_csv(tmp_path / "k.csv", "id,clicks,impressions", rows))
    facts, picture, both = report.models

    assert (report.kind, report.train, report.validation, report.test) == ("rate", 400, 80, 120)
    assert report.raising[0].tag == "red"
    assert report.lowering[0].tag == "blue"
    assert report.raising[0].coefficient.value == pytest.approx(1.5, abs=0.15)
    assert report.raising[0].coefficient.low > 1
    assert facts.loss_ratio.value == pytest.approx(1, abs=0.02)
    assert both.loss_ratio.high < 0.95
    assert report.gain.low > 0.05
    assert picture.auc is not None
    assert picture.auc.low > 0.6
    assert picture.calibration is not None
    assert picture.calibration.value == pytest.approx(1, abs=0.05)


def test_a_count_that_follows_a_tag(dataset: Path, tmp_path: Path) -> None:
    """A Poisson mean that green doubles gives a coefficient of log 2."""
    rng = np.random.default_rng(4)
    rows = [f"{1000 + n},{rng.poisson(20 * (2 if carries(n, 'green') else 1))}" for n in range(600)]
    report = regressed(dataset, write_csv(tmp_path / "k.csv", "id,likes", rows), column="likes")

    assert report.kind == "count"
    assert report.raising[0].tag == "green"
    assert report.raising[0].coefficient.value == pytest.approx(math.log(2), abs=0.08)


def test_a_number_that_follows_nothing(dataset: Path, tmp_path: Path) -> None:
    """Noise is not explained: the interval of the gain holds 0, gaps are left out and counted."""
    rng = np.random.default_rng(5)
    rows = [f"{1000 + n},{'' if n % 10 == 0 else rng.normal():.4}" for n in range(600) if n % 10]
    rows += [f"{1000 + n}," for n in range(0, 600, 10)]
    report = regressed(dataset, write_csv(tmp_path / "k.csv", "id,mood", rows), column="mood")

    assert report.kind == "number"
    assert report.missing == 60
    assert report.models[2].calibration is None
    assert report.gain.low < 0.02


@pytest.mark.parametrize(
    ("header", "rows", "words"),
    [
        ("id,clicks,impressions", [f"{1000 + n},5,10" for n in range(600)], "single value"),
        ("id,clicks,impressions", [f"{1000 + n},," for n in range(600)], "is empty for every picture"),
        ("id,clicks,impressions", ["1000,7,3"], "7 clicks in 3 impressions"),
        ("id,score", ["1000,many"], "not a number"),
        ("id,score", ["a,1"], "not a post id"),
        ("score,id", ["5"], "not a post id"),
        ("id,score", ["1000,1", "1000,2"], "id 1000 occurs twice"),
        (
            "id,score",
            [f"{1000 + n},{n % 5 if n < 400 else 3}" for n in range(600)],
            "pictures of the test split",
        ),
        (
            "id,score",
            [f"{1000 + n},{0 if n < 400 else n % 5}" for n in range(600)],
            "pictures of the train split",
        ),
        ("id,score", ["1000,1", "1001,5"], "test split"),
        ("number,score", ["1,1"], "no column id"),
        ("id,likes", ["1000,1"], "no column 'score'"),
    ],
)
def test_what_cannot_be_regressed_is_one_line(
    dataset: Path, tmp_path: Path, header: str, rows: list[str], words: str
) -> None:
    """Each says what is wrong with which file or column."""
    with pytest.raises((DataError, UsageError), match=words):
        regressed(dataset, write_csv(tmp_path / "k.csv", header, rows))


def test_a_dataset_without_scores(dataset: Path, tmp_path: Path) -> None:
    """A dataset whose posts have no votes is refused with a line that says so."""
    with pytest.raises(DataError, match="score is empty for every picture"):
        regress(KpiConfig(dataset=dataset, out=tmp_path))


def test_the_command_writes_both_files(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """JSON and a page, and the same report on standard output."""
    rows = [f"{1000 + n},{3 + n % 7 + 4 * carries(n, 'red')}" for n in range(600)]
    table = write_csv(tmp_path / "k.csv", "id,score", rows)
    arguments = [str(dataset), "--table", str(table), "--out", str(tmp_path / "out"), "--bootstraps", "5"]
    with pytest.raises(SystemExit) as ending:
        main(["kpi", *arguments, "--json"])
    printed = json.loads(capsys.readouterr().out)
    page = (tmp_path / "out" / "report.html").read_text()

    assert ending.value.code == 0
    assert json.loads((tmp_path / "out" / "kpi.json").read_text()) == printed
    assert "red" in page
    assert "http" not in page.replace("http-equiv", "")


def test_rows_that_cannot_be_used_do_not_stop_the_others(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are named and counted, the report is written, and the exit status is 1."""
    rows = [f"{1000 + n},{3 + n % 7 + 4 * carries(n, 'red')},caf\u00e9" for n in range(600)]
    rows[5:5] = ["many,1,", "1001,2,twice", "1007"]
    rows[20] = f"{rows[20].partition(',')[0]},lots,"
    table = tmp_path / "k.csv"
    table.write_bytes("\ufeffid,score,note\r\n".encode() + "\r\n".join(rows).encode("latin-1"))
    arguments = [str(dataset), "--table", str(table), "--out", str(tmp_path / "out"), "--bootstraps", "2"]
    with pytest.raises(SystemExit) as ending:
        main(["kpi", *arguments, "--json"])
    printed = capsys.readouterr()
    unusable = json.loads(printed.out)["unusable"]

    assert ending.value.code == 1
    assert [line.partition("csv: id ")[2].partition(":")[0] for line in unusable] == [
        "'many' is not a post id",
        "1001 occurs twice",
        "1007 occurs twice",
        "1017",
    ]
    assert all(line in printed.err for line in unusable)
    assert "4 rows cannot be used: the first are named above; all others are used" in printed.err
    assert (tmp_path / "out" / "report.html").exists()
