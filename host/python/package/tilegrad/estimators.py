"""The estimators: scikit-learn's interface, settings in tilegrad's terms.

Training and prediction are the engines', in 32-bit floating point unless the engine is the loop: X is converted to
float32. `device` is "auto" (a GPU if there is one, else the CPU's cores), "cpu", "loop", "emulator", "cuda" or "cuda:N".
The same data and settings give the same model, bit for bit, on the same device.

Settings that make no sense are refused by `fit`, with a ValueError that says what would do. A device that cannot be used is
a RuntimeError, descent that diverges an ArithmeticError, a file that cannot be read or written an OSError.
"""

import json
from collections.abc import Iterable

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    OneToOneFeatureMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from . import _native

__all__ = ["LinearRegression", "LogisticRegression", "MLPClassifier", "MLPRegressor", "StandardScaler"]

# What is not made float64 first: float32 is what the engines take.
_DTYPES = [np.float64, np.float32]


class _Model(BaseEstimator):
    """What all that predict have in common. A subclass has `_kind`, the kind of its model files."""

    def save(self, path):
        """Writes the model to a file, whole or not at all. The command reads it, and `load` does."""
        check_is_fitted(self)
        self.model_.save(path)

    @classmethod
    def load(cls, path, *, device="auto"):
        """An estimator with the model of a file that `save` or the command wrote.

        Its settings are those that the model was trained with. Classes that are all numbers become numbers; others are
        text.
        """
        model = _native.Model.load(path)
        estimator = cls(device=device)
        if model.kind != cls._kind or (model.classes is not None) != isinstance(estimator, ClassifierMixin):
            what = model.kind if model.classes is None else f"{model.kind}, of {len(model.classes)} classes"
            raise ValueError(f"{path}: this is no model of {cls.__name__}: it is of kind {what}")
        return estimator._loaded(model)

    def _loaded(self, model):
        self._take_settings(json.loads(model.training)["settings"])
        self.n_features_in_ = len(model.features)
        if model.features != _names(self.n_features_in_):
            self.feature_names_in_ = np.array(model.features, dtype=object)
        return self._fitted(model)

    def _take_settings(self, settings):
        """Parameters as the settings of a model's training have them."""
        stopping = settings.pop("early_stopping") or {}
        settings.update(validation_share=stopping.get("validation_share"), patience=stopping.get("patience", 10))
        parameters = self.get_params()
        self.set_params(**{name: value for name, value in settings.items() if name in parameters})

    def _settings(self):
        """The settings as JSON, in the words of the crate's `Settings`."""
        settings = self.get_params(deep=False)
        for name in ("device", "hidden_layers", "activation"):
            settings.pop(name, None)
        for name, value in settings.items():
            if isinstance(value, float) and not np.isfinite(value):
                raise ValueError(f"the setting {name} must be a finite number, not {value}")
        share, patience = settings.pop("validation_share"), settings.pop("patience")
        if share is not None:
            settings["early_stopping"] = {"validation_share": share, "patience": patience}
        return json.dumps(settings, default=_plain)

    def _layers(self, classes):
        """The layers in the command's words, "64:relu,10:softmax"; none but of networks."""
        return None

    def _train(self, X, y, target, classes=None):
        names = _feature_names(self)
        while target in names:
            target += "_"
        model = _native.fit(
            self._kind,
            self._settings(),
            self.device,
            X,
            y,
            features=names,
            target=target,
            classes=classes,
            layers=self._layers(classes),
        )
        return self._fitted(model)

    def _fitted(self, model):
        self.model_ = model
        self.n_iter_ = json.loads(model.training)["iterations"]
        return self

    def _checked(self, X):
        check_is_fitted(self)
        return validate_data(self, X, dtype=_DTYPES, reset=False)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "model_")


class _Regressor(RegressorMixin, _Model):
    def fit(self, X, y):
        """Trains on X (samples × features) and y (samples)."""
        target = _target_name(y)
        X, y = validate_data(self, X, y, dtype=_DTYPES, y_numeric=True)
        return self._train(X, y, target)

    def predict(self, X):
        """The target for each row of X (samples × features): float32, as the engines compute it."""
        X = self._checked(X)
        return self.model_.predict(X, self.device).astype(np.float32)


class _Classifier(ClassifierMixin, _Model):
    def fit(self, X, y):
        """Trains on X (samples × features) and y (samples), the classes of which are any labels."""
        target = _target_name(y)
        X, y = validate_data(self, X, y, dtype=_DTYPES)
        check_classification_targets(y)
        self.classes_, y = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y has 1 class only, {self.classes_[0]!r}: a classifier needs at least two")
        return self._train(X, y, target, _class_names(self.classes_))

    def predict(self, X):
        """The class of each row of X (samples × features): the most probable, the first of equals."""
        X = self._checked(X)
        return self.classes_[self.model_.predict(X, self.device)]

    def predict_proba(self, X):
        """The probability of each class: samples × classes, in the order of `classes_`."""
        X = self._checked(X)
        probabilities = self.model_.probabilities(X, self.device)
        # Those of a network are rounded to 32 bits: the sum of a row is 1 in 64 bits again.
        return probabilities / probabilities.sum(axis=1, keepdims=True)

    def _loaded(self, model):
        self.classes_ = _classes(model.classes)
        return super()._loaded(model)


class LinearRegression(_Regressor):
    """Linear regression: ŷ = Xw + b.

    The cost is J = Σ(ŷ − y)² / (2m) + l2/2 · Σw², w those of the scaled features, so that scikit-learn's
    `Ridge(alpha)` on standardised features has alpha = m · l2.

    Parameters
    ----------
    solver : "normal" (the minimum of the cost, from the normal equations) or "descent".
    l2 : the penalty.
    scale : "zscore" or "none": how features are scaled on the way. The model takes them as they are.
    learning_rate, epochs, batch_size, optimiser, schedule, tolerance, validation_share, patience, method, seed :
        of descent; see the crate's `Settings`. `batch_size=None` is the full batch. `optimiser` is "descent", "momentum",
        "adam", or with values {"momentum": {"momentum": 0.9}}, {"adam": {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}}.
        `schedule` is "constant", "cosine", {"step": {"every": 100, "factor": 0.5}}, {"exponential": {"factor": 0.01}} or
        {"inverse-time": {"decay": 4.0}}. With `validation_share`, training ends after `patience` epochs without a lower
        cost on that share of the samples.
    device : where the work is done.

    Attributes
    ----------
    coef_ : (features,) the weights, of features in their own units
    intercept_ : the bias
    model_ : the trained model, `tilegrad.Model`
    n_features_in_, feature_names_in_, n_iter_ : as scikit-learn has them; n_iter_ counts epochs
    """

    _kind = "linear"

    def __init__(
        self,
        *,
        solver="normal",
        l2=0.0,
        scale="zscore",
        learning_rate=0.1,
        epochs=1000,
        batch_size=None,
        optimiser="descent",
        schedule="constant",
        tolerance=None,
        validation_share=None,
        patience=10,
        method="auto",
        seed=0,
        device="auto",
    ):
        self.solver = solver
        self.l2 = l2
        self.scale = scale
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimiser = optimiser
        self.schedule = schedule
        self.tolerance = tolerance
        self.validation_share = validation_share
        self.patience = patience
        self.method = method
        self.seed = seed
        self.device = device

    def _fitted(self, model):
        weights, bias = model.raw()
        self.coef_, self.intercept_ = weights[:, 0], bias[0]
        return super()._fitted(model)


class LogisticRegression(_Classifier):
    """Logistic regression: of two classes the sigmoid of Xw + b, of more their softmax.

    The cost is J = the mean log loss + l2/2 · Σw², w those of the scaled features, so that scikit-learn's
    `LogisticRegression(C)` on standardised features has C = 1 / (m · l2).

    Parameters
    ----------
    solver : "newton" (the minimum of the cost, by Newton's method) or "descent". Without a penalty there may be no
        minimum: where a plane parts the classes, larger weights are always better. Newton's method refuses that.
    l2 : the penalty.
    scale, learning_rate, epochs, batch_size, optimiser, schedule, tolerance, validation_share, patience, seed, device : as
        those of `LinearRegression`.

    Attributes
    ----------
    coef_ : (1, features) of two classes, else (classes, features): the weights, of features in their own units
    intercept_ : (1,) or (classes,) the biases
    classes_ : the classes, sorted
    model_ : the trained model, `tilegrad.Model`
    n_features_in_, feature_names_in_, n_iter_ : as scikit-learn has them; n_iter_ counts epochs
    """

    _kind = "logistic"

    def __init__(
        self,
        *,
        solver="newton",
        l2=1e-3,
        scale="zscore",
        learning_rate=0.5,
        epochs=1000,
        batch_size=None,
        optimiser="descent",
        schedule="constant",
        tolerance=None,
        validation_share=None,
        patience=10,
        seed=0,
        device="auto",
    ):
        self.solver = solver
        self.l2 = l2
        self.scale = scale
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimiser = optimiser
        self.schedule = schedule
        self.tolerance = tolerance
        self.validation_share = validation_share
        self.patience = patience
        self.seed = seed
        self.device = device

    def _fitted(self, model):
        weights, self.intercept_ = model.raw()
        self.coef_ = weights.T
        return super()._fitted(model)


class _Network(_Model):
    """What the networks have in common."""

    _kind = "network"

    def __init__(
        self,
        *,
        hidden_layers=(64,),
        activation="relu",
        l2=1e-4,
        scale="zscore",
        learning_rate=1e-3,
        epochs=100,
        batch_size=32,
        optimiser="adam",
        schedule="constant",
        tolerance=None,
        validation_share=None,
        patience=10,
        seed=0,
        device="auto",
    ):
        self.hidden_layers = hidden_layers
        self.activation = activation
        self.l2 = l2
        self.scale = scale
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimiser = optimiser
        self.schedule = schedule
        self.tolerance = tolerance
        self.validation_share = validation_share
        self.patience = patience
        self.seed = seed
        self.device = device

    def _layers(self, classes):
        units = self.hidden_layers if isinstance(self.hidden_layers, Iterable) else [self.hidden_layers]
        last = "1:identity" if classes is None else "1:sigmoid" if len(classes) == 2 else f"{len(classes)}:softmax"
        return ",".join([f"{units}:{self.activation}" for units in units] + [last])


class MLPRegressor(_Regressor, _Network):
    """A dense network for a number, trained by back-propagation: A := g(AW + b), layer by layer, the last without g.

    The cost is J = Σ(ŷ − y)² / (2m) + l2/2 · Σw², y in standard deviations, so that scikit-learn's `MLPRegressor(alpha)` has
    alpha = m · l2, m the samples of a batch.

    Parameters
    ----------
    hidden_layers : the units of each hidden layer
    activation : g of the hidden layers: "relu", "sigmoid" or "identity"
    l2 : the penalty
    batch_size : samples of a step; None for all of them
    scale, learning_rate, epochs, optimiser, schedule, tolerance, validation_share, patience, seed, device : as those of
        `LinearRegression`. The seed decides the first weights, the order of the samples and which are kept out.

    Attributes
    ----------
    model_ : the trained model, `tilegrad.Model`
    n_features_in_, feature_names_in_, n_iter_ : as scikit-learn has them; n_iter_ counts epochs
    """


class MLPClassifier(_Classifier, _Network):
    """A dense network for classes, trained by back-propagation: A := g(AW + b), layer by layer, the last with the sigmoid
    for two classes and softmax for more.

    The cost is J = the mean log loss + l2/2 · Σw², so that scikit-learn's `MLPClassifier(alpha)` has alpha = m · l2, m the
    samples of a batch.

    Parameters
    ----------
    As those of `MLPRegressor`.

    Attributes
    ----------
    classes_ : the classes, sorted
    model_, n_features_in_, feature_names_in_, n_iter_ : as those of `MLPRegressor`
    """


class StandardScaler(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Features with mean 0 and standard deviation 1: (x − mean) / deviation.

    The means and the population standard deviations are the device's, of X in float32; a feature that has one value only
    is not divided. Every estimator here scales by itself on the way (`scale="zscore"`), so this is for others' use.

    Parameters
    ----------
    with_mean, with_std : whether means are subtracted, and whether it is divided.
    device : where means and deviations are computed. X is scaled by NumPy, in its own type.

    Attributes
    ----------
    mean_, var_, scale_ : (features,) None where it is not used
    n_samples_seen_, n_features_in_, feature_names_in_ : as scikit-learn has them
    """

    def __init__(self, *, with_mean=True, with_std=True, device="auto"):
        self.with_mean = with_mean
        self.with_std = with_std
        self.device = device

    def fit(self, X, y=None):
        """Learns the means and deviations of X's columns (samples × features)."""
        X = validate_data(self, X, dtype=_DTYPES)
        mean, deviation = _native.moments(X, _feature_names(self), self.device)
        self.n_samples_seen_ = X.shape[0]
        self.mean_ = mean if self.with_mean else None
        self.scale_ = deviation if self.with_std else None
        self.var_ = deviation**2 if self.with_std else None
        return self

    def transform(self, X):
        """X (samples × features), scaled: another array of X's type."""
        X = self._checked(X)
        if self.mean_ is not None:
            X = X - self.mean_.astype(X.dtype)
        return X / self.scale_.astype(X.dtype) if self.scale_ is not None else X

    def inverse_transform(self, X):
        """What `transform` made X (samples × features) of."""
        X = self._checked(X)
        if self.scale_ is not None:
            X = X * self.scale_.astype(X.dtype)
        return X + self.mean_.astype(X.dtype) if self.mean_ is not None else X

    def _checked(self, X):
        check_is_fitted(self)
        return validate_data(self, X, dtype=_DTYPES, reset=False, copy=True)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _names(features):
    """The features' names where X has none: scikit-learn's."""
    return [f"x{j}" for j in range(features)]


def _feature_names(estimator):
    names = getattr(estimator, "feature_names_in_", None)
    return _names(estimator.n_features_in_) if names is None else [str(name) for name in names]


def _target_name(y):
    """The name of a pandas or polars column, if y is one."""
    name = getattr(y, "name", None)
    return name if isinstance(name, str) and name else "y"


def _class_names(classes):
    """Classes as a model file has them: whole numbers without a decimal point."""
    if classes.dtype.kind == "f":
        return [str(int(value)) if value == int(value) else repr(float(value)) for value in classes]
    return [str(value) for value in classes]


def _classes(names):
    """Classes of a model file: numbers if all are."""
    for kind in (np.int64, np.float64):
        try:
            return np.array(names).astype(kind)
        except ValueError:
            pass
    return np.array(names)


def _plain(value):
    """NumPy's numbers as JSON has them."""
    if isinstance(value, np.generic):
        return value.item()
    raise ValueError(f"a setting cannot be {value!r}")
