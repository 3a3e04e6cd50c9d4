"""Pictures that tests make, and the bytes of their files."""
import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image


def noise(height=60, width=90) -> np.ndarray:
    "A photo that no format can squeeze to nothing."
    rough = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(rough, (0, 0), 2)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def encoded(image, format, **options) -> bytes:
    "The bytes that Pillow writes for a photo."
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, format,
                                                                               **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes, right: bool = True) -> bytes:
    "A chunk of a PNG, with a right or a wrong checksum."
    checksum = zlib.crc32(kind + content) ^ (not right)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
