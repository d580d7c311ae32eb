"""The training loop: Keras' `fit`, an epoch at a time, between checkpoints that hold all it depends on."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from alti2v.errors import DataError
from alti2v.model.data.input_wait import InputWait
from alti2v.model.data.pipeline import (
    Batch,
    evaluation_batches,
    ids_of_batch,
    reading_errors,
    training_batches,
)
from alti2v.model.network.build import Network
from alti2v.model.training.callbacks import Steps, callbacks_of
from alti2v.model.training.checkpoints import (
    Position,
    is_finite,
    load_best,
    load_newest,
    newest_step,
    save_best,
    save_checkpoint,
)
from alti2v.model.training.compiled_model import CompiledModel, build_for, prepare
from alti2v.model.training.estimate import require_memory
from alti2v.model.training.feature_cache import cached_batches, compute_features
from alti2v.model.training.finish import figures, write_model
from alti2v.model.training.initial_weights import give_start
from alti2v.model.training.interrupts import deferred_interrupt
from alti2v.model.training.job import Job
from alti2v.model.training.log import epoch_line, log_csv
from alti2v.model.training.tensorboard import log_epoch
from alti2v.model.training.validation import Validation, validate
from alti2v.records import Progress, ProgressHook, Tag
from alti2v.storage.directory import DirectoryKind, write_description
from alti2v.storage.layout import CHECKPOINTS_DIR, DIVERGED_FILE, LOG_FILE, TENSORBOARD_DIR
from alti2v.storage.publish import publish_bytes, publish_json

_EXAMPLES = 4  # pictures for TensorBoard
_NAMED = 8  # pictures that a message names; a file holds all


def fit(job: Job, *, progress: ProgressHook, clock: Callable[[], float]) -> tuple[Mapping[str, Any], int]:
    """Train from the newest checkpoint to the end, and write the model.

    Returns:
        The fields of a `TrainReport` that the training decides, and the step that it went on from.

    Raises:
        RemoteError: ImageNet's weights cannot be fetched.
        UsageError: the weights do not fit.
        DamagedError: a picture cannot be read.
        DataError: the loss is no number any more.
        StorageError: a checkpoint or the model cannot be written.
    """
    network = build_for(job)
    require_memory(job, network)
    stage, compiled = 0, prepare(job, network, job.stages[0])

    def variables_of(found: Mapping[str, Any]) -> Sequence[Any]:
        nonlocal stage, compiled
        if found["stage"] != stage:
            stage, compiled = found["stage"], prepare(job, network, job.stages[found["stage"]])
        return compiled.variables

    found = load_newest(job.run / CHECKPOINTS_DIR, variables_of)
    position = Position() if found is None else Position(**found)
    loop = _Loop(job, compiled, position, progress, clock)
    resumed_from_step = position.step
    if found is None:
        line = give_start(job, network)
        if line:
            progress(Progress(stage="start", done=1, total=1, unit="network", milestone=line))
    # Only now, when nothing is left that could refuse, does the directory become this run.
    if job.processes.is_first:
        write_description(job.run, DirectoryKind.RUN, job.settings)
    if found is None:
        # Whatever happens before the next one, there is a checkpoint from before it.
        loop.save()
    validation = loop.run()
    if job.processes.is_first:
        write_model(job, network, position, validation)
    return figures(job, position, validation, parameters=network.logits.count_params()), resumed_from_step


class _Loop:
    """A running training: the position moves with every step; checkpoints and the log follow it."""

    def __init__(
        self,
        job: Job,
        compiled: CompiledModel,
        position: Position,
        progress: ProgressHook,
        clock: Callable[[], float],
    ) -> None:
        self._job = job
        self._trainee = compiled
        self._position = position
        self._progress = progress
        self._clock = clock
        self._now_s = self._saved_s = clock()
        self._are_features_there = False

    def run(self) -> Validation | None:
        """Train to the end.

        Returns:
            What the validation split says of the network as it is then: the best one that was validated.
        """
        job, position = self._job, self._position
        validation = None
        # A row in the log is what ends an epoch: a run that was stopped before it begins with it.
        while len(position.log) < job.recipe.epochs and not self._is_patience_over():
            epoch = len(position.log)
            if job.stage_of(epoch) != position.stage:
                position.stage = job.stage_of(epoch)
                self._trainee = prepare(job, self._trainee.network, job.stages[position.stage])
            if self._trainee.is_cached and not self._are_features_there:
                self._compute_features()
            if position.step < (epoch + 1) * job.steps_per_epoch:
                self._train_epoch(epoch)
            with self._saved_on_interrupt():
                validation = self._look_back(epoch)
            if len(position.log) == job.recipe.epochs or self._is_patience_over() or self._is_save_due():
                self.save()
        return self._take_best(validation)

    def save(self) -> None:
        """Write a checkpoint."""
        self._saved_s = self._clock()
        if not self._job.processes.is_first:
            return
        values = self._trainee.values()
        if not is_finite(values):
            raise self._diverged("a weight")
        directory, position = self._job.run / CHECKPOINTS_DIR, self._position
        save_checkpoint(directory, position.step, arrays=values, position=asdict(position), keep=self._job.keep)
        self._saved_s = self._clock()

    def _train_epoch(self, epoch: int) -> None:
        """Train what is left of an epoch."""
        job, position, model = self._job, self._position, self._trainee.model
        skipped = position.step - epoch * job.steps_per_epoch
        wait = InputWait()
        seen_before, loss_before = skipped * job.recipe.batch_size, position.loss_sum
        waited_before, mean_before = position.input_seconds, [0.0]

        def count(mean: float) -> None:
            # Keras reports the mean over the samples since `fit` began.
            position.step += 1
            step = position.step - epoch * job.steps_per_epoch
            seen, taken = min(step * job.recipe.batch_size, job.train_samples), step - skipped
            if job.processes.devices > 1 and seen % job.recipe.batch_size:
                # In that mean a last batch that was filled up counts as much as a whole one.
                of_last = taken * mean - (taken - 1) * mean_before[0]
                position.loss_sum += of_last * (seen % job.recipe.batch_size)
            else:
                position.loss_sum = loss_before + mean * (seen - seen_before)
            mean_before[0] = mean
            position.input_seconds = waited_before + wait.seconds
            position.train_seconds += self._tick()
            if not math.isfinite(mean):
                raise self._diverged("the loss")

        steps = Steps(count)

        def look(*, leave: int) -> None:
            counted = position.step
            try:
                steps.count(leave=leave)
                if position.step > counted:
                    self._tell()
                if interrupted():
                    raise KeyboardInterrupt
            except KeyboardInterrupt:
                steps.count()  # the network has taken every step that was sent
                self.save()
                raise

        def after_step(loss: Any) -> None:  # noqa: ANN401 - a scalar of any backend
            steps.add(loss)
            is_save_due = self._is_save_due()
            look(leave=0 if is_save_due else 1)
            # At the end of an epoch the log comes first.
            if is_save_due and position.step % job.steps_per_epoch:
                self.save()

        self._tick()
        with reading_errors(job.dataset, split="train"), deferred_interrupt() as interrupted:
            model.fit(
                wait.timed(self._batches(epoch, skipped)),
                epochs=1,
                verbose=0,
                shuffle=False,
                callbacks=callbacks_of(model, after_step),
            )
            look(leave=0)

    def _batches(self, epoch: int, skipped: int) -> Any:  # noqa: ANN401 - tf.data.Dataset
        job = self._job
        if self._trainee.is_cached:
            return cached_batches(job, epoch=epoch, skip_batches=skipped)
        return training_batches(
            job.dataset,
            batch_size=job.recipe.batch_size,
            seed=job.seed,
            epoch=epoch,
            skip_batches=skipped,
            augmentation=job.recipe.augmentation,
            part=(job.processes.index, job.processes.count) if job.processes.devices > 1 else None,
        )

    def _compute_features(self) -> None:
        """Let the frozen backbone look at every picture once, and say what that costs and saves."""
        job = self._job
        begun_s = self._clock()
        computed, size = compute_features(job, self._trainee.network, progress=self._progress)
        passed_s = self._clock() - begun_s
        self._are_features_there = True
        line = f"features of {job.train_samples:,} pictures are there already, {size / 1e6:,.1f} MB"
        if computed:
            line = (
                f"features of {computed:,} pictures: {passed_s:,.0f} s now, and {size / 1e6:,.1f} MB for all; "
                f"each of {job.stages[0].end_epoch} epochs with the head alone is spared about "
                f"{passed_s * job.train_samples / computed:,.0f} s"
            )
        self._progress(
            Progress(
                stage="features",
                done=job.train_samples,
                total=job.train_samples,
                unit="pictures",
                milestone=line,
            )
        )

    def _tell(self) -> None:
        """Tell how far the training is, inside an epoch."""
        job, position = self._job, self._position
        epoch, step = divmod(position.step - 1, job.steps_per_epoch)
        seen = min((step + 1) * job.recipe.batch_size, job.train_samples)
        self._progress(
            Progress(
                stage="training",
                done=position.step,
                total=job.steps,
                unit="steps",
                counts={
                    "epoch": f"{epoch + 1}/{job.recipe.epochs}",
                    "loss": round(position.loss_sum / seen, 4),
                    "samples/s": round(seen / self._epoch_s(), 1),
                },
            )
        )

    def _look_back(self, epoch: int) -> Validation | None:
        """Validate where it is time, keep the network if it is the best, and end the epoch in the log."""
        job, position = self._job, self._position
        is_last = epoch + 1 == job.recipe.epochs
        is_looked_at = is_last or (epoch + 1) % job.validate_every == 0
        loss = position.loss_sum / job.train_samples
        with self._trainee.averaged():
            validation = validate(job, self._trainee.network) if is_looked_at else None
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
                "learning_rate": float(self._trainee.model.optimizer.learning_rate),
                "samples_per_s": job.train_samples / self._epoch_s(),
                "input_wait": (position.input_seconds - position.epochs_input_seconds) / self._epoch_s(),
                "seconds": position.seconds,
            }
        )
        position.loss_sum = 0.0
        position.epochs_train_seconds = position.train_seconds
        position.epochs_input_seconds = position.input_seconds
        if job.processes.is_first:
            publish_bytes(job.run / LOG_FILE, log_csv(position.log))
        if job.processes.is_first and job.tensorboard:
            log_epoch(job.run / TENSORBOARD_DIR, position.log[-1], validation, self._examples(validation))
        self._progress(
            Progress(
                stage="training",
                done=position.step,
                total=job.steps,
                unit="steps",
                milestone=epoch_line(position.log, epochs=job.recipe.epochs),
            )
        )
        return validation

    def _examples(self, validation: Validation | None) -> tuple[Network, Batch, Sequence[Tag]] | None:
        if validation is None:
            return None
        batches = evaluation_batches(self._job.dataset, split="validation", batch_size=_EXAMPLES)
        return self._trainee.network, next(batches), self._job.tags

    def _keep_if_best(self, epoch: int, validation: Validation | None) -> None:
        position = self._position
        if validation is None or validation.mean_ap is None:
            return
        if position.best_map is not None and validation.mean_ap <= position.best_map:
            position.worse += 1
            return
        position.best_map, position.best_epoch, position.worse = validation.mean_ap, epoch + 1, 0
        if self._job.processes.is_first:
            save_best(
                self._job.run / CHECKPOINTS_DIR,
                arrays=[np.asarray(variable) for variable in self._trainee.network.logits.variables],
                position={"epoch": epoch + 1, "map": validation.mean_ap},
            )
        self._job.processes.barrier()

    def _take_best(self, last: Validation | None) -> Validation | None:
        """Leave the best network that was validated, and what was said of it."""
        job, position, network = self._job, self._position, self._trainee.network
        is_averaging = job.recipe.ema is not None
        if last is not None and position.best_epoch in (0, len(position.log)) and not is_averaging:
            return last
        best = load_best(job.run / CHECKPOINTS_DIR, network.logits.variables) if position.best_epoch else None
        if best is None and is_averaging:
            self._trainee.take_average()
        return validate(job, network)

    def _is_patience_over(self) -> bool:
        return self._job.patience is not None and self._position.worse >= self._job.patience

    def _epoch_s(self) -> float:
        """Spent in steps of the epoch so far."""
        return max(self._position.train_seconds - self._position.epochs_train_seconds, 1e-9)

    def _tick(self) -> float:
        """Count the time since the last tick as spent; returns it, in seconds."""
        passed_s = self._clock() - self._now_s
        self._now_s += passed_s
        self._position.seconds += passed_s
        return passed_s

    def _is_save_due(self) -> bool:
        return self._clock() - self._saved_s >= self._job.checkpoint_s

    @contextlib.contextmanager
    def _saved_on_interrupt(self) -> Iterator[None]:
        """Save on Ctrl-C, so that nothing is done twice; only around what leaves the position true."""
        try:
            yield
        except KeyboardInterrupt:
            self.save()
            raise

    def _diverged(self, what: str) -> DataError:
        """Say which pictures were in the batch; the file in the run names all of them."""
        job, step = self._job, self._position.step
        epoch, batch = divmod(step - 1, job.steps_per_epoch)
        ids = ids_of_batch(
            job.dataset, batch_size=job.recipe.batch_size, seed=job.seed, epoch=epoch, batch=batch
        )
        if job.processes.is_first:
            publish_json(job.run / DIVERGED_FILE, {"step": step, "epoch": epoch + 1, "ids": list(ids)})
        named = ", ".join(map(str, ids[:_NAMED])) + (" ..." if len(ids) > _NAMED else "")
        return DataError(
            f"{what} is no number any more at step {step}, with the pictures {named} "
            f"({DIVERGED_FILE} names all); the checkpoint of step {newest_step(job.run / CHECKPOINTS_DIR)} is "
            f"from before: train into another folder with a learning rate below {job.recipe.learning_rate:g}"
        )
