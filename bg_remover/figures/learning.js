// Drag along the epochs of a training: loss, IoU, and what the network answered on three photos.
import {
  readPixels, plane, makeFigure, makeCanvas, makeSlider, change, redraw, iou, compare, legend,
  addLegend, add,
} from "./shared.js";

// Curves over the epochs, with a line at one of them: training dashed, validation solid.
function makeCurves(stage, title, training, validation, act) {
  const box = add(stage, "div", { className: "live-picture" }), count = training.length;
  const top = Math.max(...training, ...validation, 1e-9), high = title === "IoU" ? 1 : top;
  add(box, "div", { className: "live-caption", textContent: `${title}, 0 to ${high.toFixed(1)}` });
  box.insertAdjacentHTML("beforeend", "<svg></svg>");
  const svg = box.lastElementChild;
  const set = (element, attributes) => {
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  set(svg, { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img",
    "aria-label": `${title} over ${count} epochs: training dashed, validation solid` });
  const x = (epoch) => (count > 1 ? (100 * epoch) / (count - 1) : 50);
  const draw = (tag, attributes) =>
    set(svg.appendChild(document.createElementNS(svg.namespaceURI, tag)), attributes);
  for (const [values, className] of [[training, "dashed"], [validation, "solid"]]) {
    const points = values.map((value, i) => `${x(i)},${100 - (100 * value) / high}`).join(" ");
    draw("polyline", { class: className, points });
  }
  const cursor = draw("line", { class: "cursor", y1: 0, y2: 100 });
  const touch = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const { left, width } = svg.getBoundingClientRect();
    const epoch = 1 + Math.round(((event.clientX - left) / width) * (count - 1));
    act(Math.min(count, Math.max(1, epoch)));
  };
  for (const kind of ["pointerdown", "pointermove"]) svg.addEventListener(kind, touch);
  return (epoch) => set(cursor, { x1: x(epoch - 1), x2: x(epoch - 1) });
}

// One of the pictures that stand side by side in the answers of an epoch.
function part(answer, width, number) {
  const found = new Uint8Array(width * answer.height);
  for (let y = 0, i = 0; y < answer.height; y++) {
    const start = y * answer.width + number * width;
    for (let x = 0; x < width; x++, i++) found[i] = answer.data[4 * (start + x)] >= 128;
  }
  return found;
}

export default {
  async render({ model, el }) {
    const { history, answers, photos, masks, kinds } = model.get("data"), count = answers.length;
    const { root, stage, controls, result } = makeFigure(el,
      "From which epoch on does the network only memorize? Predict, then drag.",
      "The training photo keeps improving when the validation photos no longer do: that is "
      + "overfitting.");
    const go = (epoch) => change(model, { epoch });
    const lines = [["loss", "loss"], ["IoU", "iou"]].map(([title, name]) =>
      makeCurves(stage, title, history[name], history[`val_${name}`], go));
    const shelf = (className) => add(root, "div", { className: `live-stage ${className}` });
    const [frames, found] = [shelf("live-square"), shelf("live-square")];
    stage.after(frames, found);
    addLegend(found, `Curves: training dashed, validation solid. ${legend}`);
    const shown = kinds.map((kind) => makeCanvas(frames, kind));
    const drawn = kinds.map((kind) => makeCanvas(found, "IoU"));
    makeSlider(controls, model, "epoch", "Epoch", [1, count, 1]);

    const pictures = await Promise.all(photos.map(readPixels));
    const truths = (await Promise.all(masks.map(readPixels))).map((mask) => plane(mask));
    const epochs = await Promise.all(answers.map(readPixels));
    pictures.forEach((picture, k) => shown[k].show(picture, kinds[k]));
    redraw(model, ["epoch"], () => {
      const epoch = Math.min(count, Math.max(1, model.get("epoch")));
      for (const move of lines) move(epoch);
      pictures.forEach(({ width, height }, k) => {
        const answer = part(epochs[epoch - 1], width, k), score = iou(answer, truths[k]);
        drawn[k].show(compare(answer, truths[k], width, height),
          `the mask of the ${kinds[k]} after epoch ${epoch}`);
        drawn[k].caption.textContent = `IoU ${score.toFixed(3)}`;
        root.dataset[`iou${k}`] = score;
      });
      const [mine, others] = ["iou", "val_iou"].map((name) => history[name][epoch - 1].toFixed(2));
      result.textContent = `After epoch ${epoch}: mean IoU ${mine} on training photos, `
        + `${others} on others`;
      root.dataset.ready = "true";
    });
  },
};
