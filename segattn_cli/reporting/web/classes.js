// IoU by class: its value and its course; of several runs, beside each other.

/** Above so many runs, their bars have no room beside each other. */
const MOST_BARS = 3;
/** Above so many classes, the table scrolls. */
const MOST_ROWS = 25;
const ORDERS = ["as in the data", "lowest IoU first", "highest IoU first"];

function showClasses(root) {
  const names = allClasses();
  if (!names.length || runs.every((run) => bestIndex(run) < 0)) {
    fill(root, element("p", {}, "Nothing has been validated yet."));
    return;
  }
  const kind = names.length > MOST_ROWS ? "scroll tall" : "scroll";
  const holder = element("div", { class: kind, tabindex: 0, role: "region", "aria-label": "IoU by class" });
  const draw = (order) => fill(holder, several ? comparison(sorted(names, order)) : single(sorted(names, order)));
  fill(root, choice("Order of the classes", ORDERS, 0, draw), holder);
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

/** What the validation of a single run says of each class beside its IoU: the heads and, by class, the values. */
const MORE = { Dice: "per_class_dice", precision: "per_class_precision", recall: "per_class_recall" };

function single(names) {
  const [run] = runs;
  const { validation } = run;
  const truth = validation && shareOfTruth(validation.confusion);
  const heads = [["class"], ["IoU", "number"], [""], ["over the epochs"], ["since the first", "number"]];
  const more = validation ? [...Object.keys(MORE), "fraction of truth"].map((head) => [head, "number"]) : [];
  const rows = names.map((name) => {
    const curve = run.validations.per_class_iou[name] ?? [];
    const cells = course(name, iouOf(run, name), curve, lineStyle(0));
    if (!validation) return row(className(name), cells);
    const index = run.classes.indexOf(name);
    const values = Object.values(MORE).map((key) => [fixed(validation[key][index]), "number"]);
    return row(className(name), [...cells, ...values, [percent(truth[index]), "number"]]);
  });
  const last = course("the mean", run.best.miou, run.validations.miou, { colour: "var(--ink)" });
  const means = Object.values(MORE).map((key) => [fixed(meanOf(validation?.[key] ?? [])), "number"]);
  return table([...heads, ...more], rows, {
    kind: "classes", last: row("mean", validation ? [...last, ...means, [""]] : last),
  });
}

/** The cells of a class: its IoU, the curve that led there, and how far that rose. */
function course(name, iou, curve, style) {
  const { epoch } = runs[0].validations;
  const points = curve.map((value, n) => `${figure(value)} after epoch ${figure(epoch[n])}`);
  const first = curve.find((value) => value !== null);
  return [
    [fixed(iou), "number"],
    [bar(iou, style.colour)],
    [sparkline(curve, style, `IoU of ${name}: ${points.join(", ")}`)],
    [iou === null || curve.length < 2 ? "–" : change(iou - first), "number"],
  ];
}

function comparison(names) {
  const bars = runs.length <= MOST_BARS;
  const columns = (of) => runs.flatMap((_, r) => of(r).filter(Boolean));
  const heads = columns((r) => [[runName(r), "number"], bars && [""], r > 0 && ["difference", "number"]]);
  const cells = (values) =>
    columns((r) => [
      [fixed(values[r]), "number"],
      bars && [bar(values[r], lineStyle(r).colour)],
      r > 0 && [values[r] === null || values[0] === null ? "–" : change(values[r] - values[0]), "number"],
    ]);
  const rows = names.map((name) => row(className(name), cells(runs.map((run) => iouOf(run, name)))));
  const last = row("mean", cells(runs.map((run) => run.best?.miou ?? null)));
  return table([["class"], ...heads], rows, { kind: "classes", last });
}

/** The fraction of each class in the truth. */
function shareOfTruth(confusion) {
  const rows = confusion.map(sum);
  return rows.map((count) => count / sum(rows));
}

function bar(share, colour) {
  const filled = element("span", { class: "bar", style: `width: ${100 * (share ?? 0)}%; background: ${colour}` });
  return element("span", { class: "track", "aria-hidden": "true" }, filled);
}

/** A difference with its sign, which says it without its colour, too. */
function change(value) {
  const size = Math.abs(value).toFixed(3);
  if (Number(size) === 0) return element("span", { class: "pale" }, size);
  return value > 0
    ? element("span", { class: "up" }, `▲ +${size}`)
    : element("span", { class: "down" }, `▼ −${size}`);
}
