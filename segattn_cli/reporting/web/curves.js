// How training went: of one run a line for each part, of several a colour for each run.

/** From so many points on, losses and speeds are smoothed. */
const NOISY = 40;

function showCurves(root) {
  const longest = Math.max(...runs.map((run) => run.steps.epoch.length));
  const smooth = longest < NOISY ? 1 : Math.ceil(longest / 30);
  const together = Math.max(...runs.map((run) => run.steps.together));
  const note = [
    smooth > 1 ? `Faint: as logged; strong: mean of ${smooth} points, at the ends of fewer.` : "",
    together > 1 ? `A point is the mean of up to ${together} logged steps.` : "",
  ].join(" ").trim() || undefined;
  const quantities = [
    { title: "training loss", of: lossesOf, log: true, smooth, note, choose: several },
    {
      title: "validation", of: validationOf, at: "validations", range: [0, 1], marks: true, choose: several,
      note: "Fractions in [0, 1].",
    },
    {
      title: "learning rate", of: ({ steps }) => ({ "learning rate": steps.learning_rate }), zero: true,
      note: "Of the backbone's weights.",
    },
    {
      title: "gates", of: ({ steps }) => renamed(steps.gates, gateName), zero: true,
      note: "Factors of the attentions; all start at 0.",
    },
    {
      title: "mean weight of each scale", of: ({ steps }) => renamed(steps.scale_weights, (scale) => `scale ${scale}`),
      range: [0, 1], note: "Over the pixels of a batch; the weights add to 1.",
    },
    {
      title: "gradient norm", of: ({ steps }) => ({ norm: steps.gradient_norm }), log: true, smooth,
      note: "Before clipping.",
    },
    {
      title: "loss scale", of: ({ steps }) => ({ scale: steps.loss_scale }), log: true,
      format: (scale) => scale.toLocaleString("en-GB"),
      note: "In float16: halved after a gradient overflowed; that step was skipped.",
    },
    { title: "images per second", of: ({ steps }) => ({ images: steps.images_per_second }), zero: true, smooth },
    {
      title: "fraction of time waiting for data", of: ({ steps }) => ({ waiting: steps.wait_share }), zero: true,
      smooth, format: (share) => `${figure(100 * share)} %`,
    },
  ];
  const charts = quantities.map(chartOf).filter(Boolean);
  fill(root, charts.length ? charts : element("p", {}, "There are no curves: nothing has been logged yet."));
}

/** Totals of several runs may be sums of different parts: there, the first part comes first. */
function lossesOf(run) {
  const { parts, loss } = run.steps;
  if (several) return { ...parts, total: loss };
  return Object.keys(parts).length > 1 ? { total: loss, ...parts } : { total: loss };
}

function validationOf(run) {
  return { mIoU: run.validations.miou, "pixel accuracy": run.validations.pixel_accuracy };
}

function renamed(columns, rename) {
  return Object.fromEntries(Object.entries(columns).map(([name, values]) => [rename(name), values]));
}

/** "head.position.gate" → "α (position)" */
function gateName(parameter) {
  const branch = parameter.split(".").at(-2);
  return `${branch === "position" ? "α" : "β"} (${branch})`;
}

/**
 * The chart of a quantity, of which `of(run)` gives the curves by name, one value for each epoch in `run[at]`. With
 * `choose`, one of the curves is shown at a time.
 */
function chartOf({ of, at = "steps", choose, ...how }) {
  const columns = runs.map(of);
  const names = [...new Set(columns.flatMap((each) => Object.keys(each)))];
  const filled = columns.some((each) => Object.values(each).some((values) => values.some((value) => value !== null)));
  if (!filled) return undefined;
  if (!choose || names.length < 2) return new LineChart({ ...how, lines: linesOf(columns, names, at) }).node;
  const holder = element("div", { class: "chosen-chart" });
  const select = element(
    "select", { "aria-label": `Which ${how.title}`, onchange: () => draw(select.value) },
    names.map((name) => element("option", { value: name }, name)),
  );
  const draw = (name) => {
    const chart = new LineChart({ ...how, title: `${how.title}: ${name}`, lines: linesOf(columns, [name], at) });
    fill(holder, select, chart.node);
  };
  draw(names[0]);
  return holder;
}

function linesOf(columns, names, at) {
  return columns.flatMap((column, r) =>
    names
      .filter((name) => column[name]?.some((value) => value !== null))
      .map((name) => ({ ...lookOf(r, name, names), x: runs[r][at].epoch, y: column[name] })),
  );
}

/** Name and style of a curve: colours tell runs apart where there are several, else the parts of one. */
function lookOf(r, name, names) {
  const n = names.indexOf(name);
  if (!several && name === "total") return { name, style: { colour: "var(--ink)" } };
  if (!several) return { name, style: lineStyle(n - (names[0] === "total")) };
  const { series = r, repetition = 0 } = runs[r];
  const { colour } = lineStyle(series);
  const dash = DASHES[(n + repetition + Math.floor(series / SERIES)) % DASHES.length];
  return { name: names.length > 1 ? `${runs[r].name}: ${name}` : runs[r].name, style: { colour, dash } };
}
