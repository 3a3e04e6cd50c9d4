"""Packed pairs: bad files, interruption, and the same batches as from files."""
import numpy as np
import pytest

from bg_remover.base.errors import ImageError
from bg_remover.generator import PairError, Pairs, batches
from bg_remover.tool.packed import PackedPairs, pack_pairs
from pair_files import make_pair


@pytest.fixture
def folder(tmp_path):
    for number in range(10): make_pair(tmp_path, f"photo{number}", value=10 * number)
    return tmp_path


def pairs_of(folder, **settings): return Pairs(folder / "frames", folder / "masks", **settings)


def test_packed_pairs_are_the_pairs(folder):
    pairs = pairs_of(folder)
    packed = pack_pairs(pairs, folder / "all.npy", (20, 30))
    assert len(packed) == len(list(packed)) == 10 and [path.name for path in folder.iterdir()
                                                       if path.is_file()] == ["all.npy"]
    settings = dict(image_size=(20, 30), batch_size=4, shuffle=True, seed=3)
    for one, other in zip(batches(packed, **settings), batches(pairs, **settings)):
        assert all((a == b).all() for a, b in zip(one, other))
    frame, mask = packed[-1]
    assert frame.shape == (20, 30, 3) and mask.shape == (20, 30, 1)
    assert frame.dtype == mask.dtype == np.uint8 and frame.flags.c_contiguous
    assert (frame == 90).all() and set(np.unique(mask)) == {0, 1, 128}
    with pytest.raises(IndexError): packed[10]
    before = packed.path.stat().st_mtime_ns
    # not done again
    assert pack_pairs(pairs, packed.path, (20, 30)).path.stat().st_mtime_ns == before


def test_a_packed_file_that_does_not_fit_is_refused(folder):
    path, pairs = folder / "all.npy", pairs_of(folder)
    with pytest.raises(PairError, match="all.npy: no such file; make it with"): PackedPairs(path)
    pack_pairs(pairs, path, (20, 30))
    with pytest.raises(PairError, match=r"has 10 pairs of \(20, 30\), not 10 of \(30, 20\)"):
        pack_pairs(pairs, path, (30, 20))
    with pytest.raises(PairError, match="has 10 pairs .* not 5 of"):
        pack_pairs(pairs[:5], path, (20, 30))
    whole = path.read_bytes()
    for data in (whole[:-1], whole[:20], b"", b"PK\x03\x04 an archive"):
        path.write_bytes(data)
        with pytest.raises(PairError, match="all.npy: damaged or incomplete"): PackedPairs(path)
    np.save(path, np.zeros(3))
    with pytest.raises(PairError, match="all.npy: has no pairs"): PackedPairs(path)


def test_other_pairs_of_the_same_size_are_not_taken_for_these(folder):
    pairs = pairs_of(folder)
    pack_pairs(pairs[:5], folder / "all.npy", (20, 30))
    with pytest.raises(PairError, match="all.npy: has other pairs; choose another file"):
        pack_pairs(pairs[5:], folder / "all.npy", (20, 30))
    lists = [[pairs[number]] for number in (0, 1)]
    pack_pairs(lists[0], folder / "list.npy", (20, 30))
    pack_pairs([pairs[0]], folder / "list.npy", (20, 30))
    with pytest.raises(PairError, match="list.npy: has other pairs"):
        pack_pairs(lists[1], folder / "list.npy", (20, 30))


def test_packing_that_fails_leaves_nothing_behind(folder):
    (folder / "frames" / "photo7.png").write_bytes(b"no photo")
    with pytest.raises(ImageError, match="photo7.png"):
        pack_pairs(pairs_of(folder), folder / "all.npy", (20, 30))
    assert not [path for path in folder.iterdir() if path.is_file()]
