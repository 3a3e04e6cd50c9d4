"""recipes/second_opinion.py and what measures it: DeepLab's grid, the mean, parts around people."""
import json

import keras
import numpy as np
import pytest

from bg_remover.images import write_image
from false_alarms import around_people
from quality import count_alarms
from second_opinion import Both, DeepLab, person_class, stride


class Grid(DeepLab):
    "DeepLab whose logits are the brightness at the middle of each of its cells."
    def __init__(self): pass

    def logits(self, pixels):
        at_cells = keras.layers.AveragePooling2D(1, stride)(pixels[..., :1])
        classes = np.zeros((1, 1, 1, 21), np.float32)
        classes[..., person_class] = 1
        return keras.layers.Conv2D(21, 1, use_bias=False, kernel_initializer=lambda shape,
                                   dtype: 20 * keras.ops.convert_to_tensor(classes))(at_cells)


@pytest.mark.parametrize("size", [(64, 96), (32, 32)], ids=str)
def test_what_deeplab_says_of_a_cell_stands_where_it_looked(size):
    image = keras.Input((*size, 3))
    model = keras.Model(image, Grid().probability(image))
    photo = np.zeros((1, *size, 3), np.float32)
    photo[:, 16, 16] = 255 # the middle of one cell
    answer = keras.ops.convert_to_numpy(model(photo))[0, ..., 0]
    assert answer.shape == size
    top = np.argwhere(answer > 0.9 * answer.max())
    assert np.abs(top.mean(0) - 16).max() <= 0.5 and answer.max() > 0.8
    assert answer[0].max() < 0.1 and answer[:, 0].max() < 0.1 # the next cells


def test_both_networks_are_asked_and_weighed():
    class Says:
        def __init__(self, number): self.number = number
        def run(self, outputs, feeds): return [np.full((1, 2, 2, 1), self.number)]
    answer, = Both([Says(1.0), Says(0.5)], 0.2).run(["probability"], {})
    assert np.allclose(answer, 0.9)


def test_the_largest_part_beside_everybody_is_taken(tmp_path):
    (tmp_path / "extra/frames").mkdir(parents=True)
    photo = np.zeros((200, 400, 3), np.uint8)
    photo[:, :160] = 255 # where the people are
    people = {"left": [[0.1, 0.5, 0.2, 1], [0.35, 0.5, 0.1, 0.5]], "everywhere": [[0.5, 0.5, 1, 1]]}
    for name in people: write_image(tmp_path / f"extra/frames/{name}.jpg", photo)
    (tmp_path / "extra/boxes.json").write_text(json.dumps(people))
    part, = around_people(tmp_path) # nothing is left of the second photo
    assert part.shape == (200, 232, 3) and part.mean() < 2
    assert count_alarms(lambda photo: photo[..., 0] / 255, 0.5, [part, 255 - part]) == (1, 2)
