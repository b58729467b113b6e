// What the parts of the report share: runs, their looks and their words.

const runs = data.runs;
const several = runs.length > 1;
/** Rows and columns that a key goes. */
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

const byId = (id) => document.getElementById(id);

/** A run's marker and name. */
function runName(index) {
  return [swatch(lineStyle(index)), runs[index].name];
}

function plural(count, word) {
  return `${count.toLocaleString("en-GB")} ${word}${count === 1 ? "" : "s"}`;
}

/** "2:07:00" */
function duration(seconds) {
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** An IoU, as the command line writes it. */
function fixed(value) {
  return value === null ? "–" : value.toFixed(3);
}

/** How a run ended, in a few words. */
function stateOf(run) {
  const steps = `step ${run.step} of ${run.last_step ?? "?"}`;
  return {
    finished: `finished, ${plural(run.step, "step")}`,
    "going on": `still going: ${steps} when this page was written`,
    unfinished: run.step ? `ended at ${steps}` : "ended before its first step",
    "not finite": `ended at step ${run.non_finite?.step}: not finite`,
  }[run.state];
}

/** What has to be said about a run before anything is read off its curves: sentences. */
function warningsOf(run) {
  const said = [];
  if (run.state === "not finite") {
    const { step, tensor } = run.non_finite;
    said.push(`Training ended at step ${step}: the first tensor that is not finite is ${tensor}.`);
  }
  if (run.state === "unfinished") {
    said.push(`The run was stopped before its end; segattn train --resume --out ${run.folder} goes on.`);
  }
  said.push(...run.warnings);
  if (run.unreadable) said.push(`Left out of events.jsonl: ${plural(run.unreadable, "line")} that cannot be read.`);
  return said;
}

/** The classes of all runs, each once, in their order. */
function allClasses() {
  return [...new Set(runs.flatMap((run) => [...run.classes, ...Object.keys(run.validations.per_class_iou)]))];
}

/** A class's colour in the first run that knows it. */
function colourOf(name) {
  for (const run of runs) {
    const index = run.classes.indexOf(name);
    if (index >= 0 && run.palette) return run.palette[index];
  }
  return undefined;
}

function className(name) {
  const colour = colourOf(name);
  return [colour && chip(colour), name].filter(Boolean);
}

/** Which of a run's validations was the best, −1 where there was none. */
function bestIndex(run) {
  const mious = run.validations.miou;
  return mious.reduce((best, miou, n) => (miou !== null && (best < 0 || miou > mious[best]) ? n : best), -1);
}

/** The mean of what is known. */
function meanOf(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? sum(known) / known.length : null;
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

/** A table of rows; each of its heads is `[content, class]`, and `last` is the row at its foot. */
function table(heads, rows, { kind, last } = {}) {
  const head = heads.map(([content, of]) => element("th", { scope: "col", class: of }, content));
  return element(
    "table", { class: kind },
    element("thead", {}, element("tr", {}, head)),
    element("tbody", {}, rows),
    last && element("tfoot", {}, last),
  );
}

/** A row with what it is about, if that is said, and its cells, each `[content, class]`. */
function row(about, cells) {
  const head = about === undefined ? [] : [element("th", { scope: "row" }, about)];
  return element("tr", {}, head, cells.map(([content, of]) => element("td", { class: of }, content)));
}

/** Buttons of which one is pressed. */
function choice(label, names, chosen, choose) {
  const buttons = names.map((name, n) =>
    element(
      "button",
      {
        type: "button", "aria-pressed": n === chosen,
        onclick: () => {
          buttons.forEach((button, k) => button.setAttribute("aria-pressed", k === n));
          choose(n);
        },
      },
      name,
    ),
  );
  return element("div", { class: "choice", role: "group", "aria-label": label }, buttons);
}
