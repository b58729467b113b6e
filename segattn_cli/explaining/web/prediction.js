// The image, its prediction, and the fraction of each class.

function showPrediction(root, image) {
  const plain = canvasOf(`The image ${image.name}`);
  drawOver(plain, image.bitmap, image.size, image.bitmap, 0);
  const predicted = canvasOf("The image under the colours of the predicted classes");
  drawLabels(predicted, image, image.size, image.label, { strength: 0.65 });
  fill(
    root,
    element("div", { class: "row" }, captioned(plain, "Image"), captioned(predicted, "Prediction")),
    classList(shares(image.label)),
  );
}

/** The classes in `labels` and the share of each, the largest first. */
function shares(labels) {
  const counts = new Float64Array(256);
  for (const label of labels) counts[label]++;
  return topIndices(counts, data.classes.length)
    .filter((index) => counts[index] > 0)
    .map((index) => ({ index, share: counts[index] / labels.length }));
}

function classList(found) {
  return element(
    "ul",
    { class: "classes" },
    found.map(({ index, share }) =>
      element("li", {}, chip(data.palette[index]), data.classes[index], element("span", { class: "pale" }, ` ${percent(share)}`)),
    ),
  );
}
