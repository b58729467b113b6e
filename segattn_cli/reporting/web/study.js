// The page of a study as a whole.

showCurves(byId("curves"));
document.body.dataset.ready = "";
