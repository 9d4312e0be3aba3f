"""`train`: from a dataset folder and a recipe to a checkpoint bundle.

SIDs, training on the training events, the best epoch by validation, one look at the test split,
and the bundle. Until the bundle is whole, all that a later sitting needs lies in `<out>.partial/`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from torch import nn

from diger.bundle import schema
from diger.bundle.reader import Bundle
from diger.bundle.writer import check_target
from diger.config import PopularityConfig, Recipe
from diger.data.dataset import Dataset
from diger.errors import Busy, DigerError, Stopped
from diger.evaluation.rankers import Mode, PopularityRanker, SidRanker
from diger.evaluation.ranking import Ranker, SplitRanks, rank_split
from diger.files import replacing
from diger.names import BASELINES
from diger.recommender.base import Recommender
from diger.recommender.build import build_backbone
from diger.recommender.products import arithmetic
from diger.recommender.sasrec import Sasrec
from diger.text import printable
from diger.training import distributed
from diger.training.environment import code_version
from diger.training.export import RunRecord, write_bundle
from diger.training.joint import JointTask
from diger.training.loop import EpochEvent, FitResult, fit, peak_memory
from diger.training.renaming import Reassigned, Renaming, Shuffled
from diger.training.sids import Content, Sids, load_content, make_sids, sids_of_bundle
from diger.training.task import (
    SasrecTask,
    StaticTask,
    Task,
    count_updates,
    paced,
    training_histories,
)


@dataclass(frozen=True)
class Listener:
    """Who is told how a run goes; by default nobody. Of several processes the first one tells.

    Attributes:
        say: a line of text about a step that begins or ended.
        epoch: progress of training.
        ranked: progress of the final evaluation: split, users done, users in all.
    """

    say: Callable[[str], None] = lambda text: None
    epoch: Callable[[EpochEvent], None] = lambda event: None
    ranked: Callable[[str, int, int], None] = lambda split, done, total: None


@dataclass(frozen=True, eq=False)
class _Job:
    """One run: what is trained on what, where, and who is told.

    Attributes:
        folder: of the unfinished run.
        identity: of everything that decides its weights, see `identity`.
    """

    recipe: Recipe
    dataset: Dataset
    content: Content | None
    seed: int
    device: torch.device
    folder: Path
    identity: str
    half: bool
    listener: Listener


def train(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    seed: int = 0,
    device: torch.device,
    half: bool = False,
    force: bool = False,
    restart: bool = False,
    sids_from: Path | None = None,
    start_from: Path | None = None,
    listener: Listener | None = None,
) -> Path:
    """Train what `recipe` says on the dataset in `data` and leave a bundle at `out`.

    Args:
        recipe: everything that decides what is trained.
        data: a dataset folder.
        out: where the bundle goes; `<out>.partial` holds the unfinished run.
        seed: of tokenizer, initialisation, dropout and batch order.
        device: where to train.
        half: keep the weights in half precision; they are rounded before the final metrics are
            taken, so the figures are those of the weights in the bundle.
        force: replace a bundle that is already there.
        restart: discard an unfinished run at `out` instead of going on with it.
        sids_from: a bundle whose tokenizer and SIDs to take instead of fitting new ones.
        start_from: a bundle whose recommender's weights to start from; for weights to mean
            anything, its SIDs are taken as well.
        listener: who is told.

    Raises:
        DigerError: bad data, a target that is in the way, a run that cannot be continued.
        diger.training.loop.Interrupted: Ctrl-C; the same call goes on.
    """
    listener = (listener if distributed.is_first() else None) or Listener()
    code_version()  # noted now: files may have been changed by the time the bundle is written
    sids_from = sids_from or start_from
    out = Path(out)
    if out.name in ("", "..") or out.resolve() == Path.cwd():
        raise DigerError(f"{out} cannot become a bundle; give a new folder with --out")
    check_target(out, force=force)
    dataset = Dataset.load(data)
    for split, at in (("validation", dataset.validation_at), ("test", dataset.test_at)):
        if not (at >= 0).any():
            raise DigerError(
                f"dataset {dataset.name}: no user has a {split} target; prepare it with another "
                "split, or with more events a user"
            )
    with _told(out), _workshop(out, restart) as folder:
        started = time.perf_counter()
        content, sids = None, None
        if recipe.method not in BASELINES:
            with distributed.first_alone():  # it embeds what is not cached
                content = _content(recipe, dataset, data)
        job = _Job(
            recipe=recipe,
            dataset=dataset,
            content=content,
            seed=seed,
            device=device,
            folder=folder,
            identity=identity(recipe, dataset, seed, device, content, (sids_from, start_from)),
            half=half,
            listener=listener,
        )
        _claim(folder, job.identity)
        if arithmetic(device, precision := recipe.training.precision) != precision:
            listener.say(f"this processor has no arithmetic for {precision}: training in fp32")
        if recipe.method not in BASELINES:
            for name, share in (content.told if content else {}).items():
                first = printable(next(iter(content.weights)))  # type: ignore[union-attr]
                listener.say(
                    f"{first} foretells {max(share, 0):.1%} of what {printable(name)} varies in"
                )
            listener.say("assigning semantic IDs")
            if sids_from is None:
                keep = folder / "sids.safetensors"
                with distributed.first_alone():
                    sids = make_sids(recipe, dataset, content, seed=seed, device=device, keep=keep)
            else:
                sids = sids_of_bundle(sids_from, recipe, dataset)
            shared = len(sids.codes) - len(np.unique(sids.group))
            listener.say(f"semantic IDs: {len(sids.codes)} items, {shared} told apart by suffix")
        torch.manual_seed(seed)
        model = build_backbone(
            recipe.backbone,
            sizes=sids.sizes if sids else (),
            n_items=dataset.n_items,
            max_history=recipe.training.max_history,
        )
        if start_from is not None and model is not None:
            _start_from(start_from, model, sids)
        start = sids
        fitted, ranker, sids, content = _fit(job, sids, model)
        if not distributed.is_first():
            return out
        began = time.perf_counter()
        ranks = [_rank(job, ranker, split, sids) for split in ("validation", "test")]
        extra = []
        if isinstance(ranker, SidRanker):
            # Beside the headline, never in its place: as published figures are decoded, and with or
            # without the item-level head, whichever the recipe does not say.
            modes: list[Mode] = ["free"]
            if recipe.evaluation.hybrid:
                modes.append("beam")
            elif recipe.has_item_head:
                modes.append("hybrid")
            extra = [_rank(job, replace(ranker, mode=mode), "test", sids) for mode in modes]
        evaluation = time.perf_counter() - began
        record = RunRecord(
            name=out.name,
            recipe=recipe,
            dataset=dataset,
            seed=seed,
            device=device,
            content=content,
            sids=sids,
            start=start,
            model=model,
            fitted=fitted,
            ranks=ranks,
            other_decodings=extra,
            half=half,
            sids_from=sids_from,
            start_from=start_from,
            seconds={
                "tokenizer": sids.seconds if sids else 0.0,
                "training": fitted.seconds if fitted else 0.0,
                "evaluation": evaluation,
                "this sitting": time.perf_counter() - started,
            },
            peak_memory_bytes=fitted.peak_memory_bytes if fitted else peak_memory(device),
        )
        write_bundle(record, out, force=force)
    return out


def _claim(folder: Path, identity: str) -> None:
    """Note whose unfinished run this is, or refuse to mix it with another's."""
    note = folder / "identity"
    if not distributed.is_first():
        return
    if note.exists() and note.read_text() != identity:
        raise DigerError(
            f"{folder} holds an unfinished run with another recipe, seed, device, data or number "
            "of processes; finish that one with its own settings, give another --out, or discard "
            "it with --restart"
        )
    with replacing(note) as temporary:  # half a note would be another run's
        temporary.write_text(identity)


def identity(
    recipe: Recipe,
    dataset: Dataset,
    seed: int,
    device: torch.device,
    content: Content | None = None,
    bundles: tuple[Path | None, ...] = (),
) -> str:
    """SHA-256 of everything that decides the weights of a run on one machine."""
    made_of = hashlib.sha256(b"" if content is None else content.vectors.tobytes())
    for path in recipe.tokenizer.files.values():
        if Path(path).is_file():
            made_of.update(Path(path).read_bytes())
    what = {
        "recipe": recipe.model_dump(mode="json", exclude={"about", "name"}),
        "data": dataset.info.fingerprint,
        "text": dataset.info.text_fingerprint,
        "bundles": [None if path is None else Bundle.open(path).hash for path in bundles],
        "seed": seed,
        "device": device.type,
        "made_of": made_of.hexdigest(),
    }
    if distributed.processes() > 1:
        what["processes"] = distributed.processes()
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _content(recipe: Recipe, dataset: Dataset, folder: Path) -> Content | None:
    """Content vectors, or None where SIDs come from a file and no item has text."""
    if recipe.tokenizer.kind == "file":
        return None
    return load_content(recipe, dataset, folder)


def _fit(
    job: _Job, sids: Sids | None, model: nn.Module | None
) -> tuple[FitResult | None, Ranker, Sids | None, Content | None]:
    """Train `model` in place: how it went, what ranks with it, the SIDs and content at the end."""
    recipe, dataset, device, content = job.recipe, job.dataset, job.device, job.content
    if isinstance(recipe.backbone, PopularityConfig) or model is None:
        popularity = torch.from_numpy(dataset.training_popularity()).to(device)
        return None, PopularityRanker(popularity), None, content
    model.to(device)
    task: Task
    smoothing = recipe.training.label_smoothing
    if isinstance(model, Sasrec):
        task = SasrecTask(model=model, smoothing=smoothing)
    else:
        assert isinstance(model, Recommender) and sids is not None
        task = _sid_task(job, sids, model)
    fitted = fit(
        task,
        dataset,
        recipe.training,
        recipe.evaluation,
        seed=job.seed,
        device=device,
        folder=job.folder,
        identity=job.identity,
        on_event=job.listener.epoch,
    )
    if isinstance(task, JointTask) and sids is not None:
        full = task.module.sids.cpu().numpy()
        sids = replace(sids, codes=full[:, :-1], suffix=full[:, -1])
        if content is not None:
            content = content.moved(*task.module.moved())
    if isinstance(model, Recommender) and sids is not None:
        model.forget_unreached(sids.full.to(device))
    if job.half:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(parameter.half().to(parameter.dtype))
    return fitted, task.ranker(), sids, content


def _sid_task(job: _Job, sids: Sids, model: Recommender) -> Task:
    recipe, content, device = job.recipe, job.content, job.device
    training, beam, decoding = recipe.training, recipe.evaluation.beam, recipe.evaluation.decoding
    if recipe.joint is None:
        return StaticTask(
            model=model,
            sids=sids.full.to(device),
            group=torch.from_numpy(sids.group).to(device),
            beam=beam,
            decoding=decoding,
            smoothing=training.label_smoothing,
            alignment=training.alignment,
        )
    if sids.tokenizer is None or content is None:
        raise DigerError(
            f'method "{recipe.method}" needs a tokenizer to train, and these SIDs have none'
        )
    histories = training_histories(
        model.prefix_examples, job.dataset, training.max_history, torch.device("cpu")
    )
    tokenizer, vectors = sids.tokenizer.to(device), torch.from_numpy(content.vectors).to(device)
    renaming: Renaming | None = None
    if recipe.method == "shuffled":
        start, distinct = sids.full[:, :-1], recipe.tokenizer.distinct
        renaming = Shuffled(recipe.joint.changes, tokenizer, vectors, start, distinct)
    elif recipe.method == "reassigned":
        nearest, longest = recipe.joint.nearest, training.max_history
        renaming = Reassigned(nearest, tokenizer, vectors, job.dataset, longest)
    return JointTask(
        method=recipe.method,
        config=paced(recipe.joint, count_updates(len(histories), training)),
        model=model,
        tokenizer=tokenizer,
        naming=recipe.tokenizer,
        sids=sids.full.to(device),
        content=vectors,
        popularity=job.dataset.training_popularity(),
        beam=beam,
        decoding=decoding,
        smoothing=training.label_smoothing,
        alignment=training.alignment,
        renaming=renaming,
    )


def _start_from(path: Path, model: nn.Module, sids: Sids | None) -> None:
    """Load the recommender's weights of a bundle into `model`."""
    bundle = Bundle.open(path).require_complete()
    weights = {
        name.removeprefix("recommender."): torch.from_numpy(value.copy()).float()
        for name, value in bundle.tensors(schema.MODEL).items()
        if name.startswith("recommender.")
    }
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        raise DigerError(
            f"the recommender in {path} is of another shape than the recipe's; start from a bundle "
            "with the same backbone, codebook sizes and history length"
        ) from None


def _rank(job: _Job, ranker: Ranker, split: str, sids: Sids | None) -> SplitRanks:
    recipe, dataset = job.recipe, job.dataset
    total = int(((dataset.test_at if split == "test" else dataset.validation_at) >= 0).sum())
    done = 0

    def on_batch(users: int) -> None:
        nonlocal done
        done += users
        job.listener.ranked(split, done, total)

    return rank_split(
        ranker,
        dataset,
        split,
        max_history=recipe.training.max_history,
        batch_size=recipe.evaluation.batch_size,
        device=job.device,
        group=sids.group if sids else None,
        on_batch=on_batch,
    )


@contextmanager
def _told(out: Path) -> Iterator[None]:
    """A disk that is full or may not be written to, in one line; what was saved is kept."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or printable(error)
        at = getattr(error, "filename", None)
        raise DigerError(
            f"{out}: cannot go on: {reason}{f' ({printable(at)})' if at else ''}; put that right, "
            "and the same command goes on from what was saved"
        ) from None


@contextmanager
def _workshop(out: Path, restart: bool) -> Iterator[Path]:
    """The folder of the unfinished run, held by one process at a time; gone when all went well.

    Of several processes of one run the first one holds it for all.
    """
    folder = out.with_name(f"{out.name}.partial")
    if not distributed.is_first():
        distributed.wait()
        yield folder
        return
    folder.mkdir(parents=True, exist_ok=True)
    with _held(folder):
        if restart:
            for path in folder.iterdir():
                if path.name != "lock":
                    path.unlink()
        distributed.wait()
        try:
            yield folder
        except BaseException as error:
            refused = isinstance(error, DigerError) and not isinstance(error, Stopped)
            kept = list(folder.glob("state.safetensors" if refused else "*.safetensors"))
            if not kept:
                shutil.rmtree(folder)  # it failed before there was anything to go on from
            raise
        shutil.rmtree(folder)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system releases however the process ends."""
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise Busy(
            f"another process is training into {folder}; wait for it or give another --out"
        ) from None
    try:
        yield
    finally:
        lock.release()
