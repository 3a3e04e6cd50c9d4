"""Networks that tests know the answers of; apart from the tests, so that a worker process need
not import those."""
import os
import signal
import time

import numpy as np

from bg_remover.images import resize_image
from bg_remover.removal import Remover
from bg_remover.images import as_image


class RedRemover(Remover):
    "What is red is a person."
    def __init__(self):
        self.image_size, self.threshold, self.min_peak_probability = (64, 64), 0.5, 0.0

    def answer(self, photo):
        pixels = np.float32(resize_image(as_image(photo), self.image_size)) / 255
        return np.clip(2 * (pixels[..., 0] - pixels[..., 1:].max(2)), 0, 1)


class BrightRemover(Remover):
    "A bright photo is a person, all of it; a photo 13 pixels wide kills its process."
    def __init__(self, slow: float = 0):
        self.image_size, self.threshold, self.min_peak_probability = (8, 8), 0.5, 0.0
        self.slow = slow

    def answer(self, photo):
        time.sleep(self.slow)
        if photo.shape[1] == 13: os.kill(os.getpid(), signal.SIGKILL)
        return np.full(self.image_size, photo.mean() / 255, np.float32)
