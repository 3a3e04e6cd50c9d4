"""Would the U-Net learn more from photos that came later? Train it on them, in small steps.

    python recipes/more_photos.py DATA RUN --pseudo FOLDER [--precision mixed_bfloat16]

DATA holds pairs/ and extra/ (frames, masks, index.csv with name, source, split), FOLDER is from
pseudo_masks.py. Called again, it goes on. It starts from the shipped weights; RUN gets history.csv,
last.weights.h5 (with the optimizer, to go on), average.weights.h5 and best.weights.h5 (by the mean
IoU on `choose`, at the photos' own size). The answer was no: benchmarks/results/more_photos.csv
holds its history, beside that of the second network on the same photos.
"""
import keras

from arguments import add_precision, add_pseudo, recipe_parser
from person_network import Keep, Phase, compile_for, fit, turns
from person_photos import MaskedPhotos

from bg_remover.base.backbones import encoder_layers
from bg_remover.base.runs import read_history
from bg_remover.model import freeze_encoder, pretrained_unet

phase, used_at = Phase("more-photos", 320, 6, 3e-4, None), 384
encoder_share = 0.1  # of the rate
often = turns | {"background": 3, "voc-background": 3}  # in each turn


def unet(side: int) -> keras.Model:
    "The U-Net as it ships, for pictures of any size; only the encoder's normalisation is frozen."
    return freeze_encoder(pretrained_unet(image_size=(side, side)), 0)


def main():
    parser = recipe_parser(__doc__, "data", "run")
    add_pseudo(parser)
    add_precision(parser)
    options = parser.parse_args()
    keras.mixed_precision.set_global_policy(options.precision)
    options.run.mkdir(parents=True, exist_ok=True)
    done, data = len(read_history(options.run / "history.csv")), options.data
    model, twin = unet(phase.side), unet(used_at)
    slow = frozenset(weight.path for layer in encoder_layers(model.get_layer("unet"))
                     for weight in layer.weights)
    compile_for(model, phase, slow, encoder_share, options.run / "last.weights.h5")
    photos = MaskedPhotos([data / "pairs", data / "extra", *options.pseudo], "train", often)
    keep = Keep(options.run, phase, twin, MaskedPhotos([data / "pairs"], "choose"), 0)
    fit(model, photos, phase, 7, done, keep)


if __name__ == "__main__": main()
