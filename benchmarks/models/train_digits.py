"""Train the walk-through's digits SVC: `python train_digits.py FOLDER`, run by each server's own interpreter.

A joblib file is only safe to load with the scikit-learn that wrote it, so each environment trains its own from the
same data and parameters. Beside the model go the test rows and this model's own predictions, which answers are
checked against.
"""

import json
import sys
from pathlib import Path

import joblib
import sklearn
from sklearn import datasets, svm
from sklearn.model_selection import train_test_split


def main(folder: Path) -> None:
    """Write `mnist-svm.joblib` and `digits.json` (rows, labels, scikit-learn version)."""
    digits = datasets.load_digits()
    rows = digits.images.reshape((len(digits.images), -1))
    x_train, x_test, y_train, _ = train_test_split(rows, digits.target, test_size=0.5, shuffle=False)
    classifier = svm.SVC(gamma=0.001)
    classifier.fit(x_train, y_train)
    joblib.dump(classifier, folder / "mnist-svm.joblib")
    checks = {
        "rows": x_test.tolist(),
        "labels": [float(label) for label in classifier.predict(x_test)],
        "sklearn": sklearn.__version__,
    }
    (folder / "digits.json").write_text(json.dumps(checks))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
