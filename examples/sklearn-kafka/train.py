"""Train a classifier of handwritten digits and save it as mnist-svm.joblib in the working directory."""

import joblib
from sklearn import datasets, svm
from sklearn.model_selection import train_test_split

digits = datasets.load_digits()
pixels = digits.images.reshape((len(digits.images), -1))
X_train, X_test, y_train, y_test = train_test_split(pixels, digits.target, test_size=0.5, shuffle=False)

classifier = svm.SVC(gamma=0.001)
classifier.fit(X_train, y_train)
joblib.dump(classifier, "mnist-svm.joblib")
