// Forward and backward beside each other: a line lights what it undoes, or what undoes it.
"use strict";

function light(code, steps) {
  const wanted = new Set(steps);
  for (const element of code.querySelectorAll(".op-step")) {
    element.classList.toggle("lit", element.dataset.steps.split(" ").some((step) => wanted.has(step)));
  }
}

for (const code of document.querySelectorAll(".op-code")) {
  const update = () => {
    const step = code.querySelector(".op-step:hover") || code.querySelector(".op-step:focus");
    light(code, step ? step.dataset.steps.split(" ") : []);
  };
  for (const event of ["pointerover", "pointerleave", "focusin", "focusout"]) {
    code.addEventListener(event, () => requestAnimationFrame(update));
  }
}
