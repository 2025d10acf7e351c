"""scikit-learn's own checks of estimators: all of them apply, and none is expected to fail."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import tilegrad

ESTIMATORS = [
    tilegrad.LinearRegression(),
    tilegrad.LinearRegression(solver="descent"),
    tilegrad.LogisticRegression(),
    tilegrad.LogisticRegression(solver="descent"),
    tilegrad.MLPClassifier(),
    tilegrad.MLPRegressor(),
    tilegrad.StandardScaler(),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn(estimator, check):
    check(estimator)
