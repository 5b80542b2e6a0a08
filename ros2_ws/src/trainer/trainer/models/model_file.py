"""A learned model as a file: named arrays and a manifest in one .npz, without pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from ant_rl_core import settings
from ant_rl_core.settings import ArgumentError
from ant_rl_core.spec import ANT
from trainer import checkpoint
from trainer.models.ensemble import EnsembleConfig
from trainer.models.learned import INPUTS, LearnedModel

_KIND = "ant_rl environment model"


class ModelError(ValueError):
    """A model file that can't be used; the text is one sentence."""


def write(path: str | os.PathLike[str], model: LearnedModel, about: Mapping[str, Any] | None = None) -> None:
    """Write a model, whole or not at all.

    Args:
        path: of the file.
        model: is written with its scaling.
        about: where it comes from, as JSON has it.

    Raises:
        checkpoint.CheckpointError: it can't be written.
    """
    ensemble = model.ensemble
    manifest = {"kind": _KIND, "robot": ANT.name, "inputs": ensemble.inputs, "outputs": ensemble.outputs,
                "config": asdict(ensemble.config), "about": dict(about or {})}
    checkpoint.save(path, {"manifest": np.asarray(json.dumps(manifest)), **ensemble.save()})


def read(path: str | os.PathLike[str]) -> LearnedModel:
    """The model that `write` wrote; ModelError where there is none that can be used."""
    found = manifest_of(path)
    if found["robot"] != ANT.name:
        raise ModelError(f"{path}: expected a model of an {ANT.name}, found one of {found['robot']}")
    try:
        texts = {name: settings.format_value(value) for name, value in found["config"].items()}
        (config,) = settings.build([EnsembleConfig], texts)
        model = LearnedModel(config)
        if (found["inputs"], found["outputs"]) != (INPUTS, model.ensemble.outputs):
            raise ModelError(f"{path}: expected a model of {INPUTS} inputs and {model.ensemble.outputs} outputs, found "
                             f"one of {found['inputs']} and {found['outputs']}: it is of another version of this "
                             "program")
        model.ensemble.restore(checkpoint.load(path))
    except (ArgumentError, checkpoint.CheckpointError, KeyError) as error:
        raise ModelError(f"{path}: expected a whole model of this version, found one that can't be made ({error})"
                         ) from error
    except ModelError:
        raise
    except ValueError as error:
        sizes = found["config"].get("model_hidden")
        raise ModelError(f"{path}: expected weights of the sizes {sizes} that its manifest tells, found others"
                         ) from error
    return model


def manifest_of(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a model file says of itself; ModelError where it is none."""
    try:
        found = json.loads(str(checkpoint.load(path)["manifest"]))
    except (checkpoint.CheckpointError, ValueError) as error:
        raise ModelError(f"{path}: expected the file of an environment model, such as `./run model` writes, found none "
                         "that can be read") from error
    if not isinstance(found, dict) or found.get("kind") != _KIND or not {
            "robot", "inputs", "outputs", "config"} <= set(found):
        raise ModelError(f"{path}: expected the file of an environment model, found something else")
    return found
