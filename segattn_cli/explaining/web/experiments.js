// Experiments: the same network on the same image with one change, and its effect on the prediction.

class Experiments {
  constructor(root, image) {
    this.image = image;
    this.changesOnly = true;
    this.cards = image.experiments.map((experiment) => this.card(experiment));
    this.modes = element(
      "div",
      { class: "modes controls", role: "group", "aria-label": "What is shown" },
      [["What changes", true], ["The prediction", false]].map(([name, changesOnly]) =>
        element("button", { type: "button", "data-changes": changesOnly, onclick: () => this.draw(changesOnly) }, name),
      ),
    );
    fill(root, this.modes, element("div", { class: "strip wide" }, this.cards.map((card) => card.figure)));
    this.draw(true);
  }

  card(experiment) {
    const found = changes(this.image.label, experiment.label);
    const canvas = canvasOf(`${experiment.title}: the prediction, or what changes in it`);
    const said = found.pairs.length ? listed(found.pairs.slice(0, 3)) : ["No pixel changes its class."];
    const pixels = Math.round(found.share * this.image.label.length).toLocaleString("en-GB");
    const figure = captioned(
      canvas,
      [element("strong", {}, experiment.title), ` (${experiment.what})`],
      element("p", {}, element("span", { class: "big changed" }, percent(found.share, 2)), ` of the pixels change, ${pixels}`),
      element("p", { class: "pale" }, said),
    );
    return { experiment, canvas, figure };
  }

  draw(changesOnly) {
    for (const button of this.modes.children) button.setAttribute("aria-pressed", button.dataset.changes === String(changesOnly));
    for (const { experiment, canvas } of this.cards) {
      const marked = changesOnly ? (n) => experiment.label[n] !== this.image.label[n] : undefined;
      drawLabels(canvas, this.image, this.image.size, experiment.label, { strength: changesOnly ? 0.95 : 0.65, marked });
    }
  }
}

function showExperiments(root, image) {
  if (image.experiments.length > 0) return new Experiments(root, image);
  return fill(root, element("p", { class: "note" }, "This network has neither attention nor several scales: there are no experiments."));
}

/** The share of the pixels that the experiment called `title` changes. */
function effectOf(image, title) {
  const experiment = image.experiments.find((each) => each.title === title);
  return experiment && changes(image.label, experiment.label).share;
}
