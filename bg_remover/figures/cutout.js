// From probability to cut-out as in 09_removal: threshold, soft edge, refinement, edge colours and
// background.
import {
  readPixels, plane, makeFigure, makeCanvas, makeSlider, makeMenu, makeSwitch, redraw, iou, compare,
  addLegend,
} from "./shared.js";

const grounds = { green: [0, 150, 80], black: [0, 0, 0], white: [255, 255, 255] };
const clip = (value) => Math.min(255, Math.max(0, value));

// The mean over a window around each pixel of a plane, which is mirrored at its border: rows, then
// columns.
function boxMean(values, width, height, radius) {
  const mirror = (count) => Int32Array.from({ length: count + 2 * radius + 1 }, (_, i) => {
    const at = (((i - radius) % (2 * count)) + 2 * count) % (2 * count);
    return at < count ? at : 2 * count - 1 - at;
  });
  const [across, down] = [mirror(width), mirror(height)], size = 2 * radius + 1;
  const rows = new Float32Array(values.length), means = new Float32Array(values.length);
  for (let y = 0, start = 0; y < height; y++, start += width) {
    let sum = 0;
    for (let i = 0; i < size; i++) sum += values[start + across[i]];
    for (let x = 0; x < width; x++) {
      rows[start + x] = sum / size;
      sum += values[start + across[x + size]] - values[start + across[x]];
    }
  }
  const sums = new Float64Array(width);
  for (let i = 0; i < size; i++) {
    for (let x = 0, from = down[i] * width; x < width; x++) sums[x] += rows[from + x];
  }
  for (let y = 0, start = 0; y < height; y++, start += width) {
    const enters = down[y + size] * width, leaves = down[y] * width;
    for (let x = 0; x < width; x++) {
      means[start + x] = sums[x] / size;
      sums[x] += rows[enters + x] - rows[leaves + x];
    }
  }
  return means;
}

// `alpha_from`: a straight climb from clear to solid in a band around the threshold.
function alphaFrom(probability, threshold, softness) {
  const band = Math.max(1e-6, Math.min(softness, threshold, 1 - threshold)), climb = 127.5 / band;
  return probability.map((p) => Math.round(clip((p / 255 - threshold) * climb + 127.5)));
}

// What both guesses leave unexplained of a mixed colour corrects the person's.
function unmix(mixed, share, near, far) {
  return clip(near + share * (mixed - share * near - (1 - share) * far));
}

// `estimate_foreground`: at soft pixels the person's own colours, unmixed from the background's, in
// smaller and smaller windows. Pixels count by the square of their share.
function estimateForeground(channels, alpha, width, height) {
  const radii = [20, 3, 1], count = alpha.length, product = new Float32Array(count);
  const shares = [(value) => value / 255, (value) => 1 - value / 255]
    .map((share) => Float32Array.from(alpha, share));
  const weights = shares.map((share) => share.map((value) => value * value));
  const meansOf = (weight, radius) => boxMean(weight, width, height, radius);
  const totals = radii.map((radius) => weights.map((weight) => meansOf(weight, radius)));
  return channels.map((mixed) => {
    const guesses = [mixed.slice(), mixed.slice()]; // the person's colours, and the background's
    let means;
    radii.forEach((radius, pass) => {
      means = guesses.map((guess, side) => {
        for (let i = 0; i < count; i++) product[i] = guess[i] * weights[side][i];
        const mean = meansOf(product, radius);
        for (let i = 0; i < count; i++) mean[i] /= Math.max(totals[pass][side][i], 1e-9);
        return mean;
      });
      if (pass === radii.length - 1) return;
      for (let i = 0; i < count; i++) for (const side of [0, 1]) {
        guesses[side][i] = unmix(mixed[i], shares[side][i], means[side][i], means[1 - side][i]);
      }
    });
    return mixed.map((value, i) => alpha[i] === 0 || alpha[i] === 255 ? value
      : Math.round(unmix(value, shares[0][i], Math.round(means[0][i]), Math.round(means[1][i]))));
  });
}

// `mask_boundary`: the pixels of a mask at most `rim` steps, also diagonal ones, from its outside.
function boundary(mask, width, height, rim) {
  const inside = (from, count, lines, step, stride) => {
    const to = new Uint8Array(from.length);
    for (let line = 0; line < lines; line++) {
      for (let i = 0, run = 0; i < count + rim; i++) { // `run` pixels in a row are inside
        run = i < count && from[line * stride + i * step] ? run + 1 : 0;
        if (run > 2 * rim) to[line * stride + (i - rim) * step] = 1;
      }
    }
    return to;
  };
  const core = inside(inside(mask, width, height, 1, width), height, width, width, 1);
  return mask.map((value, i) => value && !core[i]);
}

export default {
  async render({ model, el }) {
    const data = model.get("data");
    const { root, stage, controls, result } = makeFigure(el,
      "Which settings give a clean edge on black and on white? Predict, then try.",
      "The halo is the old background, still mixed into the soft pixels; estimated colours remove "
      + "it, a harder edge only hides it.");
    const left = makeCanvas(stage, "the mask"), right = makeCanvas(stage, "the cut-out");
    addLegend(stage);
    const percent = (value) => Number(value).toFixed(2);
    makeSlider(controls, model, "threshold", "Threshold", [0.05, 0.95, 0.01], percent);
    makeSlider(controls, model, "softness", "Soft edge", [0, 0.45, 0.01], percent);
    makeSwitch(controls, model, "refined", "Refine the edge");
    makeSwitch(controls, model, "estimated", "Estimate edge colours");
    const offered = ["checkerboard", ...Object.keys(grounds)];
    if (data.background) offered.push("photo");
    makeMenu(controls, model, "background", "Background", offered.map((name) => [name, name]));

    const all = ["photo", "mask", "stretched", "refined", "background"];
    const names = all.filter((name) => data[name]);
    const images = await Promise.all(names.map((name) => readPixels(data[name])));
    const pictures = Object.fromEntries(names.map((name, i) => [name, images[i]]));
    const { width, height } = pictures.photo, truth = plane(pictures.mask);
    const answers = [plane(pictures.stretched), plane(pictures.refined)];
    const channels = [0, 1, 2].map((c) => Float32Array.from(plane(pictures.photo, c)));
    const exact = 0.02 * Math.hypot(height, width);
    const nearest = Math.round(exact); // Python rounds 2.5 to 2
    const rim = Math.max(1, exact % 1 === 0.5 && nearest % 2 ? nearest - 1 : nearest);
    const square = (at) => Math.floor(at / 8);
    const squares = (i) => ((square(i / width) + square(i % width)) % 2 ? 204 : 255);
    const paint = (name) => name === "photo" ? [0, 1, 2].map((c) => plane(pictures.background, c))
      : [0, 1, 2].map((c) => truth.map((_, i) => grounds[name]?.[c] ?? squares(i)));
    const settings = ["threshold", "softness", "refined", "estimated", "background"];
    let made, colours, alpha, painted, behind; // what the last settings gave
    redraw(model, settings, () => {
      const [threshold, softness, refined, estimated, background] =
        settings.map((name) => model.get(name));
      const probability = answers[Number(refined)];
      const key = String([threshold, softness, refined, estimated]);
      if (made !== key) {
        alpha = alphaFrom(probability, threshold, softness);
        colours = estimated ? estimateForeground(channels, alpha, width, height) : channels;
        made = key;
      }
      if (painted !== background) [painted, behind] = [background, paint(background)];
      const image = new ImageData(width, height);
      for (let i = 0; i < alpha.length; i++) {
        const share = alpha[i] / 255;
        for (let c = 0; c < 3; c++) {
          const mixed = share * colours[c][i] + (1 - share) * behind[c][i];
          image.data[4 * i + c] = Math.round(mixed);
        }
        image.data[4 * i + 3] = 255;
      }
      const found = probability.map((p, i) => p / 255 >= threshold && truth[i] !== 128);
      const score = iou(found, truth), person = truth.map((value) => value === 255);
      const rims = [found, person].map((mask) => boundary(mask, width, height, rim));
      const edge = iou(rims[0], rims[1].map((value) => 255 * value));
      left.show(compare(found, truth, width, height), `the mask at threshold ${threshold}`);
      right.show(image, `the cut-out on ${background}`);
      result.textContent = `IoU ${score.toFixed(3)}, boundary IoU ${edge.toFixed(3)}`;
      Object.assign(root.dataset, { ready: "true", iou: score, boundary: edge });
    });
  },
};
