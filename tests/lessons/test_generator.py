"""Pairs and batches: what reads badly in the notebook."""
import threading

import cv2
import numpy as np
import pytest

from bg_remover.generator import (Batches, PairError, Pairs, Step, all_steps, as_mask, augment_pair,
                                  batches, find_place, ignored, light_steps,
                                  make_plan, paste_people, view_steps)
from bg_remover.base.errors import ImageError
from bg_remover.images import resize_image, resize_mask, write_image, write_mask
from pair_files import make_pair


@pytest.fixture
def folder(tmp_path):
    for number in range(10): make_pair(tmp_path, f"photo{number}", value=10 * number)
    return tmp_path


def pairs_of(folder, **settings): return Pairs(folder / "frames", folder / "masks", **settings)


def numbers(count=10, **settings):
    "Batches of the numbers of the pairs themselves."
    settings = dict(batch_size=4, shuffle=True, seed=1, steps=None) | settings
    return Batches(lambda index, rng: (np.int64(index),), count, **settings)


def epoch_of(stream, epoch):
    stream.epoch = epoch
    return np.concatenate([batch for batch, in stream]).tolist()


# Pairs

def test_frames_and_masks_are_matched_by_name(tmp_path):
    for name in ("b", "a", "c.d"): make_pair(tmp_path, name)
    (tmp_path / "frames" / "a.png").rename(tmp_path / "frames" / "a.JPG") # the suffix plays no part
    # a mask without frame shifts nothing
    make_pair(tmp_path, "0"); (tmp_path / "frames" / "0.png").unlink()
    (tmp_path / "frames" / ".a.png.part").write_bytes(b"half written")
    pairs = pairs_of(tmp_path)
    assert [path.stem for path in pairs.frame_paths] == [path.stem
                                                         for path in pairs.mask_paths] == ["a", "b",
                                                                                           "c.d"]


def test_a_pair_is_rgb_and_its_crowd_stays_apart(tmp_path):
    make_pair(tmp_path, "one")
    red = np.zeros((30, 40, 3), np.uint8); red[..., 0] = 200
    write_image(tmp_path / "frames" / "one.png", red)
    frame, mask = pairs_of(tmp_path)[0]
    assert frame.dtype == mask.dtype == np.uint8 and (frame == (200, 0, 0)).all()
    assert mask.shape == (30, 40, 1) and set(np.unique(mask)) == {0, 1, 128}
    assert mask[0, -1] == 128 and mask[-1, -1] == 0


def test_without_masks_frames_come_alone(folder):
    frames = Pairs(folder / "frames")
    assert frames.mask_paths is None and frames[2:4].mask_paths is None and frames[-1].shape == (30,
                                                                                                 40,
                                                                                                 3)
    with pytest.raises(PairError, match="no masks"): batches(frames)


@pytest.mark.parametrize("part",
                         [slice(None), slice(2, 9, 3), slice(-3, None), slice(8, 100),
                          slice(None, None, -2), slice(5, 5), slice(-100, 4)])
def test_slices_are_those_of_a_list(folder, part):
    pairs, everything = pairs_of(folder), list(range(10))
    kept = pairs[part]
    for paths in (kept.frame_paths, kept.mask_paths):
        assert [int(path.stem[5:]) for path in paths] == everything[part]
    assert len(pairs) == 10 # the original is whole


def test_index(folder):
    pairs = pairs_of(folder)
    assert pairs[-1][0][0, 0, 0] == pairs[np.int64(9)][0][0, 0, 0] == 90
    assert len(list(pairs)) == 10 # a for loop ends
    with pytest.raises(IndexError): pairs[10]


def test_start_and_count(folder):
    assert [path.stem for path in pairs_of(folder, start=7, count=2).frame_paths] == ["photo7",
                                                                                      "photo8"]
    assert len(pairs_of(folder, start=7)) == 3
    assert len(pairs_of(folder, start=7, count=3)) == 3


@pytest.mark.parametrize("settings",
                         [dict(count=11), dict(start=7, count=4), dict(start=10), dict(start=-1),
                          dict(count=0), dict(count=-2)])
def test_more_than_there_is(folder, settings):
    with pytest.raises(PairError, match="frames: 10 frames, too few"): pairs_of(folder, **settings)


def test_names_choose_and_order(folder):
    pairs = pairs_of(folder, names=(name for name in ("photo5", "photo2")))
    assert [path.stem for path in pairs.mask_paths] == ["photo5", "photo2"]
    with pytest.raises(PairError, match="no frame named photo99"):
        pairs_of(folder, names=["photo2", "photo99"])


def test_frame_without_mask(folder):
    (folder / "masks" / "photo3.png").unlink()
    with pytest.raises(PairError, match=r"photo3\.png: no mask photo3\.png in .*masks"):
        pairs_of(folder)
    assert len(pairs_of(folder, names=["photo2"])) == 1


def test_two_frames_of_one_name(folder):
    make_pair(folder, "photo3")
    (folder / "frames" / "photo3.jpg").write_bytes(b"")
    with pytest.raises(PairError, match="photo3.png: photo3.jpg has the same name; remove one"):
        pairs_of(folder)


def test_mask_of_another_size(folder):
    write_mask(folder / "masks" / "photo4.png", np.zeros((30, 41), np.uint8))
    with pytest.raises(PairError, match=r"photo4.png: the mask is \(30, 41\), its frame "
                       r".*photo4.png is \(30, 40\); remove"):
        pairs_of(folder)[4]


def test_empty_and_missing_folders(tmp_path):
    with pytest.raises(PairError, match="nowhere: no such folder; prepare pairs first"):
        Pairs(tmp_path / "nowhere")
    with pytest.raises(PairError, match="no .jpg or .jpeg or .png here; prepare"): Pairs(tmp_path)
    make_pair(tmp_path, "one"); (tmp_path / "masks" / "one.png").unlink()
    with pytest.raises(PairError, match="masks: no .png here"): pairs_of(tmp_path)


def test_a_truncated_frame_is_named(folder):
    path = folder / "frames" / "photo1.png"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ImageError, match="photo1.png"): batches(pairs_of(folder), (32, 32))[0]


# Augmentation

def view(frame, mask, size, rng): return augment_pair(frame, mask, size, rng, view_steps)


def blobs(rng, height, width):
    "A mask of smooth blobs, so that its outline is short."
    noise = cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), 9)
    return (noise > 0).astype(np.uint8)[..., None]


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (48, 128)])
@pytest.mark.parametrize("seed", range(8))
def test_frame_and_mask_move_together(seed, size):
    rng = np.random.default_rng(seed)
    mask = blobs(rng, 120, 90)
    frame, moved = view(mask.repeat(3, axis=2) * 255, mask, size, rng)
    assert frame.shape == (*size, 3) and moved.shape == (*size, 1)
    assert moved.dtype == np.uint8 and set(np.unique(moved)) <= {0, 1}
    rim = (cv2.dilate(moved, np.ones((5, 5))) != cv2.erode(moved, np.ones((5, 5))))[..., None]
    different = (frame[..., :1] > 127) != moved
    assert (different & ~rim).mean() < 0.005 # a speck of a pixel or two may vanish
    assert different.mean() < 0.02 and 0.05 < moved.mean() < 0.95


def test_views_differ_in_place_and_in_handedness():
    half = np.zeros((64, 64, 1), np.uint8); half[:, :32] = 1
    views = [view(half.repeat(3, axis=2), half, (64, 64), np.random.default_rng(seed))[1][..., 0]
             for seed in range(40)]
    left = sum(view[:, :8].mean() > view[:, -8:].mean() for view in views)
    assert 10 <= left <= 30 # about half are mirrored
    assert len({view.tobytes() for view in views}) == 40


@pytest.mark.parametrize("seed", range(30))
def test_colour_is_what_its_steps_give_one_after_the_other(seed):
    """Saturation, contrast, brightness, tint, grey, focus: as numbers with a point, in this
    order, rounded once before the focus."""
    frame = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), np.uint8)
    rng, same = np.random.default_rng(seed), np.random.default_rng(seed)
    def happens(probability): return rng.random() < probability
    pixels, average = frame.astype(float), frame.mean()
    if happens(1):
        grey = pixels.mean(2, keepdims=True)
        pixels = grey + (pixels - grey) * rng.uniform(0.5, 1.5)
    if happens(1): pixels = (pixels - average) * rng.uniform(0.7, 1.4) + average
    if happens(1): pixels = pixels + average * rng.uniform(-0.4, 0.4)
    if happens(1): pixels = pixels * rng.uniform(0.9, 1.1, 3)
    if happens(0.05): pixels = pixels.mean(2, keepdims=True).repeat(3, axis=2)
    pixels = pixels.clip(0, 255)
    if happens(0.15): pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.5, 1.5))
    mask = np.zeros((24, 24, 1), np.uint8)
    # bytes after the mix, and after the focus
    assert np.abs(augment_pair(frame, mask, (24, 24), same, light_steps)[0] - pixels).max() < 2.1
    assert same.random() == rng.random() # and nothing more was drawn


def test_grey_is_grey_whatever_else_happens():
    frame, mask = np.random.default_rng(0).integers(0, 256, (32, 32, 3),
                                                    np.uint8), np.zeros((32, 32, 1), np.uint8)
    always = tuple(Step(change, 1) for change, _ in all_steps)
    changed = augment_pair(frame, mask, (32, 32), np.random.default_rng(1), always)[0]
    assert (changed == changed[..., :1]).all() and changed.std() > 5


def test_a_step_with_probability_0_draws_nothing_and_a_step_in_the_list_happens_as_often_as_it_says(
):
    happened = []
    def note(plan, rng): happened.append(rng.random())
    for place in range(len(all_steps) + 1):
        rngs = [np.random.default_rng(3), np.random.default_rng(3)]
        plans = [make_plan(steps, (32, 48), rng)
                 for steps, rng in zip((all_steps,
                                        (*all_steps[:place], Step(note, 0), *all_steps[place:])),
                                       rngs)]
        assert (plans[0].view == plans[1].view).all() and (plans[0].colour == plans[1].colour).all()
        assert rngs[0].random() == rngs[1].random()
    assert not happened
    for seed in range(200): make_plan((Step(note, 0.3),), (32, 32), np.random.default_rng(seed))
    assert 40 <= len(happened) <= 80


def test_a_crowd_moves_with_its_frame_and_is_not_pasted():
    mask = np.zeros((60, 60, 1), np.uint8); mask[:, :20], mask[:, 20:40] = 128, 1
    frame = mask.repeat(3, axis=2)
    seen, moved = view(frame, mask, (40, 40), np.random.default_rng(0))
    assert set(np.unique(moved)) <= {0, 1, 128} and (moved == 128).any()
    both = paste_people(frame, 0 * mask, frame, mask)[1]
    assert (both == (mask == 1)).all() # the crowd stays where it was
    # people of the other pair in columns 40 to 59
    kept = paste_people(frame, mask, frame, np.roll(mask, 20, axis=1))[1][..., 0]
    assert (kept[:, :20] == 128).all() and (kept[:, 20:] == 1).all()


def window_by_hand(size, rng):
    """The whole photo's size (height, width) before a view is cut from it, and where each of the
    view's pixels lies there: x and y."""
    # first whether, then how much
    def drawn(*limits, count=None): rng.random(); return rng.uniform(*limits, count)
    zoom, wider = np.exp(drawn(-0.22, 0.7)), np.exp(drawn(-0.2, 0.2))
    shift, angle = drawn(-1, 1, count=2), drawn(-0.15, 0.15)
    mirror = -1 if rng.random() < 0.5 else 1
    whole = round(size[0] * zoom * wider), round(size[1] * zoom / wider)
    middle, window = (np.array(whole[::-1]) - 1) / 2, (np.array(size[::-1]) - 1) / 2
    center = middle + (middle - window) * shift
    columns, rows = np.meshgrid(*(np.arange(side) - half for side, half in zip(size[::-1], window)))
    x = center[0] + np.cos(angle) * mirror * columns - np.sin(angle) * rows
    y = center[1] + np.sin(angle) * mirror * columns + np.cos(angle) * rows
    return whole, x, y


@pytest.mark.parametrize("size", [(64, 64), (200, 150)])
@pytest.mark.parametrize("seed", range(6))
def test_a_view_is_a_window_into_the_whole_photo_enlarged(seed, size):
    """Another way to the same picture: bring the whole photo to its size first, then look up
    each pixel of the window."""
    mask = blobs(np.random.default_rng(seed), 120, 90)
    frame = cv2.GaussianBlur(np.random.default_rng(seed).integers(0, 256, (120, 90, 3), np.uint8),
                             (0, 0), 3)
    whole, x, y = window_by_hand(size, np.random.default_rng(seed))
    inside = (x > 2) & (x < whole[1] - 3) & (y > 2) & (y < whole[0] - 3)
    maps = x.astype(np.float32), y.astype(np.float32)
    seen, moved = view(frame, mask, size, np.random.default_rng(seed))
    expected = cv2.remap(resize_image(frame, whole), *maps, cv2.INTER_LINEAR)
    assert inside.mean() > 0.5 and np.abs(seen.astype(int) - expected)[inside].mean() < 2.5
    people = cv2.remap(resize_mask(mask, whole), *maps, cv2.INTER_NEAREST)
    assert (moved[..., 0] != people)[inside].mean() < 0.02


def test_colour_leaves_the_mask_alone(folder):
    frame, mask = pairs_of(folder)[5]
    seen, moved = augment_pair(frame, mask, (32, 32), np.random.default_rng(3))
    expected = view(frame, mask, (32, 32), np.random.default_rng(3))[1]
    assert (moved == expected).all() and seen.dtype == np.uint8 and (seen != frame[0, 0]).any()


def test_pasted_people_cover_and_nothing_else_changes():
    rng = np.random.default_rng(0)
    frame, other = rng.integers(0, 256, (2, 40, 40, 3), np.uint8)
    mask, other_mask = np.zeros((2, 40, 40, 1), np.uint8)
    mask[:8, :8], other_mask[20:36, 20:36] = 1, 1
    pasted, both = paste_people(frame, mask, other, other_mask)
    assert pasted.dtype == both.dtype == np.uint8 and (both == np.maximum(mask, other_mask)).all()
    assert (pasted[25:31, 25:31] == other[25:31, 25:31]).all() # their inside
    far = np.ones((40, 40), bool)
    far[15:, 15:] = False
    assert (pasted[far] == frame[far]).all()
    seam = pasted[28, 17:23].astype(int) # neither frame alone, but always between the two
    one, two = frame[28, 17:23], other[28, 17:23]
    assert (seam >= np.minimum(one, two)).all() and (seam <= np.maximum(one, two)).all()
    assert (seam != one).any() and (seam != two).any()


# The shipped recipe

stale = """the first batch of the shipped recipe (recipes/person_model.py) has changed:
other random draws, or other pixels from the same ones.
If you did not mean that, a step draws where it should not: give it probability 0, or put it last.
If you did, this becomes stale:
- the recipe: bg_remover/weights was trained with the earlier draws, so training again gives
  another network; say so in CHANGELOG.md;
- the stored outputs of every notebook that augments: make notebook NAME=05_generator,
  and 07_training, 10_fine_tuning, scale/devices, solutions/05_generator;
- curves and tables that recipes/augmentation_runs.py and benchmarks/recipe.py made.
Then put these figures into `first_batches`:
"""
first_batches = { # mean of each frame and, in percent, of each mask
    "3-photos": [172.4, 98.2, 98.5, 140.1, 112.5, 140.6, 58.1, 48.3, 51.9, 39.8, 91.0, 56.9],
    "4-longer": [130.5, 142.0, 85.9, 118.2, 82.3, 163.3, 41.2, 56.2, 72.6, 52.1, 33.8, 60.7],
    "5-pasted": [119.7, 107.4, 111.0, 99.9, 129.4, 108.0, 47.1, 47.6, 87.8, 56.2, 80.7, 48.8],
}


def smooth_pairs(count=12):
    "Pairs without noise, so that another processor's rounding changes next to nothing."
    rng = np.random.default_rng(0)
    for _ in range(count):
        colours = cv2.resize(rng.integers(0, 256, (4, 4, 3)).astype(np.float32), (96, 72),
                             interpolation=cv2.INTER_LINEAR)
        yield np.uint8(colours), blobs(rng, 72, 96)


def test_the_first_batch_of_the_shipped_recipe_is_what_it_was():
    import person_model
    pairs, found = list(smooth_pairs()), {}
    for seed, phase in enumerate(person_model.phases[3:], 3): # the three ways to vary that it has
        frames, masks = batches(pairs, (64, 64), 6, shuffle=True, augment=phase.vary,
                                paste=phase.paste, seed=seed)[0]
        means = *frames.mean(axis=(1, 2, 3)), *100 * masks.mean(axis=(1, 2, 3))
        found[phase.folder] = [round(float(mean), 1) for mean in means]
    near = found.keys() == first_batches.keys() and all(np.allclose(found[name],
                                                                    first_batches[name], atol=0.5)
                                                        for name in found)
    assert near, stale + "\n".join(f"    {name!r}: {values}," for name, values in found.items())


# Batches

def test_some_pairs_get_the_people_of_another(folder):
    pairs = pairs_of(folder)
    def stream(paste): return batches(pairs, (30, 40), 10, paste=paste, seed=0)[0][0]
    never, sometimes, always, again = stream(0), stream(0.5), stream(1), stream(1)
    # right half: background; left half: people
    backgrounds, people = always[:, 15, 30, 0], always[:, 15, 5, 0]
    assert backgrounds.tolist() == list(range(0, 100, 10)) == never[:, 15, 5, 0].tolist()
    assert set(people) <= set(backgrounds) and (people != backgrounds).sum() > 5
    assert 0 < (sometimes != never).any(axis=(1, 2, 3)).sum() < 10
    assert (always == again).all()


def test_batches_hold_what_fit_needs(folder):
    plain = batches(pairs_of(folder), (32, 64), batch_size=4)
    got = list(plain)
    assert len(plain) == 3 and [len(frames) for frames, _ in got] == [4, 4, 2]
    for frames, masks in got:
        assert frames.shape[1:] == (32, 64, 3) and masks.shape[1:] == (32, 64, 1)
        assert frames.dtype == masks.dtype == np.float32 and set(np.unique(masks)) == {0, ignored,
                                                                                       1}
    # pixels 0–255, in order
    assert np.concatenate([frames for frames, _ in got])[:, 0, 0,
                                                         0].tolist() == list(range(0, 100, 10))
    with pytest.raises(IndexError): plain[3]
    with pytest.raises(IndexError): plain[-1]


def test_a_list_of_pairs_will_do(folder):
    pairs = pairs_of(folder)
    for one, other in zip(batches(pairs, (32, 32), 4, seed=2, shuffle=True),
                          batches(list(pairs), (32, 32), 4, seed=2, shuffle=True)):
        assert all((a == b).all() for a, b in zip(one, other))


@pytest.mark.parametrize("as_given", [
    lambda mask: mask, lambda mask: mask == 1, lambda mask: (mask == 1) * np.uint8(255),
                                      lambda mask: (mask == 1)[..., 0],
                                      lambda mask: np.float32(mask == 1),
    lambda mask: np.int64(mask == 1) * 255, lambda mask: mask * np.uint8(255)])
def test_masks_of_any_form_are_converted_once(folder, as_given):
    "Issue: 0 and 255 in a list gave a loss of −22."
    pairs = list(pairs_of(folder)[:3])
    given = [(frame, as_given(mask)) for frame, mask in pairs]
    for settings in ({}, dict(augment=augment_pair, paste=0.5)):
        masks, expected = (batches(those, (32, 32), 3, **settings)[0][1]
                           for those in (given, pairs))
        assert ((masks == expected) | (expected == ignored)).all()
        assert set(np.unique(masks)) <= {0, 1, ignored}


@pytest.mark.parametrize("values",
                         [(0, 2), (0, 1, 255), (0, 254, 255), (0, 0.5), (-1, 0, 1), (0, 100)])
def test_a_mask_with_other_values_is_refused(values):
    mask = np.resize(np.array(values), (20, 20, 1))
    with pytest.raises(PairError, match="a mask must hold 0 and 1, or 0, 128 and 255, not"):
        batches([(np.zeros((20, 20, 3), np.uint8), mask)], (16, 16))[0]


def test_one_form_for_all_masks():
    mask = as_mask(np.uint8([[0, 128], [255, 0]]))
    assert mask.tolist() == [[[0], [128]], [[1], [0]]] == as_mask(mask).tolist()
    assert not as_mask(np.zeros((2, 2), bool)).any()
    assert as_mask(np.ones((2, 2), bool)).dtype == np.uint8


@pytest.mark.parametrize("settings", [dict(batch_size=0), dict(steps=0), dict(pairs=[])])
def test_nothing_to_read(folder, settings):
    with pytest.raises(ValueError, match="must be at least 1"):
        batches(**dict(pairs=pairs_of(folder)) | settings)


def test_an_epoch_holds_every_pair_once():
    stream = numbers()
    epochs = [epoch_of(stream, epoch) for epoch in range(4)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert epoch_of(numbers(seed=2), 0) != epochs[0]
    assert epoch_of(numbers(shuffle=False), 3) == list(range(10))


@pytest.mark.parametrize("count, batch_size, steps", [(10, 4, 2), (10, 4, 7), (3, 8, 2), (7, 7, 1)])
def test_the_stream_has_no_gap_and_no_repeat(count, batch_size, steps):
    "Epochs of any length, laid end to end, are whole turns through all pairs."
    stream = numbers(count, batch_size=batch_size, steps=steps)
    # count epochs are a whole number of turns
    epochs = [epoch_of(stream, epoch) for epoch in range(count)]
    assert all(len(epoch) == steps * batch_size for epoch in epochs)
    turns = np.reshape(epochs, (-1, count))
    assert (np.sort(turns) == np.arange(count)).all()
    resumed = numbers(count, batch_size=batch_size, steps=steps)
    assert [epoch_of(resumed, epoch) for epoch in range(2, count)] == epochs[2:]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_shares_of_the_workers_are_the_batch(workers):
    stream, read = numbers(12, batch_size=4), []
    stream.read_one = lambda index, rng: read.append(index) or (np.int64(index),)
    shares = [stream.part(number, workers) for number in range(workers)]
    for step in range(3):
        batch, = numbers(12, batch_size=4)[step]
        assert np.concatenate([share[step][0] for share in shares]).tolist() == batch.tolist()
    assert sorted(read) == list(range(12)) # each pair once, by one worker


def test_same_seed_same_batches(folder):
    def make(seed):
        return batches(pairs_of(folder), (32, 32), 4, shuffle=True, augment=augment_pair, seed=seed)
    first, again, other = make(5), make(5), make(6)
    again.epoch = 1
    last = again[2] # asked for out of order
    again.epoch = 0
    for step in (2, 0, 1): assert all((a == b).all() for a, b in zip(first[step], again[step]))
    first.epoch = 1
    assert all((a == b).all() for a, b in zip(first[2], last))
    first.epoch = 0
    assert any((first[step][0] != other[step][0]).any() for step in range(3))


def test_each_turn_varies_a_pair_anew():
    chance = Batches(lambda index, rng: (rng.random(),), 5, batch_size=5, shuffle=False, seed=0,
                     steps=None)
    draws = [value for epoch in range(10) for value in epoch_of(chance, epoch)]
    assert len(set(draws)) == 50


# fit

class Watch:
    "Batches that note what is read, and a network of one weight that notes what arrives."
    def __init__(self, **settings):
        import keras
        self.batches = Batches(self.read, 10,
                               **dict(batch_size=4, shuffle=True, seed=1, steps=None) | settings)
        self.seen = []
        watch = self

        class Note(keras.layers.Layer):
            def call(self, value, training=False):
                if training: watch.note(value)
                return value

        self.model = keras.Sequential([keras.Input((1,)), Note(), keras.layers.Dense(1)])
        self.model.compile(loss="mse", run_eagerly=True)

    def read(self, index, rng): return np.float32([index]), np.float32([0])
    def note(self, value): self.seen.append([int(number) for number in np.asarray(value)[:, 0]])

    def fit(self, first, last):
        import keras
        self.seen.clear()
        self.model.fit(self.batches, epochs=last, initial_epoch=first, shuffle=False, verbose=0)
        return list(self.seen)


def promised(epochs, **settings):
    stream = numbers(**settings)
    return [batch.tolist() for epoch in epochs for stream.epoch in [epoch] for batch, in stream]


@pytest.mark.parametrize("steps", [None, 2])
def test_fit_sees_the_batches_in_the_order_promised(steps):
    watch = Watch(steps=steps)
    assert watch.fit(0, 3) == promised(range(3), steps=steps)
    assert watch.fit(3, 5) == promised([3, 4], steps=steps) # a second call goes on
    resumed = Watch(steps=steps)
    resumed.batches.epoch = 2
    assert resumed.fit(2, 4) == promised([2, 3], steps=steps)


def test_an_interrupted_epoch_can_be_seen_again():
    """As when a notebook's cell is stopped and run again: `train` sets the epoch when Keras
    begins one."""
    import keras
    watch = Watch()
    follow = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch,
                                            logs: setattr(watch.batches, "epoch", epoch))

    def stop(step, logs):
        if len(watch.seen) == 4: raise KeyboardInterrupt
    interrupt = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
    with pytest.raises(KeyboardInterrupt):
        watch.model.fit(watch.batches, epochs=3, shuffle=False, verbose=0,
                        callbacks=[follow, interrupt])
    assert watch.seen == promised(range(2))[:4]
    watch.seen.clear()
    watch.model.fit(watch.batches, initial_epoch=1, epochs=3, shuffle=False, verbose=0,
                    callbacks=[follow])
    assert watch.seen == promised([1, 2])


def test_no_batch_of_an_old_epoch_reaches_the_model():
    "Slow reading and Keras' own reading ahead, two threads of it, change nothing."
    watch = Watch()
    watch.batches.workers = 2
    read, pause = watch.batches.read_one, threading.Event()
    watch.batches.read_one = lambda index, rng: (pause.wait(0.01), read(index, rng))[1]
    assert watch.fit(0, 4) == promised(range(4))


def test_an_error_in_fit_names_the_file(folder):
    write_mask(folder / "masks" / "photo9.png", np.zeros((5, 5), np.uint8))
    import keras
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(1, 1)])
    model.compile(loss="mse")
    with pytest.raises(Exception, match="photo9.png: the mask is"):
        model.fit(batches(pairs_of(folder), (32, 32), 2), shuffle=False, verbose=0)
