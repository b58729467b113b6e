// A network that is wider than the page opens where the image comes in.
"use strict";

for (const frame of document.querySelectorAll("div.network")) {
  const image = frame.querySelector(".box").getBoundingClientRect();
  const middle = frame.getBoundingClientRect();
  frame.scrollLeft = image.left + image.width / 2 - middle.left - middle.width / 2;
}
