"""The data sets of the repository, and where its command is."""

import json
import os
import pathlib

import numpy as np
import pandas as pd
from safetensors import safe_open

REPOSITORY = pathlib.Path(__file__).parents[3]
TARGETS = {"diabetes": "progression", "breast_cancer": "benign", "digits": "digit"}


def path(name):
    return REPOSITORY / "tests" / "data" / f"{name}.csv"


def load(name):
    """The features and the target of a data set, as pandas has them."""
    table = pd.read_csv(path(name))
    return table.drop(columns=TARGETS[name]), table[TARGETS[name]]


def command():
    """The command that the same build made."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return target / "release" / "tilegrad"


def predictions(file, x):
    """What a model file predicts for x (samples × features), with the packages safetensors and NumPy alone, in 64 bits: the
    target's values, or the classes' probabilities. host/models/file.rs says what is in a file."""
    with safe_open(file, "np") as tensors:
        about = json.loads(tensors.metadata()["tilegrad"])
        tensor = {name: tensors.get_tensor(name).astype(np.float64) for name in tensors.keys()}
    a = (x - tensor["mean"]) / tensor["standard_deviation"]
    if about["kind"] == "network":
        *hidden, last = [layer.split(":")[1] for layer in about["layers"].split(",")]
        for i, activation in enumerate(hidden):
            a = ACTIVATIONS[activation](a @ tensor[f"layer.{i}.weights"] + tensor[f"layer.{i}.bias"])
        z = a @ tensor[f"layer.{len(hidden)}.weights"] + tensor[f"layer.{len(hidden)}.bias"]
    else:
        z = a @ tensor["weights"] + tensor["bias"]
        last = "identity" if about["kind"] == "linear" else "sigmoid" if z.shape[1] == 1 else "softmax"
    if last == "identity":
        return z[:, 0]
    if last == "sigmoid":
        positive = sigmoid(z)
        return np.hstack([1 - positive, positive])
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


ACTIVATIONS = {"identity": lambda z: z, "relu": lambda z: np.maximum(z, 0), "sigmoid": sigmoid}
