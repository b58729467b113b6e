// The arrays of an image, unpacked when it is first shown.

const opened = new Map();

/** The image no. `index` with its arrays unpacked. */
function open(index) {
  if (!opened.has(index)) opened.set(index, openImage(data.images[index]));
  return opened.get(index);
}

async function openImage(image) {
  const bitmap = new Image();
  bitmap.src = image.picture;
  await bitmap.decode();
  const scales = image.scales && {
    ...image.scales,
    weights: image.scales.weights && (await unpack(image.scales.weights)).values,
    labels: (await unpack(image.scales.labels)).values,
  };
  return {
    ...image,
    bitmap,
    grey: greyed(bitmap),
    label: (await unpack(image.label)).values,
    positions: await Promise.all(image.positions.map(unpackAll)),
    channels: await Promise.all(image.channels.map(unpackAll)),
    experiments: await Promise.all(image.experiments.map(unpackAll)),
    scales,
  };
}

/** `view` with each packed array in it unpacked, `name` as its values and `name_shape` as its shape. */
async function unpackAll(view) {
  const result = { ...view };
  for (const [name, block] of Object.entries(view)) {
    if (block === null || block.dtype === undefined) continue;
    const { shape, values } = await unpack(block);
    result[name] = values;
    result[`${name}_shape`] = shape;
  }
  return result;
}

function greyed(bitmap) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.naturalWidth, bitmap.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let n = 0; n < pixels.data.length; n += 4) {
    const [red, green, blue] = pixels.data.subarray(n, n + 3);
    pixels.data.fill(0.299 * red + 0.587 * green + 0.114 * blue, n, n + 3);
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** The predicted class in the middle of each cell of `grid`. */
function classesOn(image, grid) {
  const [height, width] = image.size;
  return Uint8Array.from({ length: grid[0] * grid[1] }, (_, n) => {
    const y = Math.floor(((Math.floor(n / grid[1]) + 0.5) * height) / grid[0]);
    const x = Math.floor((((n % grid[1]) + 0.5) * width) / grid[1]);
    return image.label[y * width + x];
  });
}

/** Which of two label maps' pixels differ, and from what to what: the most frequent changes first. */
function changes(before, after) {
  const counts = new Map();
  let changed = 0;
  for (let n = 0; n < before.length; n++) {
    if (before[n] === after[n]) continue;
    changed++;
    const key = 256 * before[n] + after[n];
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const pairs = [...counts].sort((a, b) => b[1] - a[1]).map(([key, count]) => ({
    from: key >> 8,
    to: key & 255,
    share: count / before.length,
  }));
  return { share: changed / before.length, pairs };
}

/** "road → pavement", with chips. */
function change({ from, to }) {
  return element("span", {}, chip(data.palette[from]), `${data.classes[from]} → `, chip(data.palette[to]), data.classes[to]);
}
