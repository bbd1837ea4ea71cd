// `node read.mjs FILE LEVEL [B:E,B:E,…]`: opens one dataset by h5wasm, and writes what it is, and the voxels of a box.
//
// The first line is JSON: shape, dtype, attributes; after it come the voxels, as bytes of this machine.

import { writeSync } from "node:fs";
import h5wasm from "h5wasm/node";

const [path, level, words] = process.argv.slice(2);
if (!level) {
  console.error("usage: read.mjs FILE LEVEL [B:E,B:E,…]");
  process.exit(1);
}
await h5wasm.ready;
const file = new h5wasm.File(path, "r");
const dataset = file.get(level);
const plain = (value) => (typeof value === "bigint" ? Number(value) : ArrayBuffer.isView(value) ? Array.from(value, plain) : value);
const attributes = Object.fromEntries(Object.entries(dataset.attrs).map(([name, attribute]) => [name, plain(attribute.value)]));

// A pipe takes less than all at once.
function write(bytes) {
  for (let at = 0; at < bytes.length; ) at += writeSync(1, bytes, at);
}
write(Buffer.from(JSON.stringify({ shape: dataset.shape, dtype: dataset.dtype, attributes }) + "\n"));
if (words) {
  const voxels = dataset.slice(words.split(",").map((range) => range.split(":").map(Number)));
  write(new Uint8Array(voxels.buffer, voxels.byteOffset, voxels.byteLength));
}
file.close();
