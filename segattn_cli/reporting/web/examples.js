// The images with the lowest and the highest mIoU, each with its truth, its prediction and the errors.

const IGNORED = 255;
const WRONG = [230, 25, 75];
const IGNORED_COLOURS = [[110, 110, 122], [88, 88, 100]];

async function showExamples(root, run) {
  const { worst, best } = run.validation;
  const list = element("div", { class: "examples" });
  const draw = async (examples) => fill(list, await Promise.all(examples.map((each) => exampleNode(run, each))));
  const kinds = [["worst", worst], ["best", best]].filter(([, examples]) => examples.length);
  const names = kinds.map(([name, examples]) => `${name} ${examples.length}`);
  fill(
    root,
    choice("Which images", names, 0, (n) => draw(kinds[n][1])),
    element(
      "ul", { class: "chips" },
      run.classes.map((name, n) => element("li", {}, chip(run.palette[n]), name)),
      element("li", {}, chip(IGNORED_COLOURS[0]), "ignored"),
      element("li", { class: "pale" }, "in errors: ", chip(WRONG), "wrong"),
    ),
    list,
  );
  await draw(kinds[0][1]);
}

async function exampleNode(run, example) {
  const [truth, prediction] = await Promise.all([unpack(example.truth), unpack(example.prediction)]);
  const image = await loaded(example.picture);
  const { size } = example;
  const canvases = [
    canvasOf(`The image ${example.name}`),
    canvasOf(`Its truth: ${present(run, truth.values)}`),
    canvasOf(`Its prediction: ${present(run, prediction.values)}`),
    canvasOf(`Where the prediction is wrong: ${percent(1 - example.accuracy)} of the pixels`),
  ];
  drawOver(canvases[0], image, size, image, 0);
  drawOver(canvases[1], image, size, bitmapOf(classColours(truth.values, size, run.palette)), 1);
  drawOver(canvases[2], image, size, bitmapOf(classColours(prediction.values, size, run.palette)), 1);
  drawOver(canvases[3], greyed(image, size), size, bitmapOf(errors(truth.values, prediction.values, size)), 1);
  const said = element("p", { class: "read-out" });
  const captions = ["image", "truth", "prediction", "errors"];
  const pointer = new Pointer(canvases, size, (x, y) => {
    const n = y * size[1] + x;
    const name = (label) => element("strong", {}, label === IGNORED ? "ignored" : run.classes[label]);
    const is = [name(truth.values[n]), ", prediction ", name(prediction.values[n])];
    fill(said, element("span", {}, `pixel ${x}, ${y}: truth `, is));
    return said.innerText;
  });
  const figures = `mIoU ${fixed(example.miou)}, ${percent(example.accuracy)} of the pixels right`;
  return element(
    "article", { class: "example" },
    element("h3", {}, example.name, " ", element("span", { class: "pale" }, figures)),
    pointer.around(canvases.map((canvas, n) => captioned(element("div", { class: "spot" }, canvas), captions[n]))),
    said,
  );
}

/** One position on several canvases of the same image, by pointer or keys. */
class Pointer {
  constructor(canvases, size, tell) {
    Object.assign(this, { canvases, size, tell });
    this.marks = canvases.map(() => element("span", { class: "mark", hidden: true, "aria-hidden": "true" }));
  }

  around(figures) {
    figures.forEach((each, n) => each.querySelector(".spot").append(this.marks[n]));
    return element(
      "div",
      {
        class: "quartet", tabindex: 0, role: "group",
        "aria-label": "Image, truth, prediction and errors; arrow keys move a point, with Shift farther",
        onpointermove: (event) => event.target instanceof HTMLCanvasElement && this.hover(event),
        onkeydown: (event) => this.key(event),
      },
      figures,
    );
  }

  hover(event) {
    const [height, width] = this.size;
    const { clientWidth, clientHeight } = event.target;
    this.go(Math.floor((event.offsetX / clientWidth) * width), Math.floor((event.offsetY / clientHeight) * height));
  }

  key(event) {
    const step = STEPS[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const [height, width] = this.size;
    const stride = Math.max(1, Math.round(width / (event.shiftKey ? 12 : 60)));
    const [x, y] = this.at ?? [width >> 1, height >> 1];
    announce(this.go(x + stride * step[1], y + stride * step[0]));
  }

  go(x, y) {
    const [height, width] = this.size;
    this.at = [Math.min(width - 1, Math.max(0, x)), Math.min(height - 1, Math.max(0, y))];
    for (const mark of this.marks) {
      mark.hidden = false;
      mark.style.left = `${(100 * (this.at[0] + 0.5)) / width}%`;
      mark.style.top = `${(100 * (this.at[1] + 0.5)) / height}%`;
    }
    return this.tell(...this.at);
  }
}

async function loaded(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

/** The names of the classes in a label map. */
function present(run, values) {
  const found = new Set(values);
  return run.classes.filter((_, n) => found.has(n)).join(", ");
}

function classColours(values, size, palette) {
  return coloured(size, (n) => (values[n] === IGNORED ? stripeAt(n, size[1]) : palette[values[n]]));
}

/** Clear where the prediction is right. */
function errors(truth, prediction, size) {
  const colour = (n) => (truth[n] === prediction[n] ? undefined : WRONG);
  return coloured(size, (n) => (truth[n] === IGNORED ? stripeAt(n, size[1]) : colour(n)));
}

/** Stripes, so that no class can look like it. */
function stripeAt(n, width) {
  return IGNORED_COLOURS[((n % width) + Math.floor(n / width)) % 8 < 4 ? 0 : 1];
}

/** The image in pale greys, on which colours stand out. */
function greyed(image, [height, width]) {
  const canvas = element("canvas", { width, height });
  const context = canvas.getContext("2d");
  context.filter = "grayscale(1) contrast(0.6) brightness(1.1)";
  context.drawImage(image, 0, 0, width, height);
  return canvas;
}
