// Asks the network, away from the page, which so stays usable meanwhile. Everything is fetched
// before "ready" is said, nothing after it.
import * as ort from "./ort.wasm.bundle.min.mjs";

ort.env.wasm.numThreads = 1; // more would need headers that a plain server of files does not send
ort.env.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", import.meta.url).href };
ort.env.logLevel = "error";

let session;
try {
  const network = new URL("cutout.onnx", import.meta.url).href;
  session = await ort.InferenceSession.create(network, { executionProviders: ["wasm"] });
  postMessage({ kind: "ready" });
} catch (error) {
  postMessage({ kind: "broken", why: String(error) });
}

onmessage = async ({ data: { pixels, height, width } }) => {
  try {
    const photo = new ort.Tensor("uint8", pixels, [height, width, 4]);
    const { cutout } = await session.run({ photo });
    postMessage({ kind: "cutout", pixels: cutout.data }, [cutout.data.buffer]);
  } catch (error) {
    postMessage({ kind: "failed", why: String(error) });
  }
};
