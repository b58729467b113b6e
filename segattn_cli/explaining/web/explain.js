// The page as a whole: the chosen image and scale, and notes on the gates.

const byId = (id) => document.getElementById(id);
/** A gate that adds less than this fraction of the features has hardly any effect. */
const NOTHING = 0.01;
const explorers = {};
let wanted; // the image that was chosen last: an earlier choice may be unpacked later

async function show(index) {
  wanted = index;
  const image = await open(index);
  if (index !== wanted) return;
  for (const [n, button] of [...byId("images").children].entries()) button.setAttribute("aria-pressed", n === index);
  const [height, width] = image.size;
  const shrunk = height !== image.own_size[0] || width !== image.own_size[1];
  fill(
    byId("about-image"),
    `${image.name}: ${image.own_size[1]}×${image.own_size[0]} pixels`,
    shrunk ? `, seen by the network at ${width}×${height}` : "",
    `; features of ${image.grid[1]}×${image.grid[0]}, N = ${image.grid[0] * image.grid[1]}.`,
  );
  showPrediction(byId("prediction"), image);
  showAttention(image, "position", image.positions, PositionExplorer);
  showAttention(image, "channel", image.channels, ChannelExplorer);
  if (byId("scales")) showScales(byId("scales"), image);
  showExperiments(byId("experiments"), image);
}

/** The section of an attention at one of its scales. */
function showAttention(image, kind, views, Explorer, chosen = 0) {
  const root = byId(kind);
  if (!root) return;
  const view = views[chosen];
  fill(byId(`${kind}-gate`), ...gateSays(image, kind, view));
  fill(
    byId(`${kind}-scale`),
    views.length > 1
      ? views.map((each, n) =>
          element(
            "button",
            { type: "button", "aria-pressed": n === chosen, onclick: () => showAttention(image, kind, views, Explorer, n) },
            `scale ${each.scale}`,
          ),
        )
      : undefined,
  );
  explorers[kind] = new Explorer(root, image, view);
}

/** The gate's value, what it lets in, and what removing the attention changes. */
function gateSays(image, kind, view) {
  const letter = kind === "position" ? "α" : "β";
  const effect = effectOf(image, `${kind} attention removed`);
  const warning = gateWarns(view, effect);
  return [
    element(
      "p",
      {},
      element("span", { class: "big gate" }, `${letter} = ${figure(view.gate)}`),
      ` adds ${percent(view.share, 2)} of the features' norm; without it `,
      element("strong", {}, percent(effect, 2)),
      " of the pixels change their class.",
    ),
    warning && element("p", { class: "note" }, warning),
    kind === "position" && element("p", { class: "pale" }, `Weights below are within ${figure(view.error, 2)} of the network's, measured over the whole map.`),
  ].filter(Boolean);
}

/** What to bear in mind before reading the map, if anything. */
function gateWarns(view, effect) {
  if (view.gate === 0) return "The gate is 0: nothing of this map reaches the prediction.";
  if (view.share < NOTHING)
    return "The gate is nearly closed: the prediction hardly depends on the map below.";
  if (effect === 0) return "In this image no class depends on the map below.";
  return undefined;
}

function start() {
  fill(
    byId("images"),
    data.images.map((image, index) =>
      element(
        "button",
        { type: "button", class: "thumbnail", "aria-pressed": "false", onclick: () => show(index) },
        element("img", { src: image.picture, alt: "" }),
        element("span", {}, image.name),
      ),
    ),
  );
  // For the console: `await segattn.open(0)`, `segattn.row(view, 17)`.
  window.segattn = { data, open, show, row: attentionRow, column: attentionColumn, explorers, unpack };
  return show(0);
}

start().then(
  () => {
    document.body.dataset.ready = "";
  },
  (error) => {
    fill(byId("about-image"), `This browser cannot draw the page (${error.message}): it needs a browser from 2023 or later.`);
    throw error;
  },
);
