"""The model's card says what was measured, of the file that is there."""
import csv
from pathlib import Path

from bg_remover.base.network import min_peak
from bg_remover.removal import Remover
from person_model import false_alarms, kinds_table, second_opinion

root = Path(__file__).resolve().parents[2]
card = (root / "bg_remover/weights/MODEL_CARD.md").read_text(encoding="utf-8")


def test_the_kinds_of_photos_are_those_measured_last():
    assert kinds_table() in card
    with open(root / "benchmarks/results/quality.csv", newline="") as file:
        whole = {row["network"]: row["IoU"] for row in csv.DictReader(file)}
    first = next(line for line in card.splitlines() if line.startswith("| all |"))
    assert f" {float(whole['bg_remover as it ships']):.3f} " in first


def test_the_limits_are_those_of_the_file():
    network = Remover()
    assert f"threshold {network.threshold};" in card
    assert f"that reach {network.min_peak_probability:g} somewhere" in card
    assert f"({min_peak(network.description, careful=True):g} for the mean" in card


def test_false_alarms_and_the_second_opinion_are_those_measured_last():
    assert false_alarms() in card and second_opinion() in card
