// Attention to scale: a weight for each scale at each pixel, and what each scale would predict by itself.

/** Okabe and Ito's colours, for which scale wins. */
const WINNERS = [[0, 114, 178], [230, 159, 0], [0, 158, 115], [204, 121, 167], [86, 180, 233], [213, 94, 0]];

function showScales(root, image) {
  const { scales, weights } = image.scales;
  const count = scales.length;
  const plane = (s) => Float32Array.from({ length: weights.length / count }, (_, n) => weights[n * count + s]);
  const labels = (s) => image.scales.labels.subarray(s * image.label.length, (s + 1) * image.label.length);
  const colours = scales.map((_, s) => WINNERS[s % WINNERS.length]);
  const canvases = [];
  const parts = [];

  if (weights) {
    const winner = plane(0).map((_, n) => topIndices(weights.subarray(n * count, (n + 1) * count), 1)[0]);
    const maps = scales.map((scale, s) => {
      const canvas = canvasOf(`Weight of scale ${scale} at each pixel`);
      const values = plane(s);
      drawHeat(canvas, image, image.grid, values, { top: 1 });
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      canvases.push(canvas);
      return captioned(canvas, [`Scale ${scale}: mean weight `, element("span", { class: "mean" }, figure(mean))]);
    });
    const wins = canvasOf("Which scale has the largest weight at each pixel");
    drawIndices(wins, image, image.grid, winner, colours);
    canvases.push(wins);
    const won = scales.map((_, s) => winner.filter((each) => each === s).length / winner.length);
    const names = scales.map((scale, s) => element("span", { class: "winner" }, chip(colours[s]), `scale ${scale} ${percent(won[s])} `));
    parts.push(
      element("h3", {}, "Weights of the scales"),
      element("div", { class: "strip wide" }, maps, captioned(wins, ["Largest weight: ", ...names])),
      legend(1, { strength: STRENGTH }),
    );
  }

  parts.push(
    element("h3", {}, "Prediction of each scale by itself, and of their fusion"),
    element(
      "div",
      { class: "strip wide" },
      scales.map((scale, s) => {
        const canvas = canvasOf(`Prediction of scale ${scale} by itself`);
        drawLabels(canvas, image, image.size, labels(s));
        canvases.push(canvas);
        return captioned(canvas, `Scale ${scale}: differs from the fusion at ${percent(changes(image.label, labels(s)).share)} of the pixels`);
      }),
      (() => {
        const canvas = canvasOf("Fused prediction");
        drawLabels(canvas, image, image.size, image.label);
        canvases.push(canvas);
        return captioned(canvas, "Fused");
      })(),
    ),
  );

  const readOut = element("p", { class: "read-out" }, "Point at an image to read its values.");
  const read = (x, y) => {
    const [height, width] = image.size;
    const pixel = Math.min(height - 1, Math.floor(y * height)) * width + Math.min(width - 1, Math.floor(x * width));
    const cell = Math.min(image.grid[0] - 1, Math.floor(y * image.grid[0])) * image.grid[1] + Math.min(image.grid[1] - 1, Math.floor(x * image.grid[1]));
    fill(
      readOut,
      `At (${Math.floor(x * image.own_size[1])}, ${Math.floor(y * image.own_size[0])}): `,
      scales.flatMap((scale, s) => [
        `scale ${scale}${weights ? ` weight ${figure(weights[cell * count + s])}` : ""}, `,
        nameOf(labels(s)[pixel]),
        "; ",
      ]),
      "fused ",
      nameOf(image.label[pixel]),
    );
  };
  let at = [0.5, 0.5]; // fractions of the width and of the height
  const move = (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    at = at.map((share, axis) => Math.min(0.999, Math.max(0, share + step[axis] / image.grid[1 - axis])));
    read(...at);
    announce(readOut.textContent);
  };
  canvases[0].tabIndex = 0;
  canvases[0].setAttribute("role", "application");
  canvases[0].setAttribute("aria-label", `${canvases[0].getAttribute("aria-label")}; arrow keys read the numbers of all scales`);
  canvases[0].addEventListener("keydown", move);
  for (const canvas of canvases) {
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect();
      read((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    });
  }
  fill(root, parts, readOut);
}

function nameOf(label) {
  return element("span", {}, chip(data.palette[label]), data.classes[label]);
}
