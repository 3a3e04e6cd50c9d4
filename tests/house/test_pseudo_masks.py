"""recipes/pseudo_masks.py: what a box allows, and where nobody was found."""
import numpy as np
import pytest

from pseudo_masks import corners, pseudo_mask

boxes = [[0.25, 0.5, 0.3, 0.8], [0.75, 0.5, 0.3, 0.8]] # left and right, centre and size


def test_a_box_becomes_rows_and_columns():
    rows, columns = corners([0.5, 0.5, 0.2, 0.4], (100, 200, 3))
    assert (rows.start, rows.stop, columns.start, columns.stop) == (30, 70, 80, 120)
    rows, columns = corners([0.5, 0.5, 0.2, 0.4], (100, 200), margin=0.5)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (10, 90, 60, 140)
    rows, columns = corners([0, 0, 0.4, 0.4], (100, 200)) # half outside
    assert (rows.start, rows.stop, columns.start, columns.stop) == (0, 20, 0, 40)


@pytest.mark.parametrize("probability, value", [(0.9, 255), (0.4, 128), (0.1, 0)])
def test_inside_a_box_the_answer_decides_and_a_doubtful_one_counts_neither_way(probability, value):
    answer = np.full((50, 100), 0.9, np.float32)
    answer[20:30, 20:30] = probability
    mask = pseudo_mask(answer, boxes)
    assert mask[25, 25] == value and mask[25, 75] == 255
    assert mask[:, 45:55].max() == 0 and mask[:2].max() == 0 # outside both boxes


def test_a_box_with_nobody_in_it_counts_neither_way():
    answer = np.zeros((50, 100), np.float32)
    answer[:, :50] = 0.9
    mask = pseudo_mask(answer, boxes)
    assert mask[25, 25] == 255 and (mask[8:42, 62:88] == 128).all() and mask[25, 50] == 0
