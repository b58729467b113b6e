// Experiments: the same network on the same picture with something undone, and what becomes of the prediction.

function showExperiments(root, image) {
  if (image.experiments.length === 0) {
    fill(root, element("p", { class: "note" }, "This network has neither attention nor scales: there is nothing to undo."));
    return;
  }
  fill(
    root,
    element(
      "div",
      { class: "strip wide" },
      image.experiments.map((experiment) => {
        const found = changes(image.label, experiment.label);
        const canvas = canvasOf(`${experiment.title}: pixels whose class changes, in their new colour`);
        drawLabels(canvas, image, image.size, experiment.label, {
          strength: 0.9,
          marked: (n) => experiment.label[n] !== image.label[n],
        });
        const said = found.pairs.length ? listed(found.pairs.slice(0, 3)) : ["No pixel changes its class."];
        return picture(
          canvas,
          [element("strong", {}, experiment.title), ` (${experiment.what})`],
          element("p", {}, element("span", { class: "big changed" }, percent(found.share, 2)), " of the pixels change"),
          element("p", { class: "pale" }, said),
        );
      }),
    ),
  );
}

/** The share of the pixels that the experiment called `title` changes. */
function effectOf(image, title) {
  const experiment = image.experiments.find((each) => each.title === title);
  return experiment && changes(image.label, experiment.label).share;
}
