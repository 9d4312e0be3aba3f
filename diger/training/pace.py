"""Rates that hold for runs of any length.

What is set per update (the tokenizer's and sigma's learning rates, the momentum of code usage, the
updates between two refreshes) does something else in a run with more updates: at one rate,
codewords move as far as there are updates to move them. A recipe therefore says for how many
updates its rates are, and a run with more or fewer goes slower or faster in proportion. Warm-up and
schedules go by shares of the run as it is.
"""

from __future__ import annotations

import math

from diger.config import JointConfig, TrainingConfig


def count_updates(histories: int, training: TrainingConfig) -> int:
    """Updates of a whole run, with the last, smaller batch of each epoch."""
    return training.epochs * math.ceil(histories / training.batch_size)


def paced(config: JointConfig, updates: int) -> JointConfig:
    """`config` with its rates rescaled from `config.updates` updates to `updates`.

    >>> config = JointConfig(learning_rate=2e-5, updates=1000)
    >>> paced(config, 4000).learning_rate
    5e-06
    """
    if not config.updates:
        return config
    factor = config.updates / updates
    return config.model_copy(
        update={
            "learning_rate": config.learning_rate * factor,
            "refresh": max(1, round(config.refresh / factor)) if config.refresh else 0,
            "uncertainty": config.uncertainty.paced(factor),
        }
    )
