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
    if (byId(`pictures-${index}`)) await showPictures(byId(`pictures-${index}`), run);
  }
  window.segattn = { data, unpack }; // for the console
}

/** What was looked at, and how well the network did on it. */
function aboutPass({ checkpoint, validation }) {
  const { images, available, data: name, split, miou, pixel_accuracy: accuracy } = validation;
  const which = images === available ? `all ${images}` : `the first ${images} of ${available}`;
  const figures = `mIoU ${fixed(miou)}, pixel accuracy ${fixed(accuracy)}`;
  return `By the ${checkpoint} checkpoint on ${which} pictures of ${name} (${split}): ${figures}. Void is not counted.`;
}

start().then(
  () => {
    document.body.dataset.ready = "";
  },
  (error) => {
    const said = `This browser cannot draw the page (${error.message}): it wants one from 2023 or later.`;
    fill(byId("warnings"), element("p", { class: "note" }, said));
    throw error;
  },
);
