// What the live figures share. `figure_source` in base/figures puts it before a figure's own text.

// A picture of the data as pixels: red, green, blue and opacity of each, from 0 to 255.
export async function readPixels(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const pen = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  pen.drawImage(image, 0, 0);
  return pen.getImageData(0, 0, width, height);
}

// One channel of a picture, for example of a mask, in which all channels are equal.
export function plane(image, channel = 0) {
  const length = image.width * image.height;
  return Uint8Array.from({ length }, (_, i) => image.data[4 * i + channel]);
}

export function add(parent, tag, properties = {}) {
  const element = parent.appendChild(Object.assign(document.createElement(tag), properties));
  element.dataset.lmSuppressShortcuts = "true"; // JupyterLab leaves the keys to it
  return element;
}

// The frame of a figure: a question, pictures, controls, a line of results, and what to notice.
export function makeFigure(el, question, note) {
  const root = add(el, "div", { className: "live-figure", role: "group", ariaLabel: question });
  add(root, "p", { className: "live-question", textContent: question });
  const stage = add(root, "div", { className: "live-stage" });
  const controls = add(root, "div", { className: "live-controls" });
  const result = add(root, "p", { className: "live-result", ariaLive: "polite" });
  add(root, "p", { className: "live-note", textContent: note });
  return { root, stage, controls, result };
}

// A canvas with a title above it. `show` draws pixels on it and says in words what is to be seen.
export function makeCanvas(stage, title) {
  const box = add(stage, "div", { className: "live-picture" });
  const caption = add(box, "div", { className: "live-caption", textContent: title });
  const canvas = add(box, "canvas", { role: "img", ariaLabel: title });
  const show = (image, words = title) => {
    if (canvas.width !== image.width) canvas.width = image.width;
    if (canvas.height !== image.height) canvas.height = image.height;
    canvas.getContext("2d").putImageData(image, 0, 0);
    canvas.ariaLabel = words;
  };
  return { box, caption, canvas, show };
}

// Call `act(row, column)` with the pixel that a pointer touches or a pressed mouse is drawn over.
export function pick(canvas, act) {
  const touch = (event) => {
    const draws = event.buttons & 1 && event.pointerType === "mouse";
    if (event.type === "pointermove" && !draws) return;
    const box = canvas.getBoundingClientRect(); // the picture stands in its left upper corner
    const scale = Math.min(box.width / canvas.width, box.height / canvas.height);
    const [row, column] = [event.clientY - box.top, event.clientX - box.left]
      .map((at) => Math.floor(at / scale));
    if (row >= 0 && column >= 0 && row < canvas.height && column < canvas.width) act(row, column);
  };
  canvas.classList.add("live-pick");
  for (const kind of ["pointerdown", "pointermove"]) canvas.addEventListener(kind, touch);
}

// A slider for a number of the figure's state, with its value beside it.
export function makeSlider(controls, model, name, label, [low, high, step], write = String) {
  const line = add(controls, "label", { className: "live-slider" });
  add(line, "span", { textContent: label });
  const input = add(line, "input", { type: "range", min: low, max: high, step, name });
  const value = add(line, "span", { className: "live-value" });
  const update = () => {
    input.value = model.get(name);
    value.textContent = input.ariaValueText = write(model.get(name));
  };
  input.addEventListener("input", () => change(model, { [name]: Number(input.value) }));
  model.on(`change:${name}`, update);
  update();
  return input;
}

// A menu for one of several values: [[value, text], ...].
export function makeMenu(controls, model, name, label, options) {
  const line = add(controls, "label", { className: "live-menu" });
  add(line, "span", { textContent: label });
  const menu = add(line, "select", { name });
  for (const [value, text] of options) add(menu, "option", { value, textContent: text });
  const update = () => { menu.value = String(model.get(name)); };
  menu.addEventListener("change", () => change(model, { [name]: options[menu.selectedIndex][0] }));
  model.on(`change:${name}`, update);
  update();
  return menu;
}

// A tick box for a state that is true or false.
export function makeSwitch(controls, model, name, label) {
  const line = add(controls, "label", { className: "live-switch" });
  const box = add(line, "input", { type: "checkbox", name });
  add(line, "span", { textContent: label });
  const update = () => { box.checked = model.get(name); };
  box.addEventListener("change", () => change(model, { [name]: box.checked }));
  model.on(`change:${name}`, update);
  update();
  return box;
}

export function makeButton(controls, label, act) {
  return add(controls, "button", { type: "button", textContent: label, onclick: act });
}

// Set some of the state. Python, if there is one, reads it; and what follows `change:name` runs.
export function change(model, values) {
  for (const [name, value] of Object.entries(values)) model.set(name, value);
  model.save_changes();
}

// Draw now, and again when some of these have changed: once, however many change together. A view
// that closes need not take back what it hears of the model: anywidget does it, from 0.11 on.
export function redraw(model, names, draw) {
  let waits = false;
  const soon = () => {
    if (!waits) queueMicrotask(() => { waits = false; draw(); });
    waits = true;
  };
  for (const name of names) model.on(`change:${name}`, soon);
  draw();
}

// Intersection over union, as `bg_remover.metrics.score` computes it: a crowd (128) does not count.
export function iou(found, truth) {
  let both = 0, either = 0;
  for (let i = 0; i < truth.length; i++) {
    if (truth[i] === 128) continue;
    const person = truth[i] === 255;
    both += found[i] && person;
    either += found[i] || person;
  }
  return either ? both / either : 1;
}

// A mask beside the truth: white is right, orange was found but is no person, blue was missed.
export function compare(found, truth, width, height) {
  const image = new ImageData(width, height), colours = new Uint32Array(image.data.buffer);
  const [black, white, orange, blue] = [0xff000000, 0xffffffff, 0xff009fe6, 0xffe9b456];
  for (let i = 0; i < truth.length; i++) {
    const person = truth[i] === 255;
    colours[i] = found[i] ? (person ? white : orange) : (person ? blue : black);
  }
  return image;
}

// A legend below some pictures; that of `compare` unless told otherwise.
export const legend = "White: found. Orange: found, but not a person. Blue: a person, missed.";
export function addLegend(stage, textContent = legend) {
  const line = document.createElement("p");
  stage.after(Object.assign(line, { className: "live-legend", textContent }));
}
