// The figures of a run at a glance; of several runs, what they differ in and how they did.

/** Name and value of every figure that is known of a run. */
function figuresOf(run) {
  const { best, steps, validation, weights } = run;
  return [
    ["best mIoU", best && fixed(best.miou), best && `after epoch ${figure(best.epoch)}`],
    ["pixel accuracy", best && fixed(best.pixel_accuracy), "of the same validation"],
    ["calibration error", validation && fixed(validation.calibration.ece), "ECE, lower is better"],
    ["steps", run.step.toLocaleString("en-GB"), run.last_step && run.last_step !== run.step ? `of ${run.last_step.toLocaleString("en-GB")}` : undefined],
    ["time", run.seconds && duration(run.seconds), run.backend && `on ${run.backend}`],
    ["images per second", figure(meanOf(steps.images_per_second)), "in training, mean"],
    ["waiting for data", percent(meanOf(steps.wait_share)), "of the time, mean"],
    ["first weights", weights?.file, weights && `${plural(weights.matched, "parameter")} (${weights.layout})`],
    ["parameters", run.parameters && run.parameters.toLocaleString("en-GB"), undefined],
    ["memory", run.memory && `${figure(run.memory / 1e6)} MB`, "peak of the process"],
    ["images", run.training_images && run.training_images.toLocaleString("en-GB"), run.validation_images && `and ${run.validation_images.toLocaleString("en-GB")} to validate`],
  ];
}

function showOverview() {
  const notes = runs.flatMap((run) => warningsOf(run).map((sentence) => (several ? `${run.name}: ${sentence}` : sentence)));
  fill(byId("warnings"), notes.map((sentence) => element("p", { class: "note" }, sentence)));
  if (several) {
    showDifferences(byId("differences"));
    showResults(byId("results"));
    return;
  }
  const tiles = figuresOf(runs[0]).filter(([, value]) => value && value !== "–");
  fill(
    byId("results"),
    element("p", {}, stateOf(runs[0])),
    element("dl", { class: "tiles" }, tiles.map(([name, value, note]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, element("span", { class: "big" }, value), note && element("span", { class: "pale small" }, note))),
    )),
  );
}

function showDifferences(root) {
  if (!data.differences.length) {
    fill(root, element("p", {}, "The configurations are the same, key by key."));
    return;
  }
  const rows = data.differences.map(({ key, values }) => {
    const cells = values.map((value) => {
      const same = JSON.stringify(value) === JSON.stringify(values[0]);
      return element("td", { class: same ? undefined : "differs" }, element("code", {}, written(value)));
    });
    return element("tr", {}, element("th", { scope: "row" }, element("code", {}, breakable(key))), cells);
  });
  fill(root, runTable("key", rows), element("p", { class: "pale small" }, "All other keys are the same. What differs from the first run is bold."));
}

function showResults(root) {
  const columns = runs.map(figuresOf);
  const rows = columns[0]
    .map(([name], n) => [name, columns.map((column) => column[n][1] || "–")])
    .filter(([, values]) => values.some((value) => value !== "–"))
    .map(([name, values]) => element("tr", {}, element("th", { scope: "row" }, name), values.map((value) => element("td", {}, value))));
  const states = element("tr", {}, element("th", { scope: "row" }, "state"), runs.map((run) => element("td", {}, stateOf(run))));
  fill(root, runTable("", [states, ...rows]));
}

/** A table with a column for each run. */
function runTable(corner, rows) {
  const heads = runs.map((_, index) => element("th", { scope: "col", class: "run-head" }, runName(index)));
  return element(
    "div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of the runs" },
    element("table", { class: "runs" }, element("thead", {}, element("tr", {}, element("th", {}, corner), heads)), element("tbody", {}, rows)),
  );
}

/** A key that may be broken after its dots. */
function breakable(key) {
  return key.split(".").flatMap((part, n) => (n ? [".", element("wbr"), part] : [part]));
}

/** A value of the configuration, as TOML would have it, or nearly. */
function written(value) {
  return value === null ? "unset" : JSON.stringify(value).replaceAll(",", ", ");
}
