// The example of an op: arrays whose numbers can be changed, the op's own code, and central differences beside it.
"use strict";

(() => {
  const STEP = 1e-5; // as the sentence below says
  const { examples, controls, positional, differentiated, code } = liveExample;
  const root = document.querySelector(".live");
  let seen = [];
  const [forward, backward] = code(np, (name, value) => seen.push([name, value]));
  // What backward calls the upstream gradient is d and the name of the result.
  const upstream = backward && /\((\w+)/.exec(backward.toString())[1];
  const result = upstream ? upstream.slice(1) : "result";
  const options = Object.keys(examples[0].arguments).filter((name) => !positional.includes(name));
  let values; // by name, as in the example: {shape, data, kind}, or another value of Python
  let fields; // for each field for a number, why it cannot be read, or null
  let cells; // for each array that is computed, where its numbers are shown

  // Computing

  const KINDS = { float: np.float64, int: np.int64, bool: np.bool };
  const isArray = (value) => value instanceof Object && "data" in value;
  const dataOf = (x) => (x instanceof np.NDArray ? x.data : [x]);
  const changed = (name, at, value) => ({ ...values, [name]: { ...values[name], data: values[name].data.with(at, value) } });

  function toNumpy(value) {
    if (!isArray(value)) return value;
    return value.shape.length ? new np.NDArray(value.shape, value.data, KINDS[value.kind]) : value.data[0];
  }

  // The result of the op, and what it saves for backward.
  function run(given) {
    const args = positional.map((name) => toNumpy(given[name]));
    const results = forward(...args, Object.fromEntries(options.map((name) => [name, toNumpy(given[name])])));
    return backward ? results : [results, null];
  }

  // The gradients by the name of their argument; an argument that was not given has none.
  function differentiate(cache) {
    if (!backward) return [];
    const results = backward(toNumpy(values[upstream]), cache);
    const gradients = differentiated.length > 1 ? results : [results];
    return differentiated.map((name, i) => [name, gradients[i]]).filter(([, gradient]) => gradient !== null);
  }

  // Σ dy·(y₂ − y₁), the change of the loss; numbers that do not change add nothing, however large they are.
  function change(y2, y1) {
    const [after, before] = [dataOf(y2), dataOf(y1)];
    return values[upstream].data.reduce((sum, dy, i) => (after[i] === before[i] ? sum : sum + dy * (after[i] - before[i])), 0);
  }

  // The slopes of the loss by one number: on its left, on its right, and across it.
  function slopes(name, at, y, step) {
    const value = values[name].data[at];
    const [left, right] = [value - step, value + step];
    const [low, high] = [left, right].map((each) => run(changed(name, at, each))[0]);
    return {
      left: change(y, low) / (value - left), right: change(high, y) / (right - value), central: change(high, low) / (right - left),
    };
  }

  // Whether the slopes on both sides stay apart however small the step is: there is no derivative.
  function isKink({ left, right }, name, at, y) {
    const jump = Math.abs(right - left);
    const rounding = 1e-4 * Math.max(Math.abs(left), Math.abs(right)) + 1e-6 * Math.max(1, ...dataOf(y).map(Math.abs));
    if (jump < rounding) return false;
    const closer = slopes(name, at, y, STEP / 10);
    return Math.abs(closer.right - closer.left) > jump / 2;
  }

  function compare(y, gradients) {
    let largest = null;
    const [kinks, tooLarge] = [[], []];
    for (const [name, gradient] of gradients) {
      dataOf(gradient).forEach((analytic, at) => {
        const found = slopes(name, at, y, STEP);
        const difference = Math.abs(found.central - analytic);
        if (!Number.isFinite(difference)) tooLarge.push({ name, at });
        else if (isKink(found, name, at, y)) kinks.push({ name, at, analytic, ...found });
        else if (largest === null || difference > largest.difference) largest = { name, at, difference };
      });
    }
    return { largest, kinks, tooLarge };
  }

  // Showing

  const short = (value) => String(Number(value.toPrecision(5))).replaceAll("-", "−").replace("Infinity", "∞");
  const label = (name, shape, at) => (shape.length ? `${name}[${indices(shape, at).join(", ")}]` : name);

  function indices(shape, at) {
    const found = [];
    for (const size of [...shape].reverse()) {
      found.unshift(at % size);
      at = Math.floor(at / size);
    }
    return found;
  }

  function element(tag, attributes = {}, ...children) {
    const created = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) created.setAttribute(name, value);
    created.append(...children);
    return created;
  }

  // An array as tables: its last two axes that are longer than 1 are rows and columns, those before are tables.
  function tables(name, shape, cell) {
    const long = shape.map((size, axis) => ({ size, axis })).filter(({ size }) => size > 1);
    const [rows, columns] = [long.at(-2), long.at(-1)];
    const groups = new Map();
    for (let at = 0; at < shape.reduce((a, b) => a * b, 1); at++) {
      const index = indices(shape, at);
      const row = rows ? index[rows.axis] : 0;
      const key = shape.map((_, axis) => (axis === rows?.axis || axis === columns?.axis ? ":" : index[axis])).join(", ");
      if (!groups.has(key)) groups.set(key, []);
      const lines = groups.get(key);
      lines[row] ??= element("tr");
      lines[row].append(element("td", {}, cell(at)));
    }
    const several = groups.size > 1;
    return [...groups].map(([key, lines]) => {
      const caption = several ? [element("caption", {}, `[${key}]`)] : [];
      return element("table", {}, ...caption, element("tbody", {}, ...lines));
    });
  }

  function block(name, shape, cell) {
    const heading = element("p", { class: "live-name" }, element("code", {}, name), shape.length ? ` (${shape.join(", ")}${shape.length === 1 ? "," : ""})` : "");
    return element("div", { class: "live-array" }, heading, ...tables(name, shape, cell));
  }

  // An array that can be changed.
  function given(name) {
    const { shape, data, kind } = values[name];
    return block(name, shape, (at) => {
      const described = label(name, shape, at);
      if (kind === "bool") {
        const box = element("input", { type: "checkbox", "aria-label": described });
        box.checked = data[at];
        box.addEventListener("change", () => { values = changed(name, at, box.checked); update(); });
        return box;
      }
      return number(described, data[at], kind, (value) => { values = changed(name, at, value); });
    });
  }

  // A field for a number: the keys up and down change it.
  function number(described, value, kind, take) {
    const text = kind === "int" ? String(value) : short(value);
    const input = element("input", { type: "text", size: "6", autocomplete: "off", spellcheck: "false", "aria-label": described, value: text });
    const step = kind === "int" ? 1 : 0.1;
    const field = { problem: null };
    const read = () => {
      const number = Number(input.value.trim().replaceAll("−", "-").replace(",", ".") || NaN);
      const isRight = kind === "int" ? Number.isSafeInteger(number) : Number.isFinite(number);
      field.problem = isRight ? null : `${described} is “${input.value}”, which is not ${kind === "int" ? "an integer" : "a number"}.`;
      input.setAttribute("aria-invalid", String(!isRight));
      if (isRight) take((value = number));
      update();
    };
    input.addEventListener("input", read);
    input.addEventListener("keydown", (event) => {
      const direction = { ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (!direction || field.problem) return;
      event.preventDefault();
      input.value = short(Number((value + direction * step).toPrecision(12)));
      read();
    });
    fields.push(field);
    return input;
  }

  // An array that is computed: filled in later.
  function computed(name, shape) {
    cells[name] = [];
    return block(name, shape, (at) => (cells[name][at] = element("output")));
  }

  function fill(places, x) {
    const text = x.dtype === np.bool ? (value) => (value ? "True" : "False") : short;
    dataOf(x).forEach((value, at) => { places[at].value = text(value); });
  }

  function option(name) {
    const choices = controls[name];
    if (choices === "number") {
      const input = number(name, values[name], "float", (value) => { values = { ...values, [name]: value }; });
      return element("label", {}, element("code", {}, name), " ", input);
    }
    const texts = choices.map((each) => ({ true: "True", false: "False" })[each] ?? each);
    const select = element("select", {}, ...texts.map((text) => element("option", {}, text)));
    select.selectedIndex = choices.indexOf(values[name]);
    select.addEventListener("change", () => { values = { ...values, [name]: choices[select.selectedIndex] }; update(); });
    return element("label", {}, element("code", {}, name), " ", select);
  }

  const choice = element("select", {}, ...examples.map(({ text }) => element("option", {}, text)));
  const settings = element("span");
  const reset = element("button", { type: "button" }, "Reset");
  const rows = element("div");
  const status = element("p", { class: "live-status", role: "status" });
  const way = element("div");
  const details = element("details", {}, element("summary", {}, "Every value on the way"), way);

  // Start from the example of the docstring.
  function start() {
    const { arguments: args, dy } = examples[choice.selectedIndex];
    values = { ...args, [upstream]: dy };
    fields = [];
    cells = {};
    const arrays = Object.keys(args).filter((name) => isArray(args[name])).map((name) => {
      const gradient = differentiated.includes(name) ? [computed(`d${name}`, args[name].shape)] : [];
      return element("div", { class: "live-row" }, given(name), ...gradient);
    });
    const y = computed(result, np.shape(run(args)[0]));
    rows.replaceChildren(...arrays, element("div", { class: "live-row" }, y, ...(upstream ? [given(upstream)] : [])));
    settings.replaceChildren(...Object.keys(controls).map(option));
    update();
  }

  function update() {
    let text;
    try {
      const problem = fields.map((field) => field.problem).find(Boolean);
      if (problem) throw new Error(problem);
      text = compute();
    } catch (error) {
      text = error.message;
      root.classList.add("live-wrong");
    }
    status.textContent = text;
  }

  // Compute and show everything; what there is to say.
  function compute() {
    seen = [];
    const [y, cache] = run(values);
    const forwards = seen;
    seen = [];
    const gradients = differentiate(cache);
    const backwards = seen;
    seen = []; // of the central differences, which nobody looks at
    for (const [name, x] of [[result, y], ...gradients.map(([name, x]) => [`d${name}`, x])]) {
      if (!dataOf(x).every(Number.isFinite)) throw new Error(`${name} is not finite: the numbers are too large.`);
      fill(cells[name], x);
    }
    root.classList.remove("live-wrong");
    const drawSteps = () => way.replaceChildren(...steps("Forward", forwards), ...(backward ? steps("Backward", backwards) : []));
    details.ontoggle = () => { if (details.open) drawSteps(); };
    details.ontoggle();
    return gradients.length ? compared(y, gradients) : "";
  }

  const moreNumbers = (count) => `${count} more number${count === 1 ? "" : "s"}`;

  function compared(y, gradients) {
    const { largest, kinks, tooLarge } = compare(y, gradients);
    const place = ({ name, at }) => label(name, values[name].shape, at);
    const sentences = [];
    if (largest) {
      const difference = largest.difference ? `${largest.difference.toExponential(1)}, at ${place(largest)}` : "0";
      sentences.push(`Largest difference between the gradients and central differences with a step of 1e-5: ${difference}.`);
    }
    for (const kink of kinks.slice(0, 2)) {
      const slopes = `the slope is ${short(kink.left)} on the left and ${short(kink.right)} on the right`;
      sentences.push(`At ${place(kink)} there is no derivative: ${slopes}; the gradient is ${short(kink.analytic)}.`);
    }
    if (kinks.length > 2) sentences.push(`There is none at ${moreNumbers(kinks.length - 2)}.`);
    if (tooLarge.length) {
      const more = tooLarge.length > 1 ? ` and ${moreNumbers(tooLarge.length - 1)}` : "";
      sentences.push(`No central difference at ${place(tooLarge[0])}${more}: too large for a step of 1e-5.`);
    }
    return sentences.join(" ");
  }

  // The arrays that one function computes, in the order of its lines.
  function steps(title, all) {
    const last = new Map(all.filter(([, x]) => x instanceof np.NDArray || typeof x === "number"));
    const arrays = [...last].map(([name, x]) => {
      const places = [];
      const drawn = block(name, np.shape(x), (at) => (places[at] = element("output")));
      fill(places, x);
      return drawn;
    });
    return arrays.length ? [element("p", {}, title), element("div", { class: "live-row" }, ...arrays)] : [];
  }

  choice.addEventListener("change", start);
  reset.addEventListener("click", start);
  const example = element("label", {}, "Example ", choice);
  example.hidden = examples.length === 1;
  root.append(element("p", { class: "live-choices" }, example, settings, reset), rows, status, details);
  start();
})();
