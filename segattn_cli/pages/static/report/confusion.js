// The confusion matrix as a table: rows are the truth, columns the prediction.

/** Above so many classes nothing has room beside the matrix, nor do numbers in its cells, nor names at its lines. */
const MOST_BESIDE = 11;
const MOST_NUMBERS = 24;
const MOST_NAMES = 60;
const WORST_PAIRS = 8;

class Confusion {
  constructor(root, run) {
    this.names = run.classes;
    this.counts = run.validation.confusion;
    this.truth = this.counts.map((row) => row.reduce((sum, count) => sum + count, 0));
    this.predicted = this.names.map((_, p) => this.counts.reduce((sum, row) => sum + row[p], 0));
    this.readOut = element("p", { class: "read-out", "aria-live": "polite" }, "Point at a cell, or move by the arrow keys.");
    this.table = element("div", { class: "scroll" });
    fill(
      root,
      choice("What a cell is a share of", ["share of the true class", "share of the predicted class"], 0, (n) => this.draw(n === 1)),
      element("div", { class: this.names.length > MOST_BESIDE ? undefined : "beside" }, element("div", {}, this.table, legend(100, { unit: " %", root: true }), this.readOut), this.pairs()),
    );
    this.draw(false);
  }

  draw(byPrediction) {
    this.byPrediction = byPrediction;
    const count = this.names.length;
    const size = count > MOST_NAMES ? "dots" : count > MOST_NUMBERS ? "small" : "";
    const column = (name, p) => element("th", { scope: "col" }, element("span", {}, size === "dots" ? "" : name));
    const row = (name, t) =>
      element(
        "tr", {}, element("th", { scope: "row" }, size === "dots" ? "" : name),
        this.names.map((_, p) => this.cell(t, p, size === "")),
      );
    this.cells = element(
      "table",
      {
        class: `confusion ${size}`, tabindex: 0, "aria-label": "Confusion matrix; rows are the truth, columns the prediction",
        onpointerover: (event) => this.over(event.target.closest("td")), onkeydown: (event) => this.key(event),
      },
      element("thead", {}, element("tr", {}, element("th", { class: "corner" }, size === "dots" ? "" : "truth ↓ prediction →"), this.names.map(column))),
      element("tbody", {}, this.names.map(row)),
    );
    fill(this.table, this.cells);
    this.at = undefined;
  }

  /** What the cell is of its row or column, null where that is empty. */
  share(t, p) {
    const whole = this.byPrediction ? this.predicted[p] : this.truth[t];
    return whole ? this.counts[t][p] / whole : null;
  }

  cell(t, p, numbers) {
    const share = this.share(t, p);
    if (share === null) return element("td", { class: "nothing" });
    const text = numbers && share >= 0.005 ? String(Math.round(100 * share)) : "";
    const ink = Math.sqrt(share) > 0.55 ? "#000000" : "#ffffff";
    return element("td", { style: `background: ${css(heat(share, 1, true))}; color: ${ink}` }, text);
  }

  over(cell) {
    if (cell) this.read(cell.parentNode.rowIndex - 1, cell.cellIndex - 1);
  }

  key(event) {
    const [t, p] = this.at ?? [0, -1];
    const [dt, dp] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] ?? [];
    if (dt === undefined) return;
    event.preventDefault();
    const inside = (n) => Math.min(this.names.length - 1, Math.max(0, n));
    this.read(inside(t + dt), inside(p + dp));
    this.cellAt(...this.at).scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  cellAt(t, p) {
    return this.cells.rows[t + 1].cells[p + 1];
  }

  read(t, p) {
    if (this.at) this.cellAt(...this.at).classList.remove("at");
    this.at = [t, p];
    this.cellAt(t, p).classList.add("at");
    const share = (part, whole) => (whole ? percent(part / whole) : "–");
    const n = this.counts[t][p];
    fill(
      this.readOut,
      element("span", {}, "truth ", element("strong", {}, this.names[t]), t === p ? ", found: " : ", taken for ", t === p ? undefined : element("strong", {}, this.names[p]), t === p ? "" : ": "),
      element("span", {}, `${plural(n, "pixel")}, ${share(n, this.truth[t])} of the true class, ${share(n, this.predicted[p])} of the predicted one`),
    );
  }

  /** The largest shares off the diagonal, as text. */
  pairs() {
    const found = this.counts.flatMap((row, t) => row.map((n, p) => ({ t, p, n, share: this.truth[t] ? n / this.truth[t] : 0 })));
    const all = this.truth.reduce((sum, n) => sum + n, 0);
    const wrong = found.filter(({ t, p, n }) => t !== p && n > 0).sort((a, b) => b.n - a.n).slice(0, WORST_PAIRS);
    if (!wrong.length) return element("p", {}, "Nothing is confused with anything.");
    const row = ({ t, p, n, share }) =>
      element("tr", {}, element("td", {}, className(this.names[t])), element("td", {}, className(this.names[p])), element("td", { class: "number" }, percent(n / all, 2)), element("td", { class: "number" }, percent(share)));
    return element(
      "div", {}, element("h3", {}, "What costs most pixels"),
      element("div", { class: "scroll" }, element(
        "table", {},
        element("thead", {}, element("tr", {}, [["truth"], ["taken for"], ["of all", "number"], ["of the class", "number"]].map(([text, kind]) => element("th", { scope: "col", class: kind }, text)))),
        element("tbody", {}, wrong.map(row)),
      )),
    );
  }
}
