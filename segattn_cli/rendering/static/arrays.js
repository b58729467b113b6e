// The page's one JSON block, and the arrays in it; segattn_cli/rendering/packing.py writes them.

const data = JSON.parse(document.getElementById("data").textContent);

const TYPED = { uint8: Uint8Array, uint16: Uint16Array, int32: Int32Array, float32: Float32Array };

/** The array in `block`: its `shape`, and its `values` as one typed array in row order. */
async function unpack(block) {
  const packed = Uint8Array.from(atob(block.data), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const stored = new TYPED[block.dtype](await new Response(stream).arrayBuffer());
  return { shape: block.shape, values: block.scale === undefined ? stored : restored(stored, block) };
}

/** offset + scale · stored, each a number or one number for each column. */
function restored(stored, { scale, offset }) {
  const scales = [scale].flat();
  const offsets = [offset].flat();
  const columns = scales.length;
  return Float32Array.from(stored, (level, n) => offsets[n % columns] + scales[n % columns] * level);
}
