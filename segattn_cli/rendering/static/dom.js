// Elements and figures. Text is always set as text: nothing from the data is ever read as HTML.

/** `element("td", { class: "name" }, "road")`; children are elements or text, `undefined` ones are left out. */
function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (/^(aria|data)-/.test(name)) node.setAttribute(name, value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== undefined));
  return node;
}

/** Replace what is in `node`. */
function fill(node, ...children) {
  node.replaceChildren(...children.flat().filter((child) => child !== undefined));
  return node;
}

/** Say to screen readers where keys have led, once they rest. What follows a pointer is not said: it would never end. */
function announce(text) {
  clearTimeout(announce.waiting);
  announce.waiting = setTimeout(() => (document.getElementById("announced").textContent = text), 250);
}

/** `figure(0.01234)` → "0.0123"; very small and very large numbers with a power of ten. */
function figure(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e6) return value.toExponential(digits - 1).replace("-", "−");
  return Number(value.toPrecision(digits)).toString().replace("-", "−");
}

/** `percent(0.1234)` → "12.3 %"; what would round to 0 but is not, as "< 0.1 %". */
function percent(share, digits = 1) {
  if (share === null || share === undefined) return "–";
  const least = 10 ** -digits;
  return 0 < share && 100 * share < least / 2 ? `< ${least} %` : `${(100 * share).toFixed(digits)} %`;
}

/** A class's colour as a small square. */
function chip(colour) {
  const square = element("span", { class: "chip", "aria-hidden": "true" });
  square.style.background = css(colour);
  return square;
}

function css([red, green, blue], alpha = 1) {
  return `rgba(${red}, ${green}, ${blue}, ${alpha})`;
}
