"""Models: files, devices, errors, and what scikit-learn's checks do not look at."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn import linear_model, preprocessing
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

import data
import tilegrad
from tilegrad import LinearRegression, LogisticRegression, MLPClassifier, MLPRegressor, Model, StandardScaler

KINDS = {
    "linear": (LinearRegression(), "diabetes"),
    "logistic, two classes": (LogisticRegression(), "breast_cancer"),
    "logistic, ten classes": (LogisticRegression(solver="descent", epochs=50), "digits"),
    "network, values": (MLPRegressor(hidden_layers=(8,), epochs=5), "diabetes"),
    "network, two classes": (MLPClassifier(hidden_layers=(8, 4), epochs=5), "breast_cancer"),
    "network, ten classes": (MLPClassifier(hidden_layers=(16,), activation="sigmoid", epochs=5), "digits"),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def fitted(kind):
    estimator, name = KINDS[kind]
    X, y = data.load(name)
    return clone(estimator).fit(X, y), X, y


def outputs(estimator, X):
    return estimator.predict_proba(X) if hasattr(estimator, "predict_proba") else estimator.predict(X)


def close(ours, theirs):
    """Whether values computed in 32 bits are those of 64 bits: within 2e-5 of their range, as for a few hundred terms
    of a sum that are each rounded to 2⁻²⁴."""
    return np.abs(ours - theirs).max() <= 2e-5 * np.abs(theirs).max()


@each_kind
def test_a_model_comes_back_from_a_file_bit_for_bit(kind, tmp_path):
    model, X, _ = fitted(kind)
    file = tmp_path / "model.safetensors"
    model.save(file)
    read = type(model).load(file)
    np.testing.assert_array_equal(outputs(read, X), outputs(model, X))
    np.testing.assert_array_equal(read.predict(X), model.predict(X))
    assert list(read.feature_names_in_) == list(X.columns)
    settings = {name: value for name, value in read.get_params().items() if name in ("epochs", "solver", "l2", "seed")}
    assert settings == {name: model.get_params()[name] for name in settings}


@each_kind
def test_a_file_reads_back_with_the_safetensors_package_alone(kind, tmp_path):
    model, X, _ = fitted(kind)
    file = tmp_path / "model.safetensors"
    model.save(file)
    assert close(outputs(model, X), data.predictions(file, X.to_numpy()))


@each_kind
def test_pickles_and_copies_predict_the_same(kind):
    model, X, _ = fitted(kind)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(outputs(other, X), outputs(model, X))


@each_kind
def test_the_loops_predict_what_the_cpu_does(kind):
    model, X, _ = fitted(kind)
    assert close(outputs(model.set_params(device="cpu"), X), outputs(clone_of(model, device="loop"), X))


def clone_of(model, **parameters):
    return copy.deepcopy(model).set_params(**parameters)


@pytest.mark.parametrize(
    "arguments, name",
    [
        (["linear", "--solver", "normal"], "diabetes"),
        (["logistic", "--iterations", "50"], "breast_cancer"),
        (["logistic", "--solver", "newton", "--l2", "1e-3"], "digits"),
        (["network", "--layers", "8:relu,1:identity", "--epochs", "3"], "diabetes"),
        (["network", "--layers", "8:relu,1:sigmoid", "--epochs", "3"], "breast_cancer"),
        (["network", "--layers", "8:relu,10:softmax", "--epochs", "3"], "digits"),
    ],
)
def test_the_commands_model_files_are_read(arguments, name, tmp_path):
    file = tmp_path / "model.safetensors"
    line = [data.command(), "train", *arguments, "--data", data.path(name), "--target", data.TARGETS[name]]
    subprocess.run([*line, "--model", file, "--device", "cpu", "--quiet"], check=True)
    X, y = data.load(name)
    # Numbered as each class is: in the order of y's values.
    model = Model.load(file)
    ours = model.predict(X, "cpu") if model.classes is None else model.probabilities(X, "cpu")
    assert close(ours, data.predictions(file, X.to_numpy()))
    if model.classes is not None:
        assert model.classes == [str(label) for label in np.unique(y)]
        estimator = (LogisticRegression if model.kind == "logistic" else MLPClassifier).load(file)
        assert estimator.classes_.dtype == np.int64
        np.testing.assert_array_equal(estimator.predict(X), np.unique(y)[ours.argmax(axis=1)])


def test_weights_and_bias_are_those_of_the_predictions():
    model, X, _ = fitted("linear")
    assert close(model.predict(X), X.to_numpy() @ model.coef_ + model.intercept_)
    model, X, _ = fitted("logistic, two classes")
    z = X.to_numpy() @ model.coef_[0] + model.intercept_[0]
    assert close(model.predict_proba(X)[:, 1], 1 / (1 + np.exp(-z)))


def test_texts_are_classes_and_come_back_as_texts(tmp_path):
    X, y = data.load("breast_cancer")
    names = np.where(y == 1, "benign", "malignant")
    model = LogisticRegression().fit(X, names)
    assert list(model.classes_) == ["benign", "malignant"] and set(model.predict(X)) == set(names)
    file = tmp_path / "model.safetensors"
    model.save(file)
    np.testing.assert_array_equal(LogisticRegression.load(file).predict(X), model.predict(X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_in_any_layout_are_the_same(dtype):
    X, y = data.load("diabetes")
    X = X.to_numpy(dtype)
    whole = LinearRegression().fit(X, y)
    for other in (np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2], X[:, ::-1][:, ::-1]):
        np.testing.assert_array_equal(LinearRegression().fit(other, y).coef_, whole.coef_)
        np.testing.assert_array_equal(whole.model_.predict(other), whole.model_.predict(X))


def test_a_model_file_needs_no_scikit_learn(tmp_path):
    model, X, _ = fitted("linear")
    model.save(tmp_path / "model.safetensors")
    program = """
import sys
sys.modules["sklearn"] = None
import numpy, tilegrad
print(tilegrad.Model.load("model.safetensors").predict(numpy.zeros((2, 10))).shape)
try:
    tilegrad.LinearRegression
except ImportError as error:
    print(error)
"""
    out = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert out.stdout.splitlines() == [
        "(2,)",
        "tilegrad.LinearRegression needs scikit-learn: pip install 'tilegrad[scikit-learn]'",
    ]


X = np.arange(12.0).reshape(6, 2) ** 2
Y = np.arange(6.0)


@pytest.mark.parametrize(
    "estimator, words",
    [
        (LinearRegression(method="magic"), "the setting method: unknown variant `magic`, expected one of"),
        (LinearRegression(solver="magic"), "the setting solver: unknown variant `magic`, expected one of"),
        (LinearRegression(solver="newton"), "normal"),
        (LinearRegression(epochs="many"), "the setting epochs: invalid type"),
        (LinearRegression(epochs=0), "at least 1"),
        (LinearRegression(learning_rate=-1.0), "the learning rate must be a number above 0"),
        (LinearRegression(learning_rate=float("nan")), "the setting learning_rate must be a finite number"),
        (LinearRegression(l2=-1), "the L2 penalty must be a number of at least 0"),
        (LinearRegression(optimiser="newest"), "the setting optimiser: unknown variant `newest`"),
        (LinearRegression(schedule={"step": {"every": 0, "factor": 0.5}}), "at least 1 step"),
        (LinearRegression(validation_share=2.0), "the validation share must be"),
        (LinearRegression(method=X), "a setting cannot be"),
        (LinearRegression(device="gpu"), "the devices are auto, loop, cpu, emulator, cuda"),
        (LinearRegression(device=3), "device"),
        (MLPRegressor(hidden_layers=(0,)), "at least 1 unit"),
        (MLPRegressor(hidden_layers=(4, "a")), "layer 2 .* the units are no whole number"),
        (MLPRegressor(activation="step"), "the activation is none of relu, sigmoid and identity"),
        (MLPRegressor(batch_size=0), "a batch must have at least 1 sample"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(estimator, words):
    with pytest.raises((ValueError, TypeError), match=words):
        estimator.fit(X, Y)


def test_values_beyond_32_bits_are_refused():
    with pytest.raises(ValueError, match="not a finite number"), np.errstate(over="ignore"):
        LinearRegression().fit(X * 1e40, Y)


def test_a_device_that_cannot_be_used_is_a_runtime_error():
    with pytest.raises(RuntimeError, match="device cuda:99 cannot be used"):
        LinearRegression(device="cuda:99").fit(X, Y)


def test_descent_that_diverges_is_an_arithmetic_error_with_the_remedy():
    with pytest.raises(ArithmeticError, match="diverged at iteration .* would do"):
        LinearRegression(solver="descent", learning_rate=1e3).fit(X, Y)


def test_a_network_whose_cost_grows_without_bounds_is_an_arithmetic_error():
    network = MLPRegressor(optimiser="descent", learning_rate=1e3, epochs=50, batch_size=None)
    with pytest.raises(ArithmeticError, match="learning rate"):
        network.fit(X, Y)


def test_files_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing.safetensors"):
        Model.load(tmp_path / "missing.safetensors")
    (tmp_path / "text").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no model file"):
        Model.load(tmp_path / "text")
    with pytest.raises(OSError, match="there is no folder"):
        LinearRegression().fit(X, Y).save(tmp_path / "none" / "model")
    with pytest.raises(ValueError, match="no model file"):
        Model.from_bytes(b"")
    LinearRegression().fit(X, Y).save(tmp_path / "linear")
    with pytest.raises(ValueError, match="no model of LogisticRegression: it is of kind linear"):
        LogisticRegression.load(tmp_path / "linear")


def test_what_is_not_fitted_does_not_predict(tmp_path):
    with pytest.raises(NotFittedError):
        LinearRegression().predict(X)
    with pytest.raises(NotFittedError):
        LinearRegression().save(tmp_path / "model")


def test_classes_that_a_plane_parts_have_no_best_weights_without_a_penalty():
    X, y = data.load("breast_cancer")
    with pytest.raises(ValueError, match="penalty"):
        LogisticRegression(l2=0.0).fit(X, y)
    assert LogisticRegression(l2=0.0).fit(X.iloc[:, :10], y).score(X.iloc[:, :10], y) > 0.9


@pytest.mark.parametrize("name", data.TARGETS)
def test_weights_are_those_of_scikit_learn(name):
    """X is rounded to 32 bits, which moves the weights by no more than its condition number, below 10³, times 6e-8."""
    X, y = data.load(name)
    theirs = linear_model.LinearRegression().fit(X, y)
    ours = LinearRegression().fit(X, y)
    assert within(1e-3, ours.coef_ * X.std(ddof=0), theirs.coef_ * X.std(ddof=0))
    if name == "diabetes":
        y = y > y.median()
    theirs = make_pipeline(
        preprocessing.StandardScaler(), linear_model.LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-10)
    ).fit(X, y)
    ours = LogisticRegression(l2=1 / len(X)).fit(X, y)
    assert within(1e-3, ours.coef_ * X.std(ddof=0).to_numpy(), theirs[-1].coef_)


def within(share, ours, theirs):
    return np.abs(ours - theirs).max() <= share * np.abs(theirs).max()


def test_a_regression_has_no_probabilities():
    with pytest.raises(ValueError, match="a regression has no classes"):
        LinearRegression().fit(X, Y).model_.probabilities(X)


def test_the_scaler_is_numpys_mean_and_deviation():
    X, _ = data.load("diabetes")
    X = X.to_numpy()
    scaler = StandardScaler().fit(X)
    np.testing.assert_allclose(scaler.mean_, X.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(scaler.scale_, X.std(axis=0, ddof=0), rtol=1e-6)
    np.testing.assert_allclose(scaler.inverse_transform(scaler.transform(X)), X, rtol=1e-12, atol=1e-12)
    constant = StandardScaler().fit_transform(np.full((7, 2), 0.1, dtype=np.float32))
    assert not constant.any()


def test_the_device_is_named():
    name, description = tilegrad.device("cpu")
    assert name == "cpu" and description.startswith("cpu")
