// The confusion matrix as a table: rows are the truth, columns the prediction.

/** Above so many classes nothing has room beside the matrix, nor do numbers in its cells, nor names at its lines. */
const MOST_BESIDE = 11;
const MOST_NUMBERS = 24;
const MOST_NAMES = 60;
const WORST_PAIRS = 8;
/** From this share of the colours on, they are so light that black is read better. */
const LIGHT = 0.55;

class Confusion {
  constructor(root, run) {
    this.names = run.classes;
    this.counts = run.validation.confusion;
    this.truth = this.counts.map(sum);
    this.predicted = this.names.map((_, p) => sum(this.counts.map((line) => line[p])));
    this.size = sizeOf(this.names.length);
    this.readOut = element(
      "p", { class: "read-out" }, "Point at a cell, or use the arrow keys.",
    );
    this.holder = element("div", { class: "scroll" });
    const matrix = element("div", {}, this.holder, legend(100, { unit: " %", root: true }), this.readOut);
    const modes = ["fraction of the true class", "fraction of the predicted class"];
    fill(
      root,
      choice("What a cell is a fraction of", modes, 0, (n) => this.draw(n === 1)),
      element("div", { class: this.names.length > MOST_BESIDE ? undefined : "beside" }, matrix, this.pairs()),
    );
    this.draw(false);
  }

  draw(byPrediction) {
    this.byPrediction = byPrediction;
    this.at = undefined;
    const named = this.size !== "dots";
    const corner = element("th", { class: "corner" }, named ? "truth ↓ prediction →" : "");
    const columns = this.names.map((name) => element("th", { scope: "col" }, element("span", {}, named ? name : "")));
    const rows = this.names.map((name, t) => {
      const cells = this.names.map((_, p) => this.cell(t, p));
      return element("tr", {}, element("th", { scope: "row" }, named ? name : ""), cells);
    });
    this.table = element(
      "table",
      {
        class: `confusion ${this.size}`, tabindex: 0,
        "aria-label": "Confusion matrix; rows are the truth, columns the prediction",
        onpointerover: (event) => this.over(event.target.closest("td")), onkeydown: (event) => this.key(event),
      },
      element("thead", {}, element("tr", {}, corner, columns)), element("tbody", {}, rows),
    );
    fill(this.holder, this.table);
  }

  /** The cell as a fraction of its row or column, null where that is empty. */
  share(t, p) {
    const whole = this.byPrediction ? this.predicted[p] : this.truth[t];
    return whole ? this.counts[t][p] / whole : null;
  }

  cell(t, p) {
    const share = this.share(t, p);
    if (share === null) return element("td", { class: "nothing" });
    const text = this.size === "" && share >= 0.005 ? String(Math.round(100 * share)) : "";
    const ink = Math.sqrt(share) > LIGHT ? "#000000" : "#ffffff";
    return element("td", { style: `background: ${css(heat(share, 1, true))}; color: ${ink}` }, text);
  }

  over(cell) {
    if (cell) this.read(cell.parentNode.rowIndex - 1, cell.cellIndex - 1);
  }

  key(event) {
    const step = STEPS[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const [t, p] = this.at ?? [0, -1];
    const inside = (n) => Math.min(this.names.length - 1, Math.max(0, n));
    this.read(inside(t + step[0]), inside(p + step[1]));
    this.cellAt(...this.at).scrollIntoView({ block: "nearest", inline: "nearest" });
    announce(this.readOut.innerText);
  }

  cellAt(t, p) {
    return this.table.rows[t + 1].cells[p + 1];
  }

  read(t, p) {
    if (this.at) this.cellAt(...this.at).classList.remove("at");
    this.at = [t, p];
    this.cellAt(t, p).classList.add("at");
    const n = this.counts[t][p];
    const share = (whole) => (whole ? percent(n / whole) : "–");
    const shares = `${share(this.truth[t])} of the true class, ${share(this.predicted[p])} of the predicted one`;
    const name = (index) => element("strong", {}, this.names[index]);
    fill(
      this.readOut,
      element("span", {}, "truth ", name(t), t === p ? ", predicted correctly: " : [", predicted as ", name(p), ": "]),
      element("span", {}, `${plural(n, "pixel")}, ${shares}`),
    );
  }

  /** The largest numbers off the diagonal, as text. */
  pairs() {
    const all = sum(this.truth);
    const wrong = this.counts
      .flatMap((line, t) => line.map((n, p) => ({ t, p, n })))
      .filter(({ t, p, n }) => t !== p && n > 0)
      .sort((a, b) => b.n - a.n)
      .slice(0, WORST_PAIRS);
    if (!wrong.length) return element("p", {}, "No class is confused with another.");
    const heads = [["truth"], ["taken for"], ["of all", "number"], ["of the class", "number"]];
    const rows = wrong.map(({ t, p, n }) =>
      row(undefined, [
        [className(this.names[t])], [className(this.names[p])],
        [percent(n / all, 2), "number"], [percent(n / this.truth[t]), "number"],
      ]),
    );
    return element(
      "div", {}, element("h3", {}, "Most frequent confusions"), element("div", { class: "scroll" }, table(heads, rows)),
    );
  }
}

function sizeOf(count) {
  if (count > MOST_NAMES) return "dots";
  return count > MOST_NUMBERS ? "small" : "";
}
