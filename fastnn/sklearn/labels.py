# SPDX-License-Identifier: BSD-3-Clause
"""Class labels of any kind, and what a network is trained with and returns in their place.

The labels of one column are numbered in their sorted order: two of them are one yes-or-no question, more are as many
outputs. Several columns of 0 and 1 (multi-label) are a question each.
"""

from __future__ import annotations

from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

Kind = Literal["binary", "multiclass", "multilabel"]
OF_CLASSES = ("binary", "multiclass", "multiclass-multioutput", "multilabel-indicator")  # scikit-learn's kinds of y


class Labels:
    """What the labels are.

    Parameters
    ----------
    kind : {"binary", "multiclass", "multilabel"}
    classes : ndarray (n,)
        The labels, sorted; of multi-label targets the numbers of the columns.
    sparse : bool, default False
        Whether multi-label targets were a sparse matrix, as predictions are then.

    Examples
    --------
    >>> import numpy as np
    >>> labels = Labels.of(np.array(["cat", "dog", "cat", "owl"]))
    >>> labels.kind, labels.outputs, labels.numbers(np.array(["owl", "cat"])).tolist()
    ('multiclass', 3, [2, 0])
    >>> labels.named(np.array([[0.1, 0.8, 0.1]])).tolist()
    ['dog']
    """

    def __init__(self, kind: Kind, classes: NDArray[Any], sparse: bool = False) -> None:
        self.kind: Kind = kind
        self.classes = classes
        self.sparse = sparse

    @classmethod
    def of(cls, y: Any) -> Labels:
        """The labels of targets, or of a list of all classes."""
        found = type_of_target(y)
        if found == "unknown" and isinstance(y, np.ndarray) and y.dtype.kind == "O":
            raise ValueError(
                f"Unknown label type: y is an array of Python objects, the first a {type(y.flat[0]).__name__}, but "
                "labels must be strings, or numbers or bools in an array of their own type: y.astype(int), for example"
            )
        if found not in OF_CLASSES:
            check_classification_targets(y)  # says what is wrong
        if found == "multiclass-multioutput":
            raise ValueError(
                "y has several columns of classes: use one column, columns of 0 and 1 (multi-label), or "
                "sklearn.multioutput.MultiOutputClassifier"
            )
        if found == "multilabel-indicator":
            return cls("multilabel", np.arange(y.shape[1]), hasattr(y, "toarray"))
        # NumPy finds them in all rows; of these few scikit-learn makes its own type (objects become strings).
        classes = unique_labels(np.unique(y))
        return cls("multiclass" if len(classes) > 2 else "binary", classes)

    @property
    def outputs(self) -> int:
        """Outputs that a network needs."""
        return 1 if self.kind == "binary" else len(self.classes)

    def numbers(self, y: Any, name: str = "y") -> NDArray[Any]:
        """Class numbers (rows,), or 0 and 1 (rows, questions), of labels that are known; name: what errors call y."""
        if self.kind == "multilabel":
            if not type_of_target(y).startswith("multilabel") or y.shape[1] != len(self.classes):
                raise ValueError(f"{name} must have {len(self.classes)} columns of 0 and 1 as in the first fit")
            answers = np.asarray(y.toarray() if hasattr(y, "toarray") else y)
            others = answers[(answers != 0) & (answers != 1)]
            if others.size:
                raise ValueError(
                    f"{name} has several columns, which must be of 0 and 1 (multi-label), but has {others[0]}"
                )
            return answers
        if y.ndim != 1:
            raise ValueError(f"{name} has {y.shape[1]} columns, but the labels of the first fit were one column")
        places: NDArray[Any] = np.searchsorted(self.classes, y)
        if (self.classes[np.minimum(places, len(self.classes) - 1)] != y).any():
            unknown = np.setdiff1d(y, self.classes)
            raise ValueError(f"{name} has classes {unknown} that are not among the known classes {self.classes}")
        return places

    def chosen(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """The likeliest answer to outputs (rows, outputs), as numbers() has it."""
        if self.kind == "multiclass":
            largest: NDArray[Any] = outputs.argmax(axis=1)
            return largest
        if self.kind == "multilabel":
            return (outputs > 0.5).astype(np.int64)
        yes: NDArray[Any] = (outputs[:, 0] > 0.5) * np.int64(len(self.classes) - 1)  # a single class is always right
        return yes

    def named(self, outputs: NDArray[Any]) -> Any:
        """The likeliest labels; of multi-label targets in the form of y, an array or a sparse matrix."""
        chosen = self.chosen(outputs)
        if self.kind == "multilabel":
            return csr_matrix(chosen) if self.sparse else chosen
        return self.classes[chosen]

    def probabilities(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Of each class, (rows, classes)."""
        if self.kind != "binary":
            return outputs
        yes = outputs[:, 0]
        return np.ones_like(outputs) if len(self.classes) == 1 else np.column_stack((1 - yes, yes))

    # ---- weights and scores -------------------------------------------------------------------------------------

    def weights(self, wanted: dict[Any, float] | Literal["balanced"], y: NDArray[Any]) -> NDArray[np.float64]:
        """The weight of each row's class (rows,); "balanced" makes the classes of these rows weigh the same."""
        if self.kind == "multilabel":
            raise ValueError("class_weight is for one class per row, not for multi-label targets")
        if isinstance(wanted, dict):
            known, present = set(self.classes.tolist()), set(unique_labels(y).tolist())
            unknown = [label for label in wanted if label not in known]
            if unknown:
                raise ValueError(f"class_weight has the labels {unknown}, but the classes are {self.classes.tolist()}")
            given: dict[Any, Any] = wanted
            for label, weight in given.items():
                if not (isinstance(weight, Real) and 0 <= float(weight) < np.inf):
                    raise ValueError(f"class_weight[{label!r}] is {weight!r}, but must be finite and not negative")
            wanted = {label: weight for label, weight in wanted.items() if label in present}
        found: NDArray[np.float64] = compute_sample_weight(wanted, y)
        return found

    def accuracy(self, outputs: NDArray[Any], y: NDArray[Any], weights: NDArray[Any] | None) -> float:
        """The share of rows with the right answer, of several questions with every answer right; y as numbers."""
        right = self.chosen(outputs) == y
        return float(np.average(right.all(axis=1) if right.ndim == 2 else right, weights=weights))
