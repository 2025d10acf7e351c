"""The same from Python: an estimator as scikit-learn has them, in its pipelines and searches; its file is the command's.

    python3 examples/09_python.py

Needs the wheel: see host/python/README.md.
"""

import pathlib
import tempfile

import pandas as pd
from sklearn.model_selection import GridSearchCV, train_test_split

import tilegrad

table = pd.read_csv(pathlib.Path(__file__).parents[1] / "tests" / "data" / "breast_cancer.csv")
X, y = table.drop(columns="benign"), table["benign"]
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0)

# Settings are keyword arguments, so scikit-learn can search for the best.
search = GridSearchCV(tilegrad.LogisticRegression(), {"l2": [1e-3, 1e-2, 1e-1]}).fit(X_train, y_train)
accuracy = search.score(X_test, y_test)
print(f"{search.best_params_}: accuracy {accuracy:.3f} on the {len(X_test)} samples of the test")
assert accuracy > 0.9

with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder) / "model.safetensors"
    search.best_estimator_.save(file)
    # Needs NumPy alone; `tilegrad predict --model` reads the file too.
    model = tilegrad.Model.load(file)
    print(model, "on", tilegrad.device("auto")[1])
    assert (model.predict(X_test) == search.predict(X_test)).all()
