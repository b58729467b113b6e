// The values of a run at a glance; of several runs, their differences and results.

/** Name, value and note of every figure; those that are not known have no value. */
function figuresOf(run) {
  const { best, steps, validation, weights, last_step: last } = run;
  const whole = (number) => number && number.toLocaleString("en-GB");
  return [
    ["best mIoU", best && fixed(best.miou), best && `after epoch ${figure(best.epoch)}`],
    ["pixel accuracy", best && fixed(best.pixel_accuracy), "of the same validation"],
    ["calibration error", validation && fixed(validation.calibration.ece), "ECE, lower is better"],
    ["steps", run.step.toLocaleString("en-GB"), last && last !== run.step && `of ${whole(last)}`],
    ["time", run.seconds && duration(run.seconds), run.backend && `on ${run.backend}`],
    ["precision", run.precision !== "float32" && run.precision, skippedOf(run)],
    ["images per second", figure(meanOf(steps.images_per_second)), "in training, mean"],
    ["waiting for data", percent(meanOf(steps.wait_share)), "of the time, mean"],
    ["initial weights", weights?.file, weights && `${plural(weights.matched, "parameter")} (${weights.layout})`],
    ["parameters", run.parameters > 1e6 ? `${figure(run.parameters / 1e6)} million` : whole(run.parameters)],
    ["memory", run.memory && `${figure(run.memory / 1e6)} MB`, "peak of the process"],
    ["images", whole(run.training_images), run.validation_images && `and ${whole(run.validation_images)} to validate`],
  ].map(([name, value, note]) => [name, value && value !== "–" ? value : undefined, note]);
}

function skippedOf({ skipped }) {
  return skipped > 0 && `${plural(skipped, "step")} skipped by the loss scale`;
}

function showOverview() {
  const said = runs.flatMap((run) => warningsOf(run).map((each) => (several ? `${run.name}: ${each}` : each)));
  fill(byId("warnings"), said.map((sentence) => element("p", { class: "note" }, sentence)));
  if (several) {
    showDifferences(byId("differences"));
    showResults(byId("results"));
    return;
  }
  const tiles = figuresOf(runs[0]).filter(([, value]) => value).map(tile);
  fill(byId("results"), element("p", {}, stateOf(runs[0])), element("dl", { class: "tiles" }, tiles));
}

function tile([name, value, note]) {
  const small = note ? element("span", { class: "pale small" }, note) : undefined;
  return element("div", {}, element("dt", {}, name), element("dd", {}, element("span", { class: "big" }, value), small));
}

function showDifferences(root) {
  if (!data.differences.length) {
    fill(root, element("p", {}, "The configurations are the same, key by key."));
    return;
  }
  const rows = data.differences.map(({ key, values }) => {
    const [first] = values.map(written);
    const cells = values.map(written).map((text) => [element("code", {}, text), text === first ? undefined : "differs"]);
    return row(element("code", {}, breakable(key)), cells);
  });
  const note = "All other keys are the same. Values that differ from the first run are bold.";
  fill(root, runTable("key", rows), element("p", { class: "pale small" }, note));
}

function showResults(root) {
  const columns = runs.map(figuresOf);
  const rows = columns[0]
    .map(([name], n) => [name, columns.map((column) => column[n][1])])
    .filter(([, values]) => values.some(Boolean))
    .map(([name, values]) => row(name, values.map((value) => [value ?? "–"])));
  fill(root, runTable("", [row("state", runs.map((run) => [stateOf(run)])), ...rows]));
}

/** A table with a column for each run. */
function runTable(corner, rows) {
  const heads = runs.map((_, index) => [runName(index), "run-head"]);
  return element(
    "div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of the runs" },
    table([[corner], ...heads], rows, { kind: "runs" }),
  );
}

/** A key that may be broken after its dots. */
function breakable(key) {
  return key.split(".").flatMap((part, n) => (n ? [".", element("wbr"), part] : [part]));
}

/** A value of the configuration, nearly as TOML has it. */
function written(value) {
  return value === null ? "unset" : JSON.stringify(value).replaceAll(",", ", ");
}
