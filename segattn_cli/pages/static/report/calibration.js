// Whether the network is right as often as it is sure: the reliability diagram and what it sums up to.

const DIAGRAM = { width: 420, height: 410, left: 48, right: 12, top: 10, bottom: 110 };
/** The height of the histogram below it. */
const BELOW = 62;

function showCalibration(root, run) {
  const { calibration, pixel_accuracy: accuracy } = run.validation;
  const total = calibration.counts.reduce((sum, count) => sum + count, 0);
  const confidence = calibration.counts.reduce((sum, count, b) => sum + count * (calibration.confidence[b] ?? 0), 0) / total;
  const gap = confidence - accuracy;
  const verdict = Math.abs(gap) < 0.0005 ? "as sure as it is right" : gap > 0 ? "surer than it is right" : "less sure than it is right";
  fill(
    root,
    element(
      "div", { class: "beside" },
      element("figure", {}, diagram(calibration, total), element("div", { class: "chart-legend" },
        element("span", {}, element("span", { class: "chip filled" }), "share that is right"),
        element("span", {}, element("span", { class: "chip gap" }), "gap to the confidence"),
        element("span", {}, element("span", { class: "chip pixels" }), "share of the pixels"))),
      element(
        "div", {},
        element("p", {}, element("span", { class: "big" }, `ECE ${fixed(calibration.ece)}`)),
        element("p", {}, `The mean confidence is ${percent(confidence)}, and ${percent(accuracy)} of the pixels are right: on the whole the network is ${verdict}.`),
        element("p", { class: "pale" }, `Pixels are put into ${calibration.bins} bins of confidence, the greatest probability of each. In a calibrated network a bar ends at the dashed line: of the pixels at 80 %, 80 % are right. ECE is the mean gap, weighted by the pixels.`),
        element("p", { class: "pale" }, "Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, ICML 2017, equations 2 to 5."),
        element("details", {}, element("summary", {}, "The bins in figures"), binTable(calibration, total)),
      ),
    ),
  );
}

function diagram({ bins, counts, confidence, accuracy, ece }, total) {
  const { width, height, left, right, top, bottom } = DIAGRAM;
  const toX = (x) => left + x * (width - left - right);
  const toY = (y) => height - bottom - y * (height - top - bottom);
  const column = (b, low, high, kind) => {
    const [x, y] = [toX(b / bins) + 1, toY(Math.max(low, high))];
    return svg("rect", { class: kind, x, y, width: toX((b + 1) / bins) - 1 - x, height: Math.abs(toY(low) - toY(high)) });
  };
  const most = largestOf(counts);
  const columns = counts.flatMap((count, b) =>
    count
      ? [
          column(b, 0, accuracy[b], "filled"),
          column(b, accuracy[b], confidence[b], "gap"),
          svg("rect", { class: "pixels", x: toX(b / bins) + 1, y: height - 40 - (BELOW - 18) * (count / most), width: toX(1 / bins) - left - 2, height: (BELOW - 18) * (count / most) }),
        ]
      : [],
  );
  const grid = [0, 0.2, 0.4, 0.6, 0.8, 1].map((value) => [
    svg("line", { class: "grid", x1: left, x2: width - right, y1: toY(value), y2: toY(value) }),
    svg("text", { x: left - 6, y: toY(value) + 4, "text-anchor": "end" }, figure(value)),
    svg("text", { x: toX(value), y: height - 24, "text-anchor": "middle" }, figure(value)),
  ]);
  return svg(
    "svg",
    { class: "diagram", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Reliability diagram: ECE ${fixed(ece)}; the bins stand in figures beside it.` },
    grid.flat(), columns,
    svg("line", { class: "diagonal", x1: toX(0), y1: toY(0), x2: toX(1), y2: toY(1) }),
    svg("text", { x: width - right, y: height - 6, "text-anchor": "end", class: "pale" }, "confidence"),
    svg("text", { x: left + 6, y: top + 12, class: "pale" }, "share that is right"),
    svg("line", { class: "axis", x1: left, x2: width - right, y1: height - 40, y2: height - 40 }),
    svg("text", { x: left - 6, y: height - 36 - (BELOW - 18), "text-anchor": "end" }, percent(most / total, 0)),
    svg("text", { x: left + 6, y: height - 44 - (BELOW - 18) + 8, class: "pale" }, "share of the pixels"),
  );
}

function binTable({ bins, counts, confidence, accuracy }, total) {
  const row = (count, b) =>
    element("tr", {}, [`${figure(b / bins, 2)}–${figure((b + 1) / bins, 2)}`, percent(count / total, 2), figure(confidence[b]), figure(accuracy[b])].map((text) => element("td", { class: "number" }, text)));
  return element(
    "table", {},
    element("thead", {}, element("tr", {}, ["confidence", "pixels", "mean confidence", "right"].map((text) => element("th", { scope: "col", class: "number" }, text)))),
    element("tbody", {}, counts.map((count, b) => (count ? row(count, b) : undefined)).filter(Boolean)),
  );
}
