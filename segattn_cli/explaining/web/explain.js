// The page as a whole: which picture, which scale, and what there is to say where a network has no such part.

const byId = (id) => document.getElementById(id);
/** A gate that lets in less than this share of the features does next to nothing. */
const NOTHING = 0.01;
const explorers = {};
let wanted; // the picture that was asked for last: another may be unpacked later

async function show(index) {
  wanted = index;
  const image = await open(index);
  if (index !== wanted) return;
  for (const [n, button] of [...byId("pictures").children].entries()) button.setAttribute("aria-pressed", n === index);
  const [height, width] = image.size;
  const shrunk = height !== image.own_size[0] || width !== image.own_size[1];
  fill(
    byId("about-picture"),
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
      ` lets in ${percent(view.share, 2)} of the features' size; without it `,
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
    return "The gate is nearly closed: whatever the map below shows, the prediction hardly depends on it.";
  if (effect === 0) return "In this picture no class depends on it, whatever the map below shows.";
  return undefined;
}

function start() {
  fill(
    byId("pictures"),
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
    fill(byId("about-picture"), `This browser cannot draw the page (${error.message}): it wants one from 2023 or later.`);
    throw error;
  },
);
