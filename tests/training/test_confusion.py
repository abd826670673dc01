"""Which classes are confused most, by a matrix that is counted by hand."""

import numpy as np

from smallbignet.training.confusion import most_confused


def test_the_worst_pairs_come_first():
    matrix = np.array([[5, 3, 0, 0], [1, 9, 4, 0], [0, 0, 0, 2], [0, 1, 0, 6]])
    words = [str(pair) for pair in most_confused(matrix, ["a", "b", "c", "d"])]
    assert words == ['"b" taken for "c" (4 of 14)', '"a" taken for "b" (3 of 8)', '"c" taken for "d" (2 of 2)']
    assert most_confused(np.diag([2, 3]), ["a", "b"]) == []
