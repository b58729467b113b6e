// Channel attention: the C×C map, zoomed and ordered; one channel's feature map, what it attends to, and its effect.

const NOBODY = 255; // in a map of changes: here the class stays what it is

class ChannelExplorer {
  constructor(root, image, view) {
    this.image = image;
    this.view = view;
    this.count = view.order.length;
    this.grid = view.features_shape.slice(0, 2);
    this.root = false;
    this.effects = this.changedShares();
    this.received = this.columnSums();
    this.chosen = topIndices(this.effects, 1)[0];
    this.setOrder("similar");
    this.window = { top: 0, left: 0, side: this.count };
    this.build(root);
    this.draw();
  }

  weight(query, key) {
    return this.view.attention[query * this.count + key];
  }

  row(query) {
    return this.view.attention.subarray(query * this.count, (query + 1) * this.count);
  }

  /** Feature map A_c on the grid on which it is shown. */
  feature(channel) {
    return Float32Array.from({ length: this.grid[0] * this.grid[1] }, (_, n) => this.view.features[n * this.count + channel]);
  }

  /** Σ_i x_ji A_i: what channel j gathers. */
  gathered(channel) {
    const row = this.row(channel);
    return Float64Array.from({ length: this.grid[0] * this.grid[1] }, (_, n) => {
      let sum = 0;
      for (let i = 0; i < this.count; i++) sum += row[i] * this.view.features[n * this.count + i];
      return sum;
    });
  }

  /** For each channel the share of the positions whose class is another one without it. */
  changedShares() {
    const positions = this.grid[0] * this.grid[1];
    return Float64Array.from({ length: this.count }, (_, channel) => {
      let changed = 0;
      for (let n = 0; n < positions; n++) changed += this.view.without[channel * positions + n] !== NOBODY;
      return changed / positions;
    });
  }

  columnSums() {
    const sums = new Float64Array(this.count);
    for (let query = 0; query < this.count; query++) this.row(query).forEach((weight, key) => (sums[key] += weight));
    return sums;
  }

  setOrder(name) {
    const orders = {
      similar: () => this.view.order,
      number: () => Array.from({ length: this.count }, (_, n) => n),
      attended: () => topIndices(this.received, this.count),
      useful: () => topIndices(this.effects, this.count),
    };
    this.order = orders[name]();
  }

  build(root) {
    this.map = element("canvas", {
      class: "matrix",
      tabindex: "0",
      role: "application",
      "aria-label":
        "Map of channel attention, rows are queries. Up and down choose the query channel, plus and minus zoom, 0 shows all.",
      "aria-describedby": "channel-pair",
      onpointermove: (event) => this.hover(event),
      onpointerdown: (event) => this.press(event),
      onpointerup: (event) => this.release(event),
      onwheel: (event) => this.wheel(event),
      onkeydown: (event) => this.key(event),
    });
    [this.map.width, this.map.height] = [640, 640];
    this.pair = element("p", { id: "channel-pair", class: "pale" }, "Point at the map to read its values.");
    this.legend = element("div");
    this.details = element("div");
    this.use = element("div");
    this.number = element("input", {
      type: "number",
      min: "0",
      max: this.count - 1,
      value: this.chosen,
      onchange: () => this.choose(Math.min(this.count - 1, Math.max(0, Math.round(Number(this.number.value) || 0)))),
    });
    const order = element(
      "select",
      {
        onchange: () => {
          this.setOrder(order.value);
          this.draw();
        },
      },
      [
        ["similar", "similar channels side by side"],
        ["number", "by number"],
        ["attended", "most attended first"],
        ["useful", "largest effect first"],
      ].map(([value, name]) => element("option", { value }, name)),
    );
    const zoom = [["−", 2, "Zoom out"], ["+", 0.5, "Zoom in"]].map(([sign, factor, name]) =>
      element("button", { type: "button", "aria-label": name, onclick: () => this.zoom(factor) }, sign),
    );
    fill(
      root,
      element(
        "div",
        { class: "controls" },
        element("label", {}, "Channel ", this.number),
        element("label", {}, "Order ", order),
        ...zoom,
        element("button", { type: "button", onclick: () => this.zoom(Infinity) }, "All"),
        rootToggle((root) => {
          this.root = root;
          this.draw();
        }),
      ),
      element(
        "div",
        { class: "split even" },
        element("div", {}, element("p", { class: "axis" }, "key i →; row = query j ↓"), this.map, this.legend, this.pair),
        this.details,
      ),
      this.use,
    );
  }

  /** The query and the key under the pointer. */
  pairUnder(event) {
    const box = this.map.getBoundingClientRect();
    const { top, left, side } = this.window;
    const within = (n) => Math.min(this.count - 1, Math.max(0, Math.floor(n)));
    return [
      this.order[within(top + ((event.clientY - box.top) / box.height) * side)],
      this.order[within(left + ((event.clientX - box.left) / box.width) * side)],
    ];
  }

  hover(event) {
    if (this.dragged && event.buttons) return this.drag(event);
    const [query, key] = this.pairUnder(event);
    return fill(
      this.pair,
      `x_ji: channel j = ${query} attends to channel i = ${key} with weight `,
      element("strong", {}, figure(this.weight(query, key), 4)),
      `; uniform would be ${figure(1 / this.count)}.`,
    );
  }

  press(event) {
    this.dragged = { x: event.clientX, y: event.clientY, moved: false };
    this.map.setPointerCapture(event.pointerId);
  }

  drag(event) {
    const perPixel = this.window.side / this.map.getBoundingClientRect().width;
    const [right, down] = [event.clientX - this.dragged.x, event.clientY - this.dragged.y];
    if (!this.dragged.moved && Math.hypot(right, down) < 4) return;
    this.dragged = { x: event.clientX, y: event.clientY, moved: true };
    this.window.left -= right * perPixel;
    this.window.top -= down * perPixel;
    this.keepInside();
    this.drawMap();
  }

  release(event) {
    if (this.dragged && !this.dragged.moved) this.choose(this.pairUnder(event)[0]);
    this.dragged = undefined;
  }

  /** With Ctrl, so that the page can still be scrolled over the map. */
  wheel(event) {
    if (!event.ctrlKey) return;
    event.preventDefault();
    this.zoom(event.deltaY > 0 ? 1.25 : 0.8);
  }

  key(event) {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (step) {
      const place = this.order.indexOf(this.chosen) + step;
      this.choose(this.order[Math.min(this.count - 1, Math.max(0, place))]);
      announce(this.summary());
    } else if (event.key === "+") this.zoom(0.5);
    else if (event.key === "-") this.zoom(2);
    else if (event.key === "0") this.zoom(Infinity);
    else return;
    event.preventDefault();
  }

  /** What is to be seen of the chosen channel, in a sentence. */
  summary() {
    const [top] = topIndices(this.row(this.chosen), 1);
    const changed = `without it ${percent(this.effects[this.chosen])} of the positions change their class`;
    return `Channel ${this.chosen} attends most to channel ${top}: ${figure(this.weight(this.chosen, top))}; ${changed}`;
  }

  /** Show `factor` times as many channels, around the chosen one. */
  zoom(factor) {
    const side = Math.min(this.count, Math.max(Math.min(8, this.count), this.window.side * factor));
    const place = this.order.indexOf(this.chosen) + 0.5;
    const middle = this.window.left + this.window.side / 2;
    this.window = { top: place - side / 2, left: middle - side / 2, side };
    this.keepInside();
    this.drawMap();
  }

  keepInside() {
    const inside = (start) => Math.min(this.count - this.window.side, Math.max(0, start));
    this.window.top = inside(this.window.top);
    this.window.left = inside(this.window.left);
  }

  choose(channel) {
    this.chosen = channel;
    this.number.value = channel;
    const place = this.order.indexOf(channel);
    const { top, side } = this.window;
    if (place < top || place >= top + side) this.zoom(1);
    this.draw();
  }

  draw() {
    this.drawMap();
    this.drawDetails();
  }

  drawMap() {
    const top = largest(this.view.attention);
    const pixels = coloured([this.count, this.count], (n) => {
      const [y, x] = [Math.floor(n / this.count), n % this.count];
      return heat(this.weight(this.order[y], this.order[x]), top, this.root);
    });
    const context = this.map.getContext("2d");
    const { width, height } = this.map;
    const { top: first, left, side } = this.window;
    context.imageSmoothingEnabled = false;
    context.drawImage(bitmapOf(pixels), left, first, side, side, 0, 0, width, height);
    const y = ((this.order.indexOf(this.chosen) - first) / side) * height;
    context.strokeStyle = "#ffffff";
    context.lineWidth = 2;
    context.strokeRect(1, y - 1, width - 2, Math.max(3, height / side + 2));
    fill(this.legend, legend(top, { root: this.root }));
  }

  drawDetails() {
    const channel = this.chosen;
    const [feature, gathered] = [this.feature(channel), this.gathered(channel)];
    const row = this.row(channel);
    const attended = topIndices(row, 5).filter((other, n) => n === 0 || row[other] > 1 / this.count);
    const map = (values, text, top = largest(values)) => {
      const canvas = canvasOf(text);
      drawHeat(canvas, this.image, this.grid, values, { top });
      return [canvas, legend(top, { strength: STRENGTH })];
    };
    const [ownCanvas, ownLegend] = map(feature, `Feature map of channel ${channel}`);
    const [sumCanvas, sumLegend] = map(gathered, `Output of the attention for channel ${channel}`);
    fill(
      this.details,
      element("h3", {}, `Channel ${channel}`),
      captioned(ownCanvas, ["A", element("sub", {}, "j"), ": its feature map"], ownLegend),
      element("h3", {}, "What it attends to"),
      element("p", { class: "pale" }, `Its largest weights${attended.length < 5 ? "; all others are below the uniform weight" : ""}.`),
      element(
        "div",
        { class: "strip" },
        attended.map((other) => {
          const [canvas] = map(this.feature(other), `Feature map of channel ${other}`);
          return captioned(
            canvas,
            [element("button", { type: "button", class: "small", onclick: () => this.choose(other) }, `channel ${other}`), ` ${figure(row[other])}`],
          );
        }),
      ),
    );
    fill(
      this.use,
      element("h3", {}, `Output of channel ${channel}, and the prediction without it`),
      element(
        "div",
        { class: "row fixed" },
        captioned(sumCanvas, ["Σ x", element("sub", {}, "ji"), " A", element("sub", {}, "i"), ": the output, before β"], sumLegend),
        this.drawWithout(channel),
      ),
    );
  }

  /** The classes on the grid with the channel and without it. */
  drawWithout(channel) {
    const positions = this.grid[0] * this.grid[1];
    const changed = this.view.without.subarray(channel * positions, (channel + 1) * positions);
    const after = this.view.label.map((label, n) => (changed[n] === NOBODY ? label : changed[n]));
    const withIt = canvasOf("Predicted classes with this channel");
    drawLabels(withIt, this.image, this.grid, this.view.label);
    const withoutIt = canvasOf("Predicted classes without this channel");
    drawLabels(withoutIt, this.image, this.grid, after);
    const found = changes(this.view.label, after);
    for (let n = 0; n < positions; n++) if (changed[n] !== NOBODY && found.share < 0.2) frameCell(withoutIt, this.grid, n);
    const said = found.pairs.length
      ? ["Another class at ", element("strong", { class: "changed" }, percent(found.share)), " of the positions: ", ...listed(found.pairs.slice(0, 3))]
      : ["No position changes its class."];
    return [
      captioned(withIt, "The prediction with it"),
      captioned(withoutIt, "Without it: its channel of E is 0", element("p", {}, said)),
    ];
  }
}

/** "road → car 1.2 %, sky → tree 0.3 %" */
function listed(pairs) {
  return pairs.flatMap((pair, n) => [n > 0 ? ", " : "", change(pair), ` ${percent(pair.share)}`]);
}
