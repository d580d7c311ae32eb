"""Regression of a KPI on the contents of pictures: the orchestrator of `alti2v kpi`.

Three models use the same pictures: plain facts alone (age, size, rating), the picture alone, and both. They are
fitted on the training split, their penalty is chosen on the validation split, and the test split evaluates
them.

The measure is the loss divided by that of predicting the mean; less than 1 is better. For rates this is the
normalized entropy of He et al. 2014, "Practical Lessons from Predicting Clicks on Ads at Facebook", section 3:
the mean log loss per impression over the entropy of the mean rate of the same impressions. For counts it is the
Poisson deviance over that of the mean, for numbers the squared error over the variance.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alti2v.arrays import Float64Array, Int64Array
from alti2v.errors import UsageError
from alti2v.kpi.config import KpiConfig
from alti2v.kpi.data import BASELINE, KpiData, KpiKind, SplitRows, read_kpi_data, read_target
from alti2v.records import Progress, ProgressHook, ignore_progress

_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)
_TOP = 20
MODELS = ("facts", "picture", "both")
MEASURES = {
    KpiKind.RATE: "normalized entropy",
    KpiKind.COUNT: "deviance over the mean's",
    KpiKind.NUMBER: "squared error over the variance",
}


@dataclass(frozen=True, slots=True)
class FigureEstimate:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelScore:
    """Scores of a model on the test split.

    Attributes:
        name: One of `MODELS`.
        loss_ratio: Loss over that of the mean, see the module; below 1 is better than the mean.
        auc: For a rate, probability that an impression with a click ranks above one without; else None.
        calibration: Sum of predictions / sum of observations; None if values can be negative.
        penalty: Penalty chosen on the validation split.
    """

    name: str
    loss_ratio: FigureEstimate
    auc: FigureEstimate | None
    calibration: FigureEstimate | None
    penalty: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Effect of a tag in the model of both facts and tags.

    Attributes:
        tag: Name of the tag.
        coefficient: Summand of the log-odds of a rate, the logarithm of a count's mean, or a number itself.
        pictures: Number of training pictures with the tag.
    """

    tag: str
    coefficient: FigureEstimate
    pictures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiReport:
    """Result of `regress`. `raising` and `lowering` hold the largest effects of tags; empty for vectors.

    `unusable` has a line for each row of the table that cannot be used; the others are.
    """

    dataset: Path
    kpi: str
    kind: str
    measure: str
    train: int
    validation: int
    test: int
    missing: int
    unusable: tuple[str, ...]
    models: tuple[ModelScore, ...]
    gain: FigureEstimate
    raising: tuple[Effect, ...]
    lowering: tuple[Effect, ...]
    seconds: float


def regress(config: KpiConfig, *, progress: ProgressHook = ignore_progress) -> KpiReport:
    """Fit and evaluate the three models.

    Raises:
        UsageError: The dataset, table or column does not exist, or scikit-learn is not installed.
        DataError: The KPI has a single value or none, or a split has too few pictures.
        DamagedError: The dataset is damaged.
    """
    begun_s = time.monotonic()
    try:
        import sklearn  # noqa: F401 - here, so that nothing is read in vain
    except ImportError as exc:
        raise UsageError("a KPI needs scikit-learn: pip install 'alti2v[kpi]'") from exc
    target = read_target(config.dataset, config.table, config.column)
    data = read_kpi_data(config.dataset, target, vectors=config.vectors, min_count=config.min_count)
    test = data.sides["test"]
    rng = np.random.default_rng(0)
    draws = rng.multinomial(len(test.value), np.full(len(test.value), 1 / len(test.value)), config.bootstraps)
    scores, predicted = [], {}
    for done, name in enumerate(MODELS):
        progress(Progress(stage="fitting", done=done, total=len(MODELS), unit="models"))
        penalty, predict = _fitted(data, name)
        predicted[name] = predict(_design(data, test, name))
        scores.append(_score(name, data.kind, test, predicted[name], draws, penalty))
    progress(Progress(stage="fitting", done=len(MODELS), total=len(MODELS), unit="models"))

    def loss(name: str, draw: Float64Array) -> float:
        return loss_ratio(data.kind, test, predicted[name], draw)

    effects = _effects(data, scores[-1].penalty, config.bootstraps, rng, progress) if data.columns else []
    counts = {split: len(side.value) for split, side in data.sides.items()}
    return KpiReport(
        dataset=config.dataset,
        kpi=data.name,
        kind=data.kind.value,
        measure=MEASURES[data.kind],
        train=counts["train"],
        validation=counts.get("validation", 0),
        test=counts["test"],
        missing=data.missing,
        unusable=target.unusable,
        models=tuple(scores),
        gain=_estimate(lambda draw: loss("facts", draw) - loss("both", draw), draws),
        raising=tuple(one for one in effects[:_TOP] if one.coefficient.value > 0),
        lowering=tuple(one for one in effects[::-1][:_TOP] if one.coefficient.value < 0),
        seconds=round(time.monotonic() - begun_s, 3),
    )


def loss_ratio(kind: KpiKind, side: SplitRows, predicted: Float64Array, draw: Float64Array) -> float:
    """Return the loss over that of the mean of the same pictures; `draw` holds each picture's weight."""
    value, weight = side.value, side.weight
    mean = float((draw * value).sum() / (draw * weight).sum())
    ours, theirs = (
        float((draw * _losses(kind, value, weight, said)).sum())
        for said in (predicted, np.full(len(value), mean))
    )
    return ours / theirs if theirs > 0 else float("nan")


def _losses(kind: KpiKind, value: Float64Array, weight: Float64Array, said: Float64Array) -> Float64Array:
    losses: Float64Array
    if kind is KpiKind.NUMBER:
        losses = np.square(value - said)
        return losses
    least = 1e-12
    if kind is KpiKind.RATE:
        p = np.clip(said, least, 1 - least)
        losses = -(value * np.log(p) + (weight - value) * np.log1p(-p))
        return losses
    mean = np.maximum(said, least)
    losses = 2 * (np.where(value > 0, value * np.log(np.maximum(value, least) / mean), 0.0) - value + mean)
    return losses


def _design(data: KpiData, side: SplitRows, name: str) -> Any:  # noqa: ANN401 - scipy has no types
    """Return the columns of a model: dense ones standardised by the training split, tags as 0 and 1."""
    from scipy.sparse import csr_matrix, hstack

    def standard(own: Float64Array, train: Float64Array) -> Float64Array:
        spread = train.std(axis=0)
        scaled: Float64Array = (own - train.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        return scaled

    train = data.sides["train"]
    facts = standard(side.baseline, train.baseline)
    picture = side.picture if data.columns else standard(side.picture, train.picture)
    if name == "facts":
        return facts
    if name == "picture":
        return picture
    return hstack([csr_matrix(facts), picture]).tocsr() if data.columns else np.hstack([facts, picture])


def _fitted(data: KpiData, name: str) -> tuple[float, Callable[[Any], Float64Array]]:
    """Return the best penalty on the validation split, and the prediction of its model."""
    train, validation = data.sides["train"], data.sides.get("validation")
    design = _design(data, train, name)
    if validation is None:
        return 1.0, _fit(data.kind, design, train, 1.0, np.ones(len(train.value)))[0]
    seen, once = _design(data, validation, name), np.ones(len(validation.value))
    fits = [
        (penalty, _fit(data.kind, design, train, penalty, np.ones(len(train.value)))[0])
        for penalty in _PENALTIES
    ]
    return min(fits, key=lambda fit: loss_ratio(data.kind, validation, fit[1](seen), once))


def _fit(
    kind: KpiKind,
    design: Any,  # noqa: ANN401 - scipy has no types
    side: SplitRows,
    penalty: float,
    draw: Float64Array,
) -> tuple[Callable[[Any], Float64Array], Float64Array]:
    """Fit a model; return its prediction and coefficients (D,). The penalty is on the sum over pictures."""
    from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge

    if kind is KpiKind.RATE:
        from scipy.sparse import issparse, vstack

        # Each picture occurs twice: weighted by its clicks, and by its impressions without a click.
        twice = vstack([design, design]) if issparse(design) else np.vstack([design, design])
        clicked = np.repeat([1, 0], len(side.value))
        weights = np.concatenate([side.value, side.weight - side.value]) * np.tile(draw, 2)
        logistic = LogisticRegression(C=1 / penalty, max_iter=500).fit(twice, clicked, weights)
        return lambda x: logistic.predict_proba(x)[:, 1], logistic.coef_[0]
    if kind is KpiKind.COUNT:
        poisson = PoissonRegressor(alpha=penalty / draw.sum(), max_iter=500).fit(design, side.value, draw)
        return poisson.predict, poisson.coef_
    ridge = Ridge(alpha=penalty).fit(design, side.value, draw)
    return ridge.predict, ridge.coef_


def _score(
    name: str, kind: KpiKind, test: SplitRows, predicted: Float64Array, draws: Int64Array, penalty: float
) -> ModelScore:
    def auc(draw: Float64Array) -> float:
        from sklearn.metrics import roc_auc_score

        weights = np.concatenate([test.value, test.weight - test.value]) * np.tile(draw, 2)
        labels, kept = np.repeat([1, 0], len(predicted)), weights > 0
        if len(set(labels[kept].tolist())) < 2:
            return float("nan")
        return float(roc_auc_score(labels[kept], np.tile(predicted, 2)[kept], sample_weight=weights[kept]))

    def calibration(draw: Float64Array) -> float:
        return float((draw * test.weight * predicted).sum() / max((draw * test.value).sum(), 1e-12))

    return ModelScore(
        name=name,
        loss_ratio=_estimate(lambda draw: loss_ratio(kind, test, predicted, draw), draws),
        auc=_estimate(auc, draws) if kind is KpiKind.RATE else None,
        calibration=None if kind is KpiKind.NUMBER else _estimate(calibration, draws),
        penalty=penalty,
    )


def _effects(
    data: KpiData, penalty: float, bootstraps: int, rng: np.random.Generator, progress: ProgressHook
) -> list[Effect]:
    """Return the effect of each tag, the largest first, with bootstrap intervals."""
    train = data.sides["train"]
    design, count = _design(data, train, "both"), len(train.value)
    _, whole = _fit(data.kind, design, train, penalty, np.ones(count))
    drawn = []
    for done in range(bootstraps):
        progress(Progress(stage="intervals", done=done, total=bootstraps, unit="fits"))
        draw = rng.multinomial(count, np.full(count, 1 / count)).astype(float)
        drawn.append(_fit(data.kind, design, train, penalty, draw)[1])
    progress(Progress(stage="intervals", done=bootstraps, total=bootstraps, unit="fits"))
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    carriers = np.asarray(train.picture.sum(axis=0)).reshape(-1)
    skip = len(BASELINE)
    effects = [
        Effect(
            tag=tag,
            coefficient=FigureEstimate(float(whole[skip + i]), float(low[skip + i]), float(high[skip + i])),
            pictures=int(carriers[i]),
        )
        for i, tag in enumerate(data.columns)
    ]
    return sorted(effects, key=lambda effect: -effect.coefficient.value)


def _estimate(figure: Callable[[Float64Array], float], draws: Int64Array) -> FigureEstimate:
    value = figure(np.ones(draws.shape[1]))
    found = [figure(draw.astype(float)) for draw in draws]
    low, high = np.nanpercentile(found, [2.5, 97.5])
    return FigureEstimate(round(value, 6), round(float(low), 6), round(float(high), 6))
