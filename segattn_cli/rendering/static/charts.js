// Charts of lines in SVG, drawn to the width that they have: axes, a legend that switches lines, and a read-out.

const CHART_HEIGHT = 230;
const MARGIN = { left: 46, right: 12, top: 10, bottom: 34 };
/** The width of a digit in front of an axis. */
const DIGIT = 7;
const DASHES = [undefined, "6 3", "2 3", "9 3 2 3"];
/** How many colours --series-0, --series-1, … there are. */
const SERIES = 6;

/** The look of the line number `n`: colours first, then the same colours dashed. */
function lineStyle(n) {
  return { colour: `var(--series-${n % SERIES})`, dash: DASHES[Math.floor(n / SERIES) % DASHES.length] };
}

/**
 * A chart as a figure.
 *
 * `lines` are `{ name, style, x, y }`, where `null` in y is a gap. With `smooth` > 1, each is drawn faintly as it is
 * and strongly as the mean of so many points. `range` fixes the y axis, `log` makes it logarithmic, `format` writes
 * its numbers, `marks` shows every point.
 */
class LineChart {
  constructor({ title, lines, range, log = false, smooth = 1, format = figure, marks = false, zero = false, note }) {
    Object.assign(this, { title, lines, range, smooth, format, marks, zero });
    this.log = log && lines.some((line) => line.y.some((value) => value > 0));
    this.hidden = new Set();
    this.svg = svg("svg", {
      role: "img", tabindex: 0, "aria-label": this.described(), height: CHART_HEIGHT,
      onpointermove: (event) => this.point(event.offsetX), onpointerleave: () => this.read(undefined),
      onkeydown: (event) => this.key(event), onblur: () => this.read(undefined),
    });
    this.readOut = element("p", { class: "read-out" });
    this.node = element(
      "figure", { class: "chart" }, element("figcaption", {}, title), this.svg, this.readOut,
      lines.length > 1 ? this.legend() : undefined, note && element("p", { class: "pale small" }, note),
    );
    new ResizeObserver(() => this.draw()).observe(this.node);
  }

  described() {
    const ends = this.lines.map(({ name, y }) => {
      const known = y.filter((value) => value !== null);
      return known.length ? `${name} from ${this.format(known[0])} to ${this.format(known.at(-1))}` : `${name}: nothing`;
    });
    return `Chart of ${this.title} over the epochs: ${ends.join("; ")}. Arrow keys read its points.`;
  }

  legend() {
    const button = (line) =>
      element(
        "button",
        {
          type: "button", "aria-pressed": "true",
          onclick: (event) => {
            if (!this.hidden.delete(line)) this.hidden.add(line);
            event.currentTarget.setAttribute("aria-pressed", !this.hidden.has(line));
            this.draw();
          },
        },
        swatch(line.style), line.name,
      );
    return element("div", { class: "chart-legend", role: "group", "aria-label": "Lines" }, this.lines.map(button));
  }

  get shown() {
    return this.lines.filter((line) => !this.hidden.has(line));
  }

  draw() {
    const width = this.svg.parentNode.clientWidth;
    if (!width) return;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${CHART_HEIGHT}`);
    this.xs = [...new Set(this.shown.flatMap((line) => line.x))].filter((x) => x !== null).sort((a, b) => a - b);
    const ends = this.xs.length ? [this.xs[0], this.xs.at(-1)] : [0, 1];
    const [left, right] = ends[0] === ends[1] ? [Math.min(0, ends[0]), ends[1] + 1] : [Math.min(0, ends[0]), ends[1]];
    const [low, high] = this.limits();
    const bend = this.log ? Math.log : (value) => value;
    const rows = this.log ? logTicks(low, high) : ticks(low, high, 5);
    this.left = Math.max(MARGIN.left, ...rows.map((value) => 10 + DIGIT * this.format(value).length));
    const [inner, tall] = [width - this.left - MARGIN.right, CHART_HEIGHT - MARGIN.top - MARGIN.bottom];
    this.toX = (x) => this.left + ((x - left) / (right - left)) * inner;
    this.toY = (y) => MARGIN.top + tall * (1 - (bend(y) - bend(low)) / (bend(high) - bend(low)));
    this.cursor = svg("g", { class: "cursor" });
    fill(this.svg, this.axes(width, [left, right], rows), this.shown.flatMap((line) => this.path(line)), this.cursor);
  }

  limits() {
    if (this.range) return this.range;
    const values = this.shown.flatMap((line) => line.y).filter((y) => y !== null && (!this.log || y > 0));
    if (this.zero) values.push(0);
    const [low, high] = [least(values) ?? (this.log ? 0.1 : 0), largestOf(values) ?? 1];
    if (this.log) return [low / 1.1, high * 1.1];
    const room = 0.06 * (high - low) || Math.abs(high) || 1;
    return [low === 0 ? 0 : low - room, high + room];
  }

  /** The axes with their grid and numbers; `values` are those of the y axis. */
  axes(width, [left, right], values) {
    const end = width - MARGIN.right;
    const bottom = CHART_HEIGHT - MARGIN.bottom;
    const across = (y, kind) => svg("line", { class: kind, x1: this.left, x2: end, y1: y, y2: y });
    const text = (x, y, anchor, words, kind) => svg("text", { x, y, "text-anchor": anchor, class: kind }, words);
    const rows = values.flatMap((value) => [
      across(this.toY(value), "grid"), text(this.left - 6, this.toY(value) + 4, "end", this.format(value)),
    ]);
    const columns = ticks(left, right, Math.max(2, Math.min(8, width / 70))).map((value) =>
      text(this.toX(value), bottom + 16, "middle", figure(value)),
    );
    return [...rows, ...columns, text(end, CHART_HEIGHT - 3, "end", "epoch", "pale"), across(bottom, "axis")];
  }

  path({ x, y, style }) {
    const drawn = (values, width, opacity) => {
      const look = `stroke: ${style.colour}; stroke-width: ${width}; opacity: ${opacity}`;
      return svg("path", { d: this.curve(x, values), class: "line", "stroke-dasharray": style.dash, style: look });
    };
    const points = y.map((value, n) => [x[n], value]).filter(([at, value]) => at !== null && this.fits(value));
    const dots = this.marks || points.length === 1 ? points.map(([at, value]) => this.dot(at, value, style, 3)) : [];
    if (this.smooth < 2 || y.length < 2 * this.smooth) return [drawn(y, 2, 1), ...dots];
    return [drawn(y, 1, 0.3), drawn(movingMean(y, this.smooth), 2, 1), ...dots];
  }

  dot(x, y, style, r) {
    return svg("circle", { cx: this.toX(x), cy: this.toY(y), r, style: `fill: ${style.colour}` });
  }

  fits(y) {
    return y !== null && !(this.log && y <= 0);
  }

  curve(x, y) {
    let pen = "M";
    let path = "";
    for (let n = 0; n < y.length; n++) {
      if (x[n] === null || !this.fits(y[n])) {
        pen = "M";
        continue;
      }
      path += `${pen}${this.toX(x[n]).toFixed(1)} ${this.toY(y[n]).toFixed(1)}`;
      pen = "L";
    }
    return path;
  }

  point(offset) {
    if (this.xs?.length) this.read(this.xs[nearest(this.xs.map(this.toX), offset)]);
  }

  key(event) {
    const last = this.xs.length - 1;
    const at = this.at === undefined ? -1 : this.xs.indexOf(this.at);
    const to = { ArrowRight: Math.min(last, at + 1), ArrowLeft: Math.max(0, at - 1), Home: 0, End: last }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this.read(this.xs[to]);
    announce(this.readOut.innerText);
  }

  /** Show the values at `x`, of each line at its point nearest to it. */
  read(x) {
    this.at = x;
    if (x === undefined) {
      fill(this.readOut);
      if (this.cursor) fill(this.cursor);
      return;
    }
    const found = this.shown.flatMap((line) => {
      const n = nearest(line.x, x);
      return n >= 0 && line.y[n] !== null ? [{ line, x: line.x[n], y: line.y[n] }] : [];
    });
    const [top, bottom] = [MARGIN.top, CHART_HEIGHT - MARGIN.bottom];
    const dots = found.filter(({ y }) => this.fits(y)).map((each) => this.dot(each.x, each.y, each.line.style, 4));
    fill(this.cursor, svg("line", { x1: this.toX(x), x2: this.toX(x), y1: top, y2: bottom }), dots);
    const named = ({ line, y }) => (this.lines.length > 1 ? `${line.name} ${this.format(y)}` : this.format(y));
    const values = found.map((each) => element("span", {}, swatch(each.line.style), named(each)));
    fill(this.readOut, element("span", {}, `epoch ${figure(x)}`), values);
  }
}

/** A curve of values in [0, 1], as large as a word; what it says is its label. */
function sparkline(values, style, label) {
  const [width, height, pad] = [150, 30, 4];
  const toX = (n) => pad + (n / Math.max(1, values.length - 1)) * (width - 2 * pad);
  const toY = (value) => height - pad - value * (height - 2 * pad);
  const known = values.map((value, n) => [n, value]).filter(([, value]) => value !== null);
  const [end] = known.slice(-1);
  const path = known.map(([n, value], k) => `${k ? "L" : "M"}${toX(n)} ${toY(value)}`).join("");
  const edge = (value) => svg("line", { class: "grid", x1: pad, x2: width - pad, y1: toY(value), y2: toY(value) });
  return svg(
    "svg", { class: "sparkline", role: "img", "aria-label": label, viewBox: `0 0 ${width} ${height}` },
    svg("title", {}, label), edge(0), edge(1),
    svg("path", { class: "line", d: path, style: `stroke: ${style.colour}; stroke-width: 2` }),
    end && svg("circle", { cx: toX(end[0]), cy: toY(end[1]), r: 3, style: `fill: ${style.colour}` }),
  );
}

/** A piece of a line in its colour and dashes. */
function swatch({ colour, dash }) {
  return svg(
    "svg", { class: "swatch", viewBox: "0 0 22 8", "aria-hidden": "true" },
    svg("line", { x1: 0, x2: 22, y1: 4, y2: 4, "stroke-dasharray": dash, style: `stroke: ${colour}; stroke-width: 3` }),
  );
}

/** About `count` round numbers from `low` to `high`. */
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) * power;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, n) => Number(((first + n) * step).toPrecision(12)));
}

/** 1, 2 and 5 times the powers of ten from `low` to `high`; only powers, and not all of them, where that would be many. */
function logTicks(low, high) {
  const factors = high / low > 1e3 ? [1] : [1, 2, 5];
  const stride = Math.ceil(Math.log10(high / low) / 6);
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += stride) {
    found.push(...factors.map((factor) => factor * 10 ** power).filter((value) => value >= low && value <= high));
  }
  return found.length > 1 ? found : ticks(low, high, 4);
}

/** The mean of the `count` values around each; at the ends, of those that there are. */
function movingMean(values, count) {
  const before = Math.floor((count - 1) / 2);
  return values.map((_, n) => {
    const around = values.slice(Math.max(0, n - before), n - before + count).filter((value) => value !== null);
    return around.length ? around.reduce((sum, value) => sum + value, 0) / around.length : null;
  });
}

/** The index of the number nearest to `wanted`, −1 where there is none. */
function nearest(numbers, wanted) {
  let best = -1;
  for (let n = 0; n < numbers.length; n++) {
    if (numbers[n] === null) continue;
    if (best < 0 || Math.abs(numbers[n] - wanted) < Math.abs(numbers[best] - wanted)) best = n;
  }
  return best;
}

function least(values) {
  return values.reduce((low, value) => (low === undefined || value < low ? value : low), undefined);
}

function largestOf(values) {
  return values.reduce((high, value) => (high === undefined || value > high ? value : high), undefined);
}
