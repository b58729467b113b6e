// Calibration: the reliability diagram and the expected calibration error.

const DIAGRAM = { width: 420, height: 410, left: 48, right: 12, top: 10, bottom: 110 };
/** The histogram below it: where it stands and how high it is. */
const FLOOR = DIAGRAM.height - 40;
const BELOW = 44;
/** Confidence and accuracy no farther apart are the same. */
const SAME = 0.0005;

function showCalibration(root, run) {
  const { calibration, pixel_accuracy: accuracy } = run.validation;
  const total = sum(calibration.counts);
  const confidence = sum(calibration.counts.map((count, b) => count * (calibration.confidence[b] ?? 0))) / total;
  const biased = confidence > accuracy ? "overconfident" : "underconfident";
  const verdict = Math.abs(confidence - accuracy) < SAME ? "as confident as it is correct" : biased;
  const mark = (kind, text) => element("span", {}, element("span", { class: `chip ${kind}` }), text);
  const marks = [
    mark("filled", "accuracy"), mark("gap", "gap to the confidence"), mark("pixels", "fraction of the pixels"),
  ];
  const means = `The mean confidence is ${percent(confidence)}, and ${percent(accuracy)} of the pixels are predicted correctly`;
  const how = [
    `Pixels are put into ${calibration.bins} bins by their confidence, which is the largest class probability.`,
    "In a calibrated network each bar ends at the dashed line: of the pixels with a confidence of 80 %, 80 % are correct.",
    "ECE is the mean gap, weighted by the number of pixels.",
  ].join(" ");
  fill(
    root,
    element(
      "div", { class: "beside" },
      element("figure", {}, diagram(calibration, total), element("div", { class: "chart-legend" }, marks)),
      element(
        "div", {},
        element("p", {}, element("span", { class: "big" }, `ECE ${fixed(calibration.ece)}`)),
        element("p", {}, `${means}: on the whole the network is ${verdict}.`),
        element("p", { class: "pale" }, how),
        element("p", { class: "pale" }, "Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equations 2 to 5."),
        element("details", {}, element("summary", {}, "Values of the bins"), binTable(calibration, total)),
      ),
    ),
  );
}

function diagram({ bins, counts, confidence, accuracy, ece }, total) {
  const { width, height, left, right, top, bottom } = DIAGRAM;
  const toX = (x) => left + x * (width - left - right);
  const toY = (y) => height - bottom - y * (height - top - bottom);
  const most = largestOf(counts);
  const column = (b, kind, low, high) => {
    const x = toX(b / bins) + 1;
    return svg("rect", { class: kind, x, y: low, width: toX((b + 1) / bins) - 1 - x, height: high - low });
  };
  const columns = counts.flatMap((count, b) => {
    if (!count) return [];
    const [is, says] = [toY(accuracy[b]), toY(confidence[b])];
    return [
      column(b, "filled", is, toY(0)),
      column(b, "gap", Math.min(is, says), Math.max(is, says)),
      column(b, "pixels", FLOOR - BELOW * (count / most), FLOOR),
    ];
  });
  const text = (x, y, anchor, words, kind) => svg("text", { x, y, "text-anchor": anchor, class: kind }, words);
  const across = (y, kind) => svg("line", { class: kind, x1: left, x2: width - right, y1: y, y2: y });
  const grid = [0, 0.2, 0.4, 0.6, 0.8, 1].flatMap((value) => [
    across(toY(value), "grid"),
    text(left - 6, toY(value) + 4, "end", figure(value)),
    text(toX(value), FLOOR + 16, "middle", figure(value)),
  ]);
  const label = `Reliability diagram: ECE ${fixed(ece)}; a table beside it has the values of its bins.`;
  return svg(
    "svg", { class: "diagram", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label },
    grid, columns, across(FLOOR, "axis"),
    svg("line", { class: "diagonal", x1: toX(0), y1: toY(0), x2: toX(1), y2: toY(1) }),
    text(left + 6, top + 12, "start", "accuracy", "pale"),
    text(left - 6, FLOOR - BELOW + 4, "end", percent(most / total, 0)),
    text(left + 6, FLOOR - BELOW + 4, "start", "fraction of the pixels", "pale"),
    text(width - right, height - 6, "end", "confidence", "pale"),
  );
}

function binTable({ bins, counts, confidence, accuracy }, total) {
  const rows = counts.flatMap((count, b) => {
    const ends = `${figure(b / bins, 2)}–${figure((b + 1) / bins, 2)}`;
    return count ? [[ends, percent(count / total, 2), figure(confidence[b]), figure(accuracy[b])]] : [];
  });
  return table(
    ["confidence", "pixels", "mean confidence", "accuracy"].map((head) => [head, "number"]),
    rows.map((texts) => row(undefined, texts.map((text) => [text, "number"]))),
  );
}
