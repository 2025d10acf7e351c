"""tilegrad: vectorised machine learning on NVIDIA GPUs, in Rust down to the kernels.

The estimators have scikit-learn's interface and need scikit-learn; they are imported when they are first asked for.
A model file is read, and predicts, with NumPy alone:

    >>> from tilegrad import Model
    >>> Model.load("model.safetensors").predict(X)
"""

from ._native import Model, __version__, device

_ESTIMATORS = ("LinearRegression", "LogisticRegression", "MLPClassifier", "MLPRegressor", "StandardScaler")

__all__ = ["Model", "__version__", "device", *_ESTIMATORS]


def __getattr__(name):
    if name not in _ESTIMATORS:
        raise AttributeError(f"module 'tilegrad' has no attribute {name!r}")
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise ImportError(f"tilegrad.{name} needs scikit-learn: pip install 'tilegrad[scikit-learn]'") from error
    from . import estimators

    return getattr(estimators, name)


def __dir__():
    return __all__
