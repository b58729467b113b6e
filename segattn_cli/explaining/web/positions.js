// Position attention: a pixel's row of the map over the image, its column, and pixels side by side.

const OVERVIEWS = {
  received: {
    name: "Attention received",
    says: "The sum of each pixel's column: 1 is the mean, 5 is five times the mean.",
    unit: "",
  },
  reach: {
    name: "Spread of attention",
    says: "exp(entropy) of each pixel's row: the number of pixels over which its attention is spread.",
    unit: " pixels",
  },
  shares: {
    name: "Effect of the gate",
    says: "‖α·Σ s D‖ / ‖A‖ at each pixel: the norm of what attention adds, over the norm of the features.",
    unit: "",
  },
};

/** Row `pixel` of the map, s_ji for every pixel i: what it attends to. Adds to 1. */
function attentionRow(view, pixel) {
  const rank = view.query_shape[1];
  return probabilities(view.key, view.query.subarray(pixel * rank, (pixel + 1) * rank), () => view.log_sum_exp[pixel]);
}

/** Column `pixel` of the map, s_ji for every pixel j: what attends to it. */
function attentionColumn(view, pixel) {
  const rank = view.key_shape[1];
  return probabilities(view.query, view.key.subarray(pixel * rank, (pixel + 1) * rank), (n) => view.log_sum_exp[n]);
}

/** exp(vectors_n · vector − lse(n)) for every n. */
function probabilities(vectors, vector, logSumExp) {
  const rank = vector.length;
  return Float64Array.from({ length: vectors.length / rank }, (_, n) => {
    let energy = 0;
    for (let r = 0; r < rank; r++) energy += vectors[n * rank + r] * vector[r];
    return Math.exp(energy - logSumExp(n));
  });
}

class PositionExplorer {
  constructor(root, image, view) {
    this.image = image;
    this.view = view;
    this.classes = classesOn(image, view.grid);
    this.mode = "row";
    this.root = false;
    this.strength = STRENGTH;
    this.pins = image.points.map(([x, y]) => this.cellAt((x + 0.5) / image.own_size[1], (y + 0.5) / image.own_size[0]));
    this.pins = [...new Set(this.pins)];
    this.selected = this.pins[0] ?? this.middle();
    this.shown = this.selected;
    this.build(root);
    this.draw();
  }

  /** The cell at a point, given as fractions of the width and the height. */
  cellAt(x, y) {
    const [height, width] = this.view.grid;
    const within = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
    return within(y, height) * width + within(x, width);
  }

  middle() {
    return this.cellAt(0.5, 0.5);
  }

  /** The map that is on the canvas. */
  values() {
    if (this.mode === "row") return attentionRow(this.view, this.shown);
    if (this.mode === "column") return attentionColumn(this.view, this.shown);
    return this.view[this.mode];
  }

  build(root) {
    this.canvas = element("canvas", {
      tabindex: "0",
      role: "application",
      "aria-label": "Map of position attention. Arrow keys move the pixel, with Shift by five; R shows its row, C its column, P pins it.",
      onpointermove: (event) => event.pointerType === "mouse" && this.preview(this.cellUnder(event)),
      onpointerleave: () => this.preview(this.selected),
      onclick: (event) => this.select(this.cellUnder(event)),
      onkeydown: (event) => this.key(event),
    });
    this.readOut = element("div", { id: "position-read-out", class: "read-out" });
    this.legend = element("div");
    this.pinned = element("div", { class: "pins" });
    this.modes = this.modeButtons();
    const controls = element(
      "div",
      { class: "controls" },
      this.modes,
      element("button", { type: "button", onclick: () => this.pin() }, "Pin this pixel (P)"),
      rootToggle((root) => {
        this.root = root;
        this.draw();
        this.drawPins();
      }),
      slider("Map over image", this.strength, (strength) => {
        this.strength = strength;
        this.draw();
      }),
    );
    fill(root, controls, element("div", { class: "split" }, element("div", {}, this.canvas, this.legend), this.readOut), this.pinned);
    this.drawPins();
  }

  modeButtons() {
    const names = { row: "Row: what this pixel attends to (R)", column: "Column: what attends to this pixel (C)" };
    for (const [mode, { name }] of Object.entries(OVERVIEWS)) names[mode] = name;
    return element(
      "div",
      { class: "modes", role: "group", "aria-label": "What is shown" },
      Object.entries(names).map(([mode, name]) =>
        element("button", { type: "button", "data-mode": mode, onclick: () => this.setMode(mode) }, name),
      ),
    );
  }

  setMode(mode) {
    this.mode = mode;
    this.draw();
  }

  cellUnder(event) {
    const box = this.canvas.getBoundingClientRect();
    return this.cellAt((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }

  preview(cell) {
    if (cell === this.shown) return;
    this.shown = cell;
    this.draw();
  }

  select(cell) {
    this.selected = cell;
    this.shown = cell;
    if (this.mode !== "column") this.mode = "row";
    this.draw();
  }

  pin() {
    if (!this.pins.includes(this.selected)) this.pins = [...this.pins, this.selected];
    this.draw();
    this.drawPins();
  }

  unpin(cell) {
    this.pins = this.pins.filter((each) => each !== cell);
    this.draw();
    this.drawPins();
    this.canvas.focus({ preventScroll: true }); // the button that had it is gone
  }

  key(event) {
    const [height, width] = this.view.grid;
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const letter = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in moves) {
      const [down, right] = moves[event.key].map((step) => step * (event.shiftKey ? 5 : 1));
      const row = Math.min(height - 1, Math.max(0, Math.floor(this.selected / width) + down));
      const column = Math.min(width - 1, Math.max(0, (this.selected % width) + right));
      this.select(row * width + column);
    } else if (letter === "r") this.setMode("row");
    else if (letter === "c") this.setMode("column");
    else if (letter === "p") this.pin();
    else return;
    event.preventDefault();
    announce(this.summary());
  }

  get isMap() {
    return this.mode === "row" || this.mode === "column";
  }

  /** What the read-out says first, in a sentence. */
  summary() {
    const values = this.values();
    const named = (cell) => `${this.place(cell)}, ${data.classes[this.classes[cell]]}`;
    if (!this.isMap) {
      const { name, unit } = OVERVIEWS[this.mode];
      return `${name}: ${figure(values[this.shown])}${unit} at ${named(this.shown)}`;
    }
    const [top] = topIndices(values, 1);
    const whose = this.mode === "row" ? "attends most to" : "is attended to most by";
    return `Pixel ${named(this.shown)}, ${whose} ${named(top)}: ${figure(values[top])}`;
  }

  draw() {
    const values = this.values();
    const top = largest(values);
    drawHeat(this.canvas, this.image, this.view.grid, values, { top, strength: this.strength, root: this.root });
    this.pins.forEach((cell, n) => frameCell(this.canvas, this.view.grid, cell, `${n + 1}`));
    frameCell(this.canvas, this.view.grid, this.shown);
    fill(this.legend, legend(top, { root: this.root, unit: OVERVIEWS[this.mode]?.unit, strength: this.strength }));
    for (const button of this.modes.children) button.setAttribute("aria-pressed", button.dataset.mode === this.mode);
    fill(this.readOut, this.isMap ? this.describeMap(values) : this.describeOverview(values));
  }

  /** "(212, 96)": the pixel of the image in the middle of a cell. */
  place(cell) {
    const [height, width] = this.view.grid;
    const x = Math.floor((((cell % width) + 0.5) * this.image.own_size[1]) / width);
    const y = Math.floor(((Math.floor(cell / width) + 0.5) * this.image.own_size[0]) / height);
    return `(${x}, ${y})`;
  }

  className(cell) {
    const index = this.classes[cell];
    return element("span", {}, chip(data.palette[index]), data.classes[index]);
  }

  describeMap(values) {
    const count = values.length;
    const isRow = this.mode === "row";
    const whose = isRow ? "attends to" : "is attended to by";
    const byClass = new Float64Array(data.classes.length);
    let sum = 0;
    values.forEach((value, n) => {
      byClass[this.classes[n]] += value;
      sum += value;
    });
    const top = topIndices(values, 6);
    return [
      element("h3", {}, `Pixel ${this.place(this.shown)}, `, this.className(this.shown)),
      element(
        "p",
        { class: "pale" },
        `${isRow ? "Query" : "Key"} no. ${this.shown} of ${count}; the ${isRow ? "row adds" : "column adds"} to `,
        element("span", { class: "sum" }, figure(sum, 4)),
        isRow ? "." : " (1 is the mean of all pixels).",
      ),
      element("h3", {}, `It ${whose}`),
      bars(
        topIndices(byClass, 5)
          .filter((index) => byClass[index] > 0)
          .map((index) => ({ index, share: byClass[index] / sum })),
      ),
      element(
        "table",
        { class: "top" },
        element(
          "thead",
          {},
          element("tr", {}, ["most at", "class", "weight", "× uniform"].map((name, n) => element("th", { class: n > 1 ? "number" : undefined, scope: "col" }, name))),
        ),
        element(
          "tbody",
          {},
          top.map((cell) =>
            element(
              "tr",
              {},
              element("td", {}, this.place(cell)),
              element("td", {}, this.className(cell)),
              element("td", { class: "number weight", "data-cell": cell, "data-value": values[cell] }, figure(values[cell])),
              element("td", { class: "number" }, figure(values[cell] * count, 2)),
            ),
          ),
        ),
      ),
      element(
        "p",
        { class: "pale" },
        isRow
          ? `s_ji with j = ${this.shown}, i = ${top[0]}: exp(q·k − ln Σ exp) = ${figure(values[top[0]], 4)}; uniform would be 1/N = ${figure(1 / count)}.`
          : `s_ji with i = ${this.shown}, j = ${top[0]}: ${figure(values[top[0]], 4)}; uniform would be 1/N = ${figure(1 / count)}.`,
      ),
    ];
  }

  describeOverview(values) {
    const { name, says, unit } = OVERVIEWS[this.mode];
    const order = topIndices(values, values.length);
    const at = (share) => values[order[Math.min(order.length - 1, Math.floor(share * order.length))]];
    return [
      element("h3", {}, name),
      element("p", {}, says),
      element("p", {}, `Here, at ${this.place(this.shown)}, `, this.className(this.shown), `: ${figure(values[this.shown])}${unit}`),
      element("p", { class: "pale" }, `largest ${figure(values[order[0]])}, median ${figure(at(0.5))}, least ${figure(values[order.at(-1)])}${unit}`),
    ];
  }

  /** The rows of all pinned pixels, with the same colours, and the part that each has in common with the first. */
  drawPins() {
    if (this.pins.length === 0) return fill(this.pinned, element("p", { class: "pale" }, "Pin pixels to compare what they attend to."));
    const rows = this.pins.map((cell) => attentionRow(this.view, cell));
    const top = Math.max(...rows.map(largest));
    return fill(
      this.pinned,
      element("h3", {}, "Pinned pixels: what each attends to, with the same colours"),
      element(
        "div",
        { class: "strip" },
        this.pins.map((cell, n) => {
          const canvas = canvasOf(`Row of the attention map for the pixel at ${this.place(cell)}`);
          drawHeat(canvas, this.image, this.view.grid, rows[n], { top, root: this.root });
          frameCell(canvas, this.view.grid, cell, `${n + 1}`, 3);
          let common = 0;
          rows[0].forEach((value, i) => (common += Math.min(value, rows[n][i])));
          return captioned(
            canvas,
            [`${n + 1}: ${this.place(cell)}, `, this.className(cell), n > 0 ? `, ${percent(common, 0)} in common with 1` : ""],
            element("button", { type: "button", class: "small", "aria-label": `Unpin pixel ${n + 1}`, onclick: () => this.unpin(cell) }, "unpin"),
          );
        }),
      ),
      legend(top, { root: this.root, strength: STRENGTH }),
    );
  }
}

/** Fractions by class as bars. */
function bars(found) {
  return element(
    "ul",
    { class: "bars" },
    found.map(({ index, share }) => {
      const bar = element("span", { class: "bar" });
      bar.style.width = `${100 * share}%`;
      bar.style.background = css(data.palette[index]);
      return element("li", {}, element("span", { class: "name" }, data.classes[index]), element("span", { class: "track" }, bar), percent(share, 0));
    }),
  );
}

function rootToggle(change) {
  const button = element(
    "button",
    {
      type: "button",
      "aria-pressed": "false",
      title: "Colours by the square root of the weight: small weights become visible",
      onclick: () => {
        const pressed = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", pressed);
        change(pressed);
      },
    },
    "√ colours",
  );
  return button;
}

function slider(name, value, change) {
  const input = element("input", { type: "range", min: "0", max: "1", step: "0.05", value, oninput: () => change(Number(input.value)) });
  return element("label", { class: "slider" }, name, input);
}
