// IoU by class: where it ended and how it came there; of several runs, beside each other.

/** Above so many runs, their bars have no room beside each other. */
const MOST_BARS = 3;
const ORDERS = ["as in the data", "lowest IoU first", "highest IoU first"];

function showClasses(root) {
  const names = allClasses();
  if (!names.length || runs.every((run) => bestIndex(run) < 0)) {
    fill(root, element("p", {}, "Nothing was validated yet."));
    return;
  }
  const table = element("div", { class: names.length > 25 ? "scroll tall" : "scroll", tabindex: 0, role: "region", "aria-label": "IoU by class" });
  const draw = (order) => fill(table, several ? comparison(sorted(names, order)) : single(sorted(names, order)));
  fill(root, choice("Order of the classes", ORDERS, 0, draw), table);
  draw(0);
}

/** The IoU of a class in a run's best validation, null where it has none. */
function iouOf(run, name) {
  return run.validations.per_class_iou[name]?.[bestIndex(run)] ?? null;
}

/** By the last run, whose IoU is what a comparison is about; a class without one comes last. */
function sorted(names, order) {
  if (order === 0) return names;
  const value = (name) => iouOf(runs.at(-1), name);
  const sign = order === 1 ? 1 : -1;
  return [...names].sort((a, b) => (value(a) === null) - (value(b) === null) || sign * (value(a) - value(b)));
}

function single(names) {
  const [run] = runs;
  const truth = shareOfTruth(run);
  const { epoch } = run.validations;
  const heads = [["class"], ["IoU", "number"], [""], ["over the epochs"], ["since the first", "number"], truth && ["share of truth", "number"]];
  const rows = names.map((name) => {
    const curve = run.validations.per_class_iou[name] ?? [];
    const iou = iouOf(run, name);
    const first = curve.find((value) => value !== null);
    const said = `IoU of ${name}: ${curve.map((value, n) => `${figure(value)} after epoch ${figure(epoch[n])}`).join(", ")}`;
    return element(
      "tr", {},
      element("th", { scope: "row" }, className(name)),
      element("td", { class: "number" }, fixed(iou)),
      element("td", {}, bar(iou, "var(--series-0)")),
      element("td", {}, sparkline(curve, lineStyle(0), said)),
      element("td", { class: "number" }, iou === null || curve.length < 2 ? "–" : change(iou - first)),
      truth && element("td", { class: "number" }, percent(truth[run.classes.indexOf(name)])),
    );
  });
  return classTable(heads, rows, [
    element("th", { scope: "row" }, "mean"), element("td", { class: "number" }, fixed(run.best.miou)),
    element("td", {}, bar(run.best.miou, "var(--ink)")),
    element("td", {}, sparkline(run.validations.miou, { colour: "var(--ink)" }, "mIoU over the epochs")),
    element("td", { class: "number" }, run.validations.miou.length < 2 ? "–" : change(run.best.miou - run.validations.miou[0])),
    truth && element("td"),
  ]);
}

function comparison(names) {
  const bars = runs.length <= MOST_BARS;
  const heads = [["class"], ...runs.flatMap((_, r) => [[runName(r), "number"], bars && [""], r > 0 && ["difference", "number"]])];
  const cells = (values) =>
    runs.flatMap((_, r) => [
      element("td", { class: "number" }, fixed(values[r])),
      bars && element("td", {}, bar(values[r], lineStyle(r).colour)),
      r > 0 && element("td", { class: "number" }, values[r] === null || values[0] === null ? "–" : change(values[r] - values[0])),
    ]).filter(Boolean);
  const rows = names.map((name) =>
    element("tr", {}, element("th", { scope: "row" }, className(name)), cells(runs.map((run) => iouOf(run, name)))),
  );
  return classTable(heads, rows, [element("th", { scope: "row" }, "mean"), ...cells(runs.map((run) => run.best?.miou ?? null))]);
}

function classTable(heads, rows, last) {
  const head = heads.filter(Boolean).map(([text, kind]) => element("th", { scope: "col", class: kind }, text));
  return element(
    "table", { class: "classes" },
    element("thead", {}, element("tr", {}, head)), element("tbody", {}, rows), element("tfoot", {}, element("tr", {}, last)),
  );
}

/** The share of each class in the truth of the pictures that were looked at; undefined where none were. */
function shareOfTruth(run) {
  if (!run.validation) return undefined;
  const rows = run.validation.confusion.map((row) => row.reduce((sum, count) => sum + count, 0));
  const total = rows.reduce((sum, count) => sum + count, 0);
  return rows.map((count) => count / total);
}

function bar(share, colour) {
  return element("span", { class: "track", "aria-hidden": "true" }, element("span", { class: "bar", style: `width: ${100 * (share ?? 0)}%; background: ${colour}` }));
}

/** A difference with its sign, which says it without its colour, too. */
function change(value) {
  const text = value.toFixed(3);
  if (Number(text) === 0) return element("span", { class: "pale" }, "0.000");
  return element("span", { class: value > 0 ? "up" : "down" }, `${value > 0 ? "▲ +" : "▼ −"}${Math.abs(value).toFixed(3)}`);
}
