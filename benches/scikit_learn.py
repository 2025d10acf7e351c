"""tilegrad's estimators beside scikit-learn's, on the three data sets: the same coefficients, and how long each took.

    python3 benches/scikit_learn.py [ROUNDS] > result.json
    python3 benches/scikit_learn.py --table result.json > result.md

Needs the wheel and host/python/requirements.txt. Each round fits both, one after the other, so that both see the same
seconds; times are medians over the rounds, of `fit` alone, with the data in memory as float64. Both have all cores.

Coefficients are compared in standard deviations of the features, so that the features' units do not matter: the
difference is the largest one of all coefficients and intercepts, as a share of the largest coefficient.

tilegrad's l2 is λ of J = mean loss + λ/2 · Σw². scikit-learn's C multiplies the sum of the losses, so C = 1 / (mλ), and no
penalty is C = ∞ (`penalty=None` before 1.8). tilegrad penalises the weights of scaled features, as scikit-learn does after a
StandardScaler: that is what it is compared with.
"""
import json, os, pathlib, platform, statistics, subprocess, sys, time, warnings

import numpy as np
import sklearn
from scipy.optimize import linprog
from sklearn import linear_model, neural_network, preprocessing
from sklearn.pipeline import make_pipeline

import tilegrad

DATA = pathlib.Path(__file__).parents[1] / "tests" / "data"
TARGETS = {"diabetes": "progression", "breast_cancer": "benign", "digits": "digit"}


def load(name):
    """The features (samples × features) and the target of a data set."""
    path = DATA / f"{name}.csv"
    names = path.open().readline().strip().split(",")
    values = np.loadtxt(path, delimiter=",", skiprows=1)
    target = names.index(TARGETS[name])
    return np.delete(values, target, axis=1), values[:, target]


def seconds(work):
    """The seconds of some work, and what it gives."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def separable(X, y):
    """Whether a plane parts the samples of class 1 from the others: then no coefficients are the best. A linear program."""
    signs = np.where(y == 1, 1.0, -1.0)[:, None]
    Z = preprocessing.StandardScaler().fit_transform(X)
    rows = -signs * np.column_stack([Z, np.ones(len(Z))])
    program = linprog(np.zeros(rows.shape[1]), A_ub=rows, b_ub=-np.ones(len(rows)), bounds=(None, None))
    return program.status == 0


def coefficients(model, X):
    """Coefficients for standardised features, with the intercepts at the features' means; of a softmax less their mean,
    which no probability depends on."""
    if not isinstance(model, sklearn.pipeline.Pipeline):
        weights = np.atleast_2d(model.coef_)
        all = np.column_stack([weights * X.std(axis=0), weights @ X.mean(axis=0) + model.intercept_])
    else:
        all = np.column_stack([np.atleast_2d(model[-1].coef_), np.atleast_1d(model[-1].intercept_)])
    return all - all.mean(axis=0) if len(all) > 1 else all


def compare(what, X, y, ours, theirs, rounds):
    """A row of the table."""
    our_times, their_times = [], []
    for _ in range(rounds):
        took, theirs_fitted = seconds(lambda: theirs.fit(X, y))
        their_times.append(took)
        took, ours_fitted = seconds(lambda: ours.fit(X, y))
        our_times.append(took)
    one, other = coefficients(ours_fitted, X), coefficients(theirs_fitted, X)
    difference = np.abs(one - other).max() / np.abs(other[:, :-1]).max()
    return row(what, X, ours, theirs, our_times, their_times, difference=difference)


def row(what, X, ours, theirs, our_times, their_times, **more):
    named = lambda estimator: " ".join(repr(estimator).split())
    return {
        "what": what, "samples": X.shape[0], "features": X.shape[1], "ours": named(ours), "scikit_learn": named(theirs),
        "our_ms": round(1e3 * statistics.median(our_times), 3),
        "scikit_learn_ms": round(1e3 * statistics.median(their_times), 3), **more,
    }


def linear(rounds):
    for name in TARGETS:
        X, y = load(name)
        yield compare(f"LinearRegression, {name}", X, y, tilegrad.LinearRegression(device="cpu"),
                      linear_model.LinearRegression(), rounds)


def logistic(rounds):
    X, progression = load("diabetes")
    diabetes = X, (progression > np.median(progression)).astype(float)
    cancer, benign = load("breast_cancer")
    cases = [
        ("no penalty, diabetes, progression above its median", *diabetes, np.inf),
        ("no penalty, breast_cancer, its 10 means", cancer[:, :10], benign, np.inf),
        ("C = 1, breast_cancer", cancer, benign, 1.0),
        ("C = 1, digits", *load("digits"), 1.0),
    ]
    for what, X, y, C in cases:
        assert np.isfinite(C) or not separable(X, y)
        ours = tilegrad.LogisticRegression(l2=1 / (C * len(X)), device="cpu")  # Newton's method
        # At its own tolerance, 1e-4, the coefficients of scikit-learn's default solver are not yet those of the minimum.
        for solver, settings in (("lbfgs", {}), ("newton-cholesky", {"tol": 1e-10})):
            theirs = linear_model.LogisticRegression(C=C, solver=solver, max_iter=10_000, **settings)
            theirs = make_pipeline(preprocessing.StandardScaler(), theirs)
            yield compare(f"LogisticRegression, {what}; {solver}", X, y, ours, theirs, rounds)


def without_optimum():
    """What each does where a plane parts the classes, so that larger coefficients are always better."""
    X, y = load("breast_cancer")
    assert separable(X, y)
    for max_iter in (100, 1000, 10_000):
        theirs = make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression(C=np.inf, max_iter=max_iter))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            theirs.fit(X, y)
        yield {"scikit_learn": f"max_iter={max_iter}", "iterations": int(theirs[-1].n_iter_[0]),
               "largest_coefficient": float(np.abs(theirs[-1].coef_).max()),
               "warning": next((str(w.message).splitlines()[0] for w in caught), None)}
    try:
        tilegrad.LogisticRegression(l2=0.0, device="cpu").fit(X, y)
        yield {"tilegrad": "fitted"}
    except (ValueError, ArithmeticError) as error:
        yield {"tilegrad": str(error)}


def scaler(rounds):
    for name in TARGETS:
        X, _ = load(name)
        ours, theirs = tilegrad.StandardScaler(device="cpu"), preprocessing.StandardScaler()
        times = [(seconds(lambda: theirs.fit(X))[0], seconds(lambda: ours.fit(X))[0]) for _ in range(rounds)]
        means = np.abs(ours.mean_ - theirs.mean_) / theirs.scale_
        scales = np.abs(ours.scale_ / theirs.scale_ - 1)
        yield row(f"StandardScaler, {name}", X, ours, theirs, [t[1] for t in times], [t[0] for t in times],
                  difference=max(means.max(), scales.max()))


def networks(rounds):
    """Not the same weights, as first weights and the order of the samples differ: accuracy and time."""
    X, y = load("digits")
    test = np.random.default_rng(0).permutation(len(X)) < len(X) // 5
    common = {"hidden": (64,), "epochs": 60, "batch": 32, "rate": 1e-3}
    ours = tilegrad.MLPClassifier(hidden_layers=common["hidden"], epochs=common["epochs"], batch_size=common["batch"],
                                  learning_rate=common["rate"], l2=0.0, device="cpu")
    theirs = make_pipeline(preprocessing.StandardScaler(), neural_network.MLPClassifier(
        common["hidden"], alpha=0.0, batch_size=common["batch"], max_iter=common["epochs"], tol=0.0,
        n_iter_no_change=common["epochs"], learning_rate_init=common["rate"], random_state=0))
    our_times, their_times = [], []
    with warnings.catch_warnings():
        # That all epochs are done is what is wanted.
        warnings.simplefilter("ignore")
        for _ in range(rounds):
            their_times.append(seconds(lambda: theirs.fit(X[~test], y[~test]))[0])
            our_times.append(seconds(lambda: ours.fit(X[~test], y[~test]))[0])
    yield row("MLPClassifier, digits, 64 units, 60 epochs of Adam, batches of 32", X[~test], ours, theirs, our_times,
              their_times, our_test_accuracy=ours.score(X[test], y[test]),
              scikit_learn_test_accuracy=theirs.score(X[test], y[test]))


def table(path):
    """The results as a page."""
    results = json.load(open(path))
    machine, versions = results["machine"], results["versions"]
    print(f"# Beside scikit-learn {versions['scikit-learn']}: {machine['processor']}, {machine['cores']} cores, {results['date']}\n")
    print(f"Commit {results['commit']}, `{results['command']}`, NumPy {versions['numpy']}: medians of {results['rounds']} fits, in turn.\n")
    print("| | samples × features | tilegrad, ms | scikit-learn, ms | scikit-learn / tilegrad | coefficients differ by |")
    print("|---|---|---|---|---|---|")
    for row in results["results"]:
        difference = f"{row['difference']:.1e}" if "difference" in row else (
            f"test accuracy {row['our_test_accuracy']:.3f}, scikit-learn {row['scikit_learn_test_accuracy']:.3f}")
        print(f"| {row['what']} | {row['samples']} × {row['features']} | {row['our_ms']:.3g} | {row['scikit_learn_ms']:.3g} "
              f"| {row['scikit_learn_ms'] / row['our_ms']:.2g} | {difference} |")
    print("\n## Without a penalty, where a plane parts the classes (breast_cancer, all 30 features)\n")
    print("There is no best model: larger coefficients are always better.\n")
    for row in results["breast_cancer, no penalty, all 30 features"]:
        if "tilegrad" in row:
            print(f"- tilegrad: \"{row['tilegrad']}\"")
        else:
            warning = f"warns \"{row['warning']}\"" if row["warning"] else "without a warning"
            print(f"- scikit-learn, {row['scikit_learn']}: {row['iterations']} iterations, largest coefficient "
                  f"{row['largest_coefficient']:.3g}, {warning}")


def main():
    if sys.argv[1:2] == ["--table"]:
        return table(sys.argv[2])
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    model = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    json.dump({
        "machine": {"processor": model, "cores": os.cpu_count(), "system": platform.platform()},
        "date": time.strftime("%Y-%m-%d"), "commit": commit, "rounds": rounds,
        "versions": {"tilegrad": tilegrad.__version__, "scikit-learn": sklearn.__version__, "numpy": np.__version__},
        "command": "python3 benches/scikit_learn.py",
        "results": [*linear(rounds), *logistic(rounds), *scaler(rounds), *networks(rounds)],
        "breast_cancer, no penalty, all 30 features": list(without_optimum()),
    }, sys.stdout, indent=1)
    print()


main()
