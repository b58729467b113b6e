// Heat maps and label maps on canvases. A cell of a map is drawn as a cell: nothing is smoothed.

/** Canvases are enlarged until their longer side has so many pixels. */
const LEAST_SIDE = 720;

/** How strongly a map covers the grey image below it, where nobody chooses. */
const STRENGTH = 0.8;

/** `values` on `grid` as colours from 0 to `top`, laid with `strength` over the grey image. */
function drawHeat(canvas, image, grid, values, { top, strength = STRENGTH, root = false }) {
  const pixels = coloured(grid, (n) => heat(values[n], top, root));
  drawOver(canvas, image.grey, image.size, bitmapOf(pixels), strength);
}

/** Class colours over the image; where `marked(n)` is false, they are paled. */
function drawLabels(canvas, image, size, labels, { strength = 0.6, marked } = {}) {
  const pixels = coloured(size, (n) => (marked && !marked(n) ? undefined : data.palette[labels[n]]));
  drawOver(canvas, marked ? image.grey : image.bitmap, image.size, bitmapOf(pixels), strength);
}

/** One of `colours` for each index in `values`. */
function drawIndices(canvas, image, grid, values, colours, strength = 0.7) {
  const pixels = coloured(grid, (n) => colours[values[n]]);
  drawOver(canvas, image.grey, image.size, bitmapOf(pixels), strength);
}

/** Pixels with the colour that `colourOf` gives for each of them in row order, transparent where it gives none. */
function coloured([height, width], colourOf) {
  const pixels = new ImageData(width, height);
  const bytes = pixels.data;
  for (let n = 0, at = 0; n < height * width; n++, at += 4) {
    const colour = colourOf(n);
    if (colour === undefined) continue;
    bytes[at] = colour[0];
    bytes[at + 1] = colour[1];
    bytes[at + 2] = colour[2];
    bytes[at + 3] = 255;
  }
  return pixels;
}

function drawOver(canvas, below, [height, width], above, strength) {
  const factor = Math.max(1, Math.ceil(LEAST_SIDE / Math.max(height, width)));
  canvas.width = factor * width;
  canvas.height = factor * height;
  const context = canvas.getContext("2d");
  context.drawImage(below, 0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = false;
  context.globalAlpha = strength;
  context.drawImage(above, 0, 0, canvas.width, canvas.height);
  context.globalAlpha = 1;
}

function bitmapOf(pixels) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [pixels.width, pixels.height];
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

/** The colour of `value` on a scale from 0 to `top`; with `root`, small values get more of the colours. */
function heat(value, top, root = false) {
  const share = top > 0 ? Math.min(1, Math.max(0, value / top)) : 0;
  return data.colours[Math.round(255 * (root ? Math.sqrt(share) : share))];
}

/** A cell of `grid` framed on a map's canvas, with a name beside it if it has one; a small map wants a heavier frame. */
function frameCell(canvas, grid, cell, name, weight = 1) {
  const context = canvas.getContext("2d");
  const [w, h] = [canvas.width / grid[1], canvas.height / grid[0]];
  const [x, y] = [(cell % grid[1]) * w, Math.floor(cell / grid[1]) * h];
  const line = Math.max(2, (weight * canvas.width) / 300);
  for (const [colour, out] of [["#000000", line], ["#ffffff", 0]]) {
    context.strokeStyle = colour;
    context.lineWidth = line;
    context.strokeRect(x - out, y - out, w + 2 * out, h + 2 * out);
  }
  if (name === undefined) return;
  context.font = `bold ${8 * line}px system-ui, sans-serif`;
  context.lineWidth = 2 * line;
  context.strokeStyle = "#000000";
  context.fillStyle = "#ffffff";
  const left = x + w + 10 * line > canvas.width ? x - 8 * line : x + w + 2 * line;
  context.strokeText(name, left, Math.max(y + 4 * line, 8 * line));
  context.fillText(name, left, Math.max(y + 4 * line, 8 * line));
}

/**
 * The colours from 0 to `top` with their numbers. Of a map that lies over an image with a `strength` below 1, the bar
 * shows each colour over white, above, to black, below: so it has every colour that the map can have.
 */
function legend(top, { root = false, unit = "", strength = 1 } = {}) {
  const stops = Array.from({ length: 17 }, (_, n) => css(data.colours[Math.round((255 * n) / 16)], strength));
  const bar = element("span", { class: "colour-bar" });
  bar.style.background = `linear-gradient(to right, ${stops.join(", ")}), linear-gradient(#ffffff, #000000)`;
  const middle = root ? top / 4 : top / 2;
  const ends = [0, middle, top].map((value) => element("span", {}, `${figure(value)}${unit}`));
  return element(
    "div",
    { class: "legend", role: "img", "aria-label": `Colours from 0, dark blue, to ${figure(top)}${unit}, yellow` },
    bar,
    element("div", { class: "ends" }, ends),
  );
}

/** A canvas with its caption; `text` is what a screen reader says. */
function captioned(canvas, caption, ...more) {
  return element("figure", {}, canvas, element("figcaption", {}, caption), ...more);
}

function canvasOf(text) {
  return element("canvas", { role: "img", "aria-label": text });
}

function largest(values) {
  let top = 0;
  for (const value of values) if (value > top) top = value;
  return top;
}

/** The indices of the `count` largest values, the largest first. */
function topIndices(values, count) {
  if (count > 32) return Array.from(values.keys()).sort((a, b) => values[b] - values[a]).slice(0, count);
  const top = [];
  for (let n = 0; n < values.length; n++) {
    if (top.length === count && values[n] <= values[top[count - 1]]) continue;
    let place = Math.min(top.length, count - 1);
    while (place > 0 && values[n] > values[top[place - 1]]) top[place] = top[--place];
    top[place] = n;
  }
  return top;
}
