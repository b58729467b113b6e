// The page as a whole.

async function start() {
  showOverview();
  showCurves(byId("curves"));
  showClasses(byId("classes"));
  for (const [index, run] of runs.entries()) {
    for (const marker of document.querySelectorAll(`[data-marker="${index}"]`)) fill(marker, swatch(lineStyle(index)));
    if (!run.validation) continue;
    fill(byId(`about-${index}`), aboutPass(run));
    new Confusion(byId(`confusion-${index}`), run);
    showCalibration(byId(`calibration-${index}`), run);
    if (byId(`images-${index}`)) await showExamples(byId(`images-${index}`), run);
  }
  window.segattn = { data, unpack }; // for the console
}

/** The images of the validation, and the metrics on them. */
function aboutPass({ checkpoint, validation }) {
  const { images, available, data: name, split, miou, miou_interval: interval, pixel_accuracy: accuracy } = validation;
  const which = images === available ? `all ${images}` : `the first ${images} of ${available}`;
  const span = interval && ` (95 % interval over the images: ${interval.map(fixed).join(" to ")})`;
  const metrics = `mIoU ${fixed(miou)}${span ?? ""}, pixel accuracy ${fixed(accuracy)}`;
  return `The ${checkpoint} checkpoint on ${which} images of ${name} (${split}): ${metrics}. Ignored pixels are left out.`;
}

start().then(
  () => {
    document.body.dataset.ready = "";
  },
  (error) => {
    const said = `This browser cannot draw the page (${error.message}): it needs a browser from 2023 or later.`;
    fill(byId("warnings"), element("p", { class: "note" }, said));
    throw error;
  },
);
