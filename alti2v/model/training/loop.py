"""The training loop: Keras' `fit`, one epoch at a time, with checkpoints of everything it depends on."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from alti2v.errors import DataError
from alti2v.model.data.input_wait import InputWait
from alti2v.model.data.pipeline import Batch, evaluation_batches, ids_of_batch, training_batches
from alti2v.model.data.read_errors import reading_errors
from alti2v.model.data.shards import ReadFailure
from alti2v.model.network.build import Network
from alti2v.model.recipes import HEAD_ONLY
from alti2v.model.training.callbacks import EpochProgress, callbacks_of
from alti2v.model.training.checkpoints import (
    Position,
    is_finite,
    load_best,
    load_start,
    newest_step,
    read_checkpoints,
    save_best,
    save_checkpoint,
    save_start,
)
from alti2v.model.training.compiled_model import CompiledModel, build_for, prepare
from alti2v.model.training.cost.memory import require_memory
from alti2v.model.training.features.batches import feature_batches
from alti2v.model.training.features.files import compute_features
from alti2v.model.training.finish import figures, write_model
from alti2v.model.training.frozen_head import train_frozen_head
from alti2v.model.training.initial_weights import initialise_weights
from alti2v.model.training.job import Job
from alti2v.model.training.log import epoch_line, log_csv, validation_figures
from alti2v.model.training.soft_labels import compute_soft_labels
from alti2v.model.training.tensorboard import log_epoch
from alti2v.model.training.validation import Validation, validate
from alti2v.records import Progress, ProgressHook, Tag
from alti2v.signals import signals_noted
from alti2v.storage.directory import DirectoryKind, write_description
from alti2v.storage.layout import CHECKPOINTS_DIR, DIVERGED_FILE, LOG_FILE, TENSORBOARD_DIR
from alti2v.storage.publish import publish_bytes, publish_json

_EXAMPLES = 4  # pictures for TensorBoard
_NAMED = 8  # pictures named in a message; the file lists all

Interrupt = Callable[[], KeyboardInterrupt | None]  # of `signals_noted`


def fit(job: Job, *, progress: ProgressHook, clock: Callable[[], float]) -> tuple[Mapping[str, Any], int]:
    """Train from the newest checkpoint to the end, and write the model.

    Returns:
        The figures of the training (`finish.figures`), and the step at which it resumed.

    Raises:
        RemoteError: ImageNet's weights cannot be downloaded.
        UsageError: The weights do not fit.
        DamagedError: A picture cannot be read.
        DataError: The loss is not a number.
        StorageError: A checkpoint or the model cannot be written.
    """
    network = build_for(job)
    require_memory(job, network)
    resumed = _resume(job, network)
    compiled, position = resumed or (prepare(job, network, job.phases[0]), Position())
    loop = _Loop(job, compiled, position, progress, clock)
    resumed_from_step = position.step
    line = (
        f"resuming after step {position.step:,} of {job.steps:,}"
        if resumed
        else initialise_weights(job, network)
    )
    if line:
        progress(Progress(stage="start", done=1, total=1, unit="network", milestone=line))
    # The directory becomes this run only now, when nothing can be refused any more.
    if job.processes.is_first:
        write_description(job.run, DirectoryKind.RUN, job.settings.to_json(job.run))
    if resumed is None:
        if job.recipe.soft_labels:
            compute_soft_labels(job, network, progress=progress)
        if job.recipe.head_start:
            train_frozen_head(job, network, progress=progress)
            loop.validate_start()
        loop.save()  # from here on there is always a checkpoint to go back to
    validation = loop.run()
    if job.processes.is_first:
        write_model(job, network, position, validation)
    return figures(job, position, validation, parameters=network.logits.count_params()), resumed_from_step


def _resume(job: Job, network: Network) -> tuple[CompiledModel, Position] | None:
    """Load the newest usable checkpoint, compiled for its phase; None if there is none."""
    for checkpoint in read_checkpoints(job.run / CHECKPOINTS_DIR):
        position = Position(**checkpoint.position)
        if position.stage >= len(job.phases):
            continue
        compiled = prepare(job, network, job.phases[position.stage])
        if checkpoint.assign_to(compiled.variables):
            return compiled, position
    return None


class _Loop:
    """A training in progress: every step moves the position; checkpoints and the log follow it."""

    def __init__(
        self,
        job: Job,
        compiled: CompiledModel,
        position: Position,
        progress: ProgressHook,
        clock: Callable[[], float],
    ) -> None:
        self._job, self._compiled, self._position = job, compiled, position
        self._progress, self._clock = progress, clock
        self._now_s = self._saved_s = clock()
        self._has_features: set[str] = set()  # by the layer that the network is cut in front of

    def run(self) -> Validation | None:
        """Train to the end.

        Returns:
            The validation of the network as it is then: the best one that was validated, or its average with
            the head start.
        """
        job, position = self._job, self._position
        validation = None
        # A row in the log completes an epoch: a run that stopped just before writes the row first.
        while len(position.log) < job.recipe.epochs and not self._is_patience_over():
            epoch = len(position.log)
            if job.phase_of(epoch) != position.stage:
                position.stage = job.phase_of(epoch)
                self._compiled = prepare(job, self._compiled.network, job.phases[position.stage])
            if self._compiled.is_cached:
                self._require_features()
            if position.step < (epoch + 1) * job.steps_per_epoch:
                self._train_epoch(epoch)
            with self._saved_on_interrupt():
                validation = self._end_epoch(epoch)
            if len(position.log) == job.recipe.epochs or self._is_patience_over() or self._is_save_due():
                self.save()
        # Where no epoch was better than the head start, the best network is not the trained one.
        trained = self._weights() if job.recipe.head_start and not position.best_epoch else None
        best = self._restore_best(validation)
        return self._averaged(best, trained) if job.recipe.head_start else best

    def validate_start(self) -> None:
        """Validate the network before the first epoch, which may remain the best one, and store it."""
        save_start(self._job.run / CHECKPOINTS_DIR, self._weights())
        validation = validate(self._job, self._compiled.network, stored=HEAD_ONLY)
        self._keep_if_best(-1, validation)
        if validation is not None and validation.mean_ap is not None:
            self._position.start = {
                "epoch": 0,
                "step": 0,
                "val_loss": validation.loss,
                "val_map": validation.mean_ap,
                "val_micro_f1": validation.micro_f1,
            }
            line = f"before the first epoch: {validation_figures(validation.mean_ap, validation.micro_f1)}"
            self._progress(Progress(stage="head", done=1, total=1, unit="network", milestone=line))

    def save(self) -> None:
        """Write a checkpoint."""
        self._saved_s = self._clock()
        if not self._job.processes.is_first:
            return
        values = self._compiled.values()
        if not is_finite(values):
            raise self._diverged("a weight")
        directory, position = self._job.run / CHECKPOINTS_DIR, self._position
        save_checkpoint(directory, position.step, arrays=values, position=asdict(position), keep=self._job.keep)
        self._saved_s = self._clock()

    def _train_epoch(self, epoch: int) -> None:
        """Train the rest of an epoch."""
        model, wait, failure = self._compiled.model, InputWait(), ReadFailure()
        steps = EpochProgress(self._job, self._position, wait, epoch=epoch)
        self._tick()
        with (
            reading_errors(self._job.dataset, split="train", failure=failure),
            signals_noted() as interrupt,
        ):
            model.fit(
                wait.timed(self._batches(epoch, steps.skipped, failure)),
                epochs=1,
                verbose=0,
                shuffle=False,
                callbacks=callbacks_of(model, functools.partial(self._after_step, steps, interrupt)),
            )
            self._report(steps, interrupt)

    def _after_step(self, steps: EpochProgress, interrupt: Interrupt, loss: Any) -> None:  # noqa: ANN401
        steps.add(loss)
        is_save_due = self._is_save_due()
        self._report(steps, interrupt, leave=0 if is_save_due else 1)
        # At the end of an epoch the log is written first.
        if is_save_due and self._position.step % self._job.steps_per_epoch:
            self.save()

    def _report(self, steps: EpochProgress, interrupt: Interrupt, *, leave: int = 0) -> None:
        """Count all steps except the last `leave`, report progress, and save if the user interrupts."""
        before = self._position.step
        try:
            self._count(steps, leave=leave)
            if self._position.step > before:
                self._report_step()
            # Not in the middle of a step, which could change the optimizer without the step being counted.
            if (requested := interrupt()) is not None:
                raise requested
        except KeyboardInterrupt:
            self._count(steps)  # the network has taken every step that was sent
            self.save()
            raise

    def _count(self, steps: EpochProgress, *, leave: int = 0) -> None:
        for mean in steps.count(leave=leave):
            self._position.train_seconds += self._tick()
            if not math.isfinite(mean):
                raise self._diverged("the loss")

    def _batches(self, epoch: int, skipped: int, failure: ReadFailure) -> Any:  # noqa: ANN401 - tf.data.Dataset
        job = self._job
        if self._compiled.is_cached:
            return feature_batches(
                job,
                epoch=epoch,
                first=self._train_from,
                skip_batches=skipped,
                failure=failure,
            )
        return training_batches(
            job.dataset,
            batch_size=job.recipe.batch_size,
            seed=job.settings.seed,
            epoch=epoch,
            skip_batches=skipped,
            augmentation=job.recipe.augmentation,
            soft_labels=job.soft_labels,
            part=(job.processes.index, job.processes.count) if job.processes.devices > 1 else None,
            failure=failure,
        )

    @property
    def _train_from(self) -> str:
        return self._job.phases[self._position.stage].train_from

    def _require_features(self) -> None:
        """Compute the features that are not stored yet, and report the time that this costs and saves."""
        if self._train_from in self._has_features:
            return
        job = self._job
        begun_s = self._clock()
        splits = [split for split in ("train", "validation") if job.manifest.samples(split)]
        computed, size = compute_features(
            job, self._compiled.network, first=self._train_from, splits=splits, progress=self._progress
        )
        passed_s = self._clock() - begun_s
        self._has_features.add(self._train_from)
        total = sum(job.manifest.samples(split) for split in splits)
        line = f"features of {total:,} pictures are already stored, {size / 1e6:,.1f} MB"
        if computed:
            line = (
                f"features of {computed:,} pictures: {passed_s:,.0f} s now, {size / 1e6:,.1f} MB in all; "
                f"every epoch that uses them saves about {passed_s * total / computed:,.0f} s"
            )
        self._progress(Progress(stage="features", done=total, total=total, unit="pictures", milestone=line))

    def _report_step(self) -> None:
        """Report progress inside an epoch."""
        job, position = self._job, self._position
        epoch, step = divmod(position.step - 1, job.steps_per_epoch)
        seen = min((step + 1) * job.recipe.batch_size, job.train_samples)
        counts: dict[str, str | float] = {
            "epoch": f"{epoch + 1}/{job.recipe.epochs}",
            "loss": round(position.loss_sum / seen, 4),
            "pictures/s": round(seen / self._epoch_s(), 1),
        }
        self._progress(replace(self._progress_now, counts=counts))

    @property
    def _progress_now(self) -> Progress:
        return Progress(stage="training", done=self._position.step, total=self._job.steps, unit="steps")

    def _end_epoch(self, epoch: int) -> Validation | None:
        """Validate if it is due, keep the network if it is the best so far, and log the epoch."""
        job, position = self._job, self._position
        loss = position.loss_sum / job.train_samples
        with self._compiled.averaged():
            validation = self._validate() if job.is_validated(epoch) else None
            self._keep_if_best(epoch, validation)
        self._tick()
        position.log.append(
            {
                "epoch": epoch + 1,
                "step": position.step,
                "loss": loss,
                "val_loss": None if validation is None else validation.loss,
                "val_map": None if validation is None else validation.mean_ap,
                "val_micro_f1": None if validation is None else validation.micro_f1,
                "learning_rate": float(self._compiled.model.optimizer.learning_rate),
                "samples_per_s": job.train_samples / self._epoch_s(),
                "input_wait": (position.input_seconds - position.epochs_input_seconds) / self._epoch_s(),
                "seconds": position.seconds,
            }
        )
        position.loss_sum = 0.0
        position.epochs_train_seconds = position.train_seconds
        position.epochs_input_seconds = position.input_seconds
        if job.processes.is_first:
            rows = [*([] if position.start is None else [position.start]), *position.log]
            publish_bytes(job.run / LOG_FILE, log_csv(rows))
        if job.processes.is_first and job.tensorboard:
            log_epoch(job.run / TENSORBOARD_DIR, position.log[-1], validation, self._examples(validation))
        line = epoch_line(position.log, epochs=job.recipe.epochs)
        self._progress(replace(self._progress_now, milestone=line))
        return validation

    def _examples(self, validation: Validation | None) -> tuple[Network, Batch, Sequence[Tag]] | None:
        if validation is None:
            return None
        batches = evaluation_batches(self._job.dataset, split="validation", batch_size=_EXAMPLES)
        return self._compiled.network, next(batches), self._job.tags

    def _keep_if_best(self, epoch: int, validation: Validation | None) -> None:
        position = self._position
        if validation is None or validation.score is None:
            return
        if position.best_map is not None and validation.score <= position.best_map:
            position.worse += 1
            return
        position.best_map, position.best_epoch, position.worse = validation.score, epoch + 1, 0
        if self._job.processes.is_first:
            save_best(
                self._job.run / CHECKPOINTS_DIR,
                arrays=self._weights(),
                position={"epoch": epoch + 1, "score": validation.score},
            )
        self._job.processes.barrier()

    def _restore_best(self, last: Validation | None) -> Validation | None:
        """Restore the best network that was validated, and return its validation."""
        job, position, network = self._job, self._position, self._compiled.network
        is_averaging = job.recipe.ema is not None
        is_last = position.best_map is None or position.best_epoch == len(position.log)
        if last is not None and is_last and not is_averaging:
            return last
        directory, variables = job.run / CHECKPOINTS_DIR, network.logits.variables
        has_best = position.best_map is not None and load_best(directory, variables)
        if not has_best and is_averaging:
            self._compiled.take_average()
        return self._validate()

    def _averaged(
        self, best: Validation | None, trained: Sequence[npt.NDArray[Any]] | None
    ) -> Validation | None:
        """Take the average of the head start and the trained network if it validates better than the best one.

        Both lie in one basin of the loss, and their average often generalises better than either (Wortsman et
        al. 2022, "Robust fine-tuning of zero-shot models", arXiv:2109.01903, with the average of section 4).
        `trained` are the weights of the trained network; None if it is the best one, which is loaded.
        """
        job, position, variables = self._job, self._position, self._compiled.network.logits.variables
        position.is_averaged = False
        best_weights = self._weights()
        if best is None or best.score is None or not load_start(job.run / CHECKPOINTS_DIR, variables):
            return best
        others = best_weights if trained is None else trained
        _assign(variables, [_mean(pair) for pair in zip(self._weights(), others, strict=True)])
        average = self._validate()
        if average is None or average.mean_ap is None or average.score is None or average.score <= best.score:
            _assign(variables, best_weights)
            return best
        position.is_averaged = True
        line = (
            "average of the head start and the trained network: "
            f"{validation_figures(average.mean_ap, average.micro_f1)}"
        )
        self._progress(replace(self._progress_now, milestone=line))
        return average

    def _weights(self) -> list[npt.NDArray[Any]]:
        return [np.asarray(variable) for variable in self._compiled.network.logits.variables]

    def _validate(self) -> Validation | None:
        stored = None
        if self._compiled.is_cached:
            self._require_features()  # a run of which only the end is left may have lost them
            stored = self._train_from
        return validate(self._job, self._compiled.network, stored=stored)

    def _is_patience_over(self) -> bool:
        return self._job.patience is not None and self._position.worse >= self._job.patience

    def _epoch_s(self) -> float:
        """Seconds spent in steps of the epoch so far."""
        return max(self._position.train_seconds - self._position.epochs_train_seconds, 1e-9)

    def _tick(self) -> float:
        """Add the time since the last tick to the position; return it, in seconds."""
        passed_s = self._clock() - self._now_s
        self._now_s += passed_s
        self._position.seconds += passed_s
        return passed_s

    def _is_save_due(self) -> bool:
        return self._clock() - self._saved_s >= self._job.checkpoint_s

    @contextlib.contextmanager
    def _saved_on_interrupt(self) -> Iterator[None]:
        """Save on an interrupt, so that no work is repeated. The block must not leave the position halfway."""
        try:
            yield
        except KeyboardInterrupt:
            self.save()
            raise

    def _diverged(self, what: str) -> DataError:
        """Make the error that names the pictures of the last batch; a file in the run lists all of them."""
        job, step = self._job, self._position.step
        epoch, batch = divmod(step - 1, job.steps_per_epoch)
        ids = ids_of_batch(
            job.dataset, batch_size=job.recipe.batch_size, seed=job.settings.seed, epoch=epoch, batch=batch
        )
        if job.processes.is_first:
            publish_json(job.run / DIVERGED_FILE, {"step": step, "epoch": epoch + 1, "ids": list(ids)})
        named = ", ".join(map(str, ids[:_NAMED])) + (" ..." if len(ids) > _NAMED else "")
        return DataError(
            f"{what} is not a number at step {step}, with the pictures {named} ({DIVERGED_FILE} lists all); "
            f"the checkpoint of step {newest_step(job.run / CHECKPOINTS_DIR)} is older than that: "
            f"train into another folder with a learning rate below {job.recipe.learning_rate:g}"
        )


def _assign(variables: Sequence[Any], arrays: Sequence[npt.NDArray[Any]]) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def _mean(pair: tuple[npt.NDArray[Any], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Average two arrays of weights; states of random generators are no weights."""
    first, second = pair
    return (first + second) / 2 if first.dtype.kind == "f" else second
