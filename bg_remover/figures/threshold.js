// A slider over brightness, or over one colour channel: the mask and its IoU follow.
import {
  readPixels, plane, makeFigure, makeCanvas, makeSlider, makeMenu, makeButton, change, redraw, iou,
  compare, addLegend,
} from "./shared.js";

const channels = [["grey", "brightness"], ["red", "red"], ["green", "green"], ["blue", "blue"]];

// What the slider splits: brightness as OpenCV computes it, or one channel.
function values(photo, channel) {
  if (channel !== "grey") return plane(photo, ["red", "green", "blue"].indexOf(channel));
  const { data } = photo;
  return Uint8Array.from({ length: data.length / 4 }, (_, i) =>
    (9798 * data[4 * i] + 19235 * data[4 * i + 1] + 3735 * data[4 * i + 2] + 16384) >> 15);
}

// As `threshold_mask` in 03_methods: the person is the side that holds less of the photo's border.
function thresholdMask(grey, threshold, width, height) {
  const bright = grey.map((value) => value > threshold);
  let border = 0;
  for (let x = 0; x < width; x++) border += bright[x] + bright[(height - 1) * width + x];
  for (let y = 0; y < height; y++) border += bright[y * width] + bright[y * width + width - 1];
  return border > width + height ? bright.map((value) => 1 - value) : bright;
}

export default {
  async render({ model, el }) {
    const { photos, masks, otsu } = model.get("data");
    const { root, stage, controls, result } = makeFigure(el,
      "Which threshold gives the best mask? Predict, then try.",
      photos.length > 1
        ? "For one photo a threshold comes close; for others none works, because the person is "
          + "both darker and brighter than the background."
        : "Watch the orange: everything as bright as the person is included, too.");
    const before = makeCanvas(stage, "photo"), after = makeCanvas(stage, "mask");
    addLegend(stage);
    makeSlider(controls, model, "threshold", "Threshold", [0, 255, 1]);
    makeMenu(controls, model, "channel", "Split by", channels);
    if (photos.length > 1) {
      makeMenu(controls, model, "photo", "Photo", photos.map((_, i) => [i, `photo ${i + 1}`]));
    }
    const choose = () => change(model, { channel: "grey", threshold: otsu[model.get("photo")] });
    if (otsu) makeButton(controls, "Otsu's choice", choose);

    const pictures = await Promise.all(photos.map(readPixels));
    const truths = (await Promise.all(masks.map(readPixels))).map((mask) => plane(mask));
    const best = {}; // of each photo and channel: [IoU, threshold]
    let shown, grey;
    const settings = ["photo", "channel", "threshold"];
    redraw(model, settings, () => {
      const [index, channel, threshold] = settings.map((name) => model.get(name));
      const { width, height } = pictures[index], key = `${index} ${channel}`;
      if (shown !== key) {
        before.show(pictures[index], `photo ${index + 1}`);
        grey = values(pictures[index], channel);
        shown = key;
      }
      const found = thresholdMask(grey, threshold, width, height);
      const score = iou(found, truths[index]);
      if (!(best[key]?.[0] >= score)) best[key] = [score, threshold];
      after.show(compare(found, truths[index], width, height),
        `the mask at threshold ${threshold}`);
      const [highest, at] = best[key];
      result.textContent = `IoU ${score.toFixed(3)} (your best: ${highest.toFixed(3)} at ${at})`;
      Object.assign(root.dataset, { ready: "true", iou: score });
    });
  },
};
