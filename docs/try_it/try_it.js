// The page "Try it": takes a photo, hands its pixels to worker.js, shows what comes back.
// try_it.css is its look.
(() => {
  const part = (name) => document.getElementById(`try-${name}`);
  const root = document.getElementById("try-page");
  const largest = Number(root.dataset.megapixels) * 1e6;
  let worker, photo; // photo: what is being cut out, {name, started, width, height}

  function say(state, text) {
    root.dataset.state = state;
    part("status").textContent = text;
    const disabled = ["loading", "file", "broken"].includes(state);
    for (const input of [part("file"), part("sample")]) input.disabled = disabled;
    root.setAttribute("aria-busy", String(["loading", "working"].includes(state)));
  }

  function start() {
    say("loading", "Loading the network …");
    worker = new Worker("try_it/worker.js", { type: "module" });
    worker.onerror = () => say("broken", "The network could not be loaded: this browser is too "
      + "old, or the site is incomplete.");
    worker.onmessage = ({ data }) => answers[data.kind](data);
  }

  const answers = {
    ready: () => say("ready", "Ready. Your photo will not leave this machine."),
    broken: ({ why }) => say("broken", `The network could not be loaded (${why}).`),
    failed: () => say("broken", `${photo.name}: the browser ran out of memory. Reload this `
      + "page and try a smaller photo."),
    cutout: ({ pixels }) => show(new Uint8ClampedArray(pixels.buffer)),
  };

  async function take(file) {
    if (!file || root.getAttribute("aria-busy") === "true" || part("file").disabled) return;
    const started = performance.now();
    part("result").hidden = true;
    say("working", "Cutting out …");
    let image;
    try {
      image = await createImageBitmap(file, { premultiplyAlpha: "none" });
    } catch {
      return say("failed", `${file.name}: your browser cannot read this as a photo. Try a JPEG, `
        + "PNG or WebP file.");
    }
    const { width, height } = image;
    if (width * height > largest) {
      return say("failed", `${file.name}: ${width} × ${height} pixels are too many for this page. `
        + "Make the photo smaller, or use the command bg-remover.");
    }
    const before = part("before").getContext("2d", { willReadFrequently: true });
    for (const name of ["before", "after"]) Object.assign(part(name), { width, height });
    before.drawImage(image, 0, 0);
    photo = { name: file.name, started, width, height };
    const pixels = new Uint8Array(before.getImageData(0, 0, width, height).data.buffer);
    worker.postMessage({ pixels, height, width }, [pixels.buffer]);
  }

  function show(pixels) {
    const cutout = new ImageData(pixels, photo.width, photo.height);
    part("after").getContext("2d").putImageData(cutout, 0, 0);
    for (let i = 3; i < pixels.length; i += 4) if (pixels[i]) return offer();
    say("nobody", `${photo.name}: nobody found. The network knows people, and finds them best `
      + "where they are large in the photo.");
  }

  function offer() {
    part("result").hidden = false;
    slide();
    requestAnimationFrame(() => {
      const seconds = (performance.now() - photo.started) / 1000;
      root.dataset.seconds = seconds;
      say("done", `${photo.name}: cut out in ${seconds.toFixed(1)} seconds, on your machine.`);
    });
    const name = photo.name.replace(/\.[^.]*$/, "");
    part("after").toBlob((blob) => {
      URL.revokeObjectURL(part("download").href);
      const href = URL.createObjectURL(blob);
      Object.assign(part("download"), { href, download: `${name}-cutout.png` });
    });
  }

  function slide() {
    part("result").style.setProperty("--at", `${part("slider").value}%`);
  }

  function drag({ buttons, clientX, currentTarget }) {
    if (!buttons) return;
    const { left, width } = currentTarget.getBoundingClientRect();
    part("slider").value = (100 * (clientX - left)) / width;
    slide();
  }

  async function sample() {
    const image = part("sample").querySelector("img");
    const { naturalWidth: width, naturalHeight: height } = image;
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    canvas.getContext("2d").drawImage(image, 0, 0);
    canvas.toBlob((blob) => take(new File([blob], "sample.png")));
  }

  function listen() {
    part("file").addEventListener("change", ({ target }) => {
      take(target.files[0]);
      target.value = "";
    });
    part("sample").addEventListener("click", sample);
    part("slider").addEventListener("input", slide);
    for (const kind of ["pointerdown", "pointermove"]) part("compare").addEventListener(kind, drag);
    document.addEventListener("paste", ({ clipboardData }) => take(clipboardData.files[0]));
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      root.classList.add("over");
    });
    document.addEventListener("dragleave", () => root.classList.remove("over"));
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      root.classList.remove("over");
      take(event.dataTransfer.files[0]);
    });
  }

  listen();
  if (location.protocol === "file:") {
    say("file", "Browsers do not load a network from a file on disk. Run make docs-serve and open "
      + "http://localhost:8000/try_it.html");
  } else start();
})();
