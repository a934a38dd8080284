"use strict";

const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Light and dark: as the system says, until the button is used.
const theme = document.getElementById("theme");
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (systemDark.matches ? "dark" : "light")) === "dark";
const nameTheme = () => { theme.textContent = isDark() ? "light colours" : "dark colours"; };
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
});
systemDark.addEventListener("change", nameTheme);
nameTheme();

// Charts: the mark nearest to the pointer, or in focus, says its value.
for (const figure of all("figure.chart")) {
  const svg = figure.querySelector("svg");
  const output = figure.querySelector("output");
  const marks = all(".mark", svg);
  const columns = Number(svg.dataset.columns);
  const centres = marks.map((mark) => {
    const box = mark.getBBox();
    return [box.x + box.width / 2, box.y + box.height / 2];
  });
  let active = null;
  const read = (mark) => {
    active?.classList.remove("active");
    active = mark;
    mark.classList.add("active");
    output.textContent = mark.getAttribute("aria-label");
    output.classList.add("read");
  };
  svg.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let nearest = 0, least = Infinity;
    centres.forEach(([x, y], i) => {
      const distance = (x - at.x) ** 2 + (y - at.y) ** 2;
      if (distance < least) [nearest, least] = [i, distance];
    });
    if (marks.length) read(marks[nearest]);
  });
  // on the figure: Chromium gives an SVG that listens for focus a stop of its own
  figure.addEventListener("focusin", (event) => {
    const mark = event.target.closest(".mark");
    if (mark) read(mark);
  });
  figure.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns || -1, ArrowUp: -columns || 1 };
    const i = marks.indexOf(event.target);
    const next = { Home: 0, End: marks.length - 1 }[event.key] ?? i + steps[event.key];
    if (i < 0 || !marks[next]) return;
    event.preventDefault();
    marks[i].tabIndex = -1; // Tab comes back to where the arrow keys left
    marks[next].tabIndex = 0;
    marks[next].focus();
  });
}

// The gallery: labels are unpacked once and drawn anew when classes are switched.
const gallery = document.getElementById("gallery");
if (gallery) showGallery().catch((error) => {
  document.getElementById("gallery-trouble").textContent =
    `The labels can't be drawn (${error.message}). This needs a browser of 2023 or later.`;
});

async function unpack(text, wide) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  return wide ? new Uint16Array(buffer) : new Uint8Array(buffer);
}

async function showGallery() {
  const data = JSON.parse(document.getElementById("gallery-data").textContent);
  const items = await Promise.all(data.items.map(async (item) => ({
    truth: await unpack(item.truth, data.wide),
    predictions: await Promise.all(item.predictions.map((text) => unpack(text, data.wide))),
  })));
  const voidIndex = data.colours.length;
  const shown = new Uint8Array(voidIndex + 1).fill(1);
  // 32 bits of red, green, blue and alpha, as they lie in memory
  const pack = (r, g, b) => new Uint32Array(new Uint8Array([r, g, b, 255]).buffer)[0];
  const colours = Uint32Array.from(data.colours, (colour) => pack(...colour));
  const [light, dark, wrong] = [pack(224, 224, 192), pack(85, 85, 63), pack(255, 0, 128)];

  function draw(canvas) {
    const { width, height } = canvas;
    const { item, kind, prediction } = canvas.dataset;
    const { truth, predictions } = items[item];
    const labels = kind === "truth" ? truth : predictions[prediction];
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const period = Math.max(3, Math.round(width / 60)); // of the stripes of void
    for (let i = 0; i < pixels.length; i++) {
      if (kind !== "prediction" && truth[i] === voidIndex) {
        const stripe = (Math.floor(i / width) + (i % width)) % (2 * period) < period;
        if (shown[voidIndex]) pixels[i] = stripe ? light : dark;
      } else if (kind === "errors") {
        if (labels[i] !== truth[i] && shown[truth[i]]) pixels[i] = wrong;
      } else if (shown[labels[i]] && labels[i] !== data.background) {
        pixels[i] = colours[labels[i]];
      }
    }
    context.putImageData(image, 0, 0);
  }

  const canvases = all("canvas", gallery);
  for (const item of all(".item", gallery)) { // each picture lies over the photograph
    const photo = item.querySelector("img");
    for (const canvas of all("canvas", item)) {
      const under = new Image(photo.width, photo.height);
      under.src = photo.src;
      under.alt = "";
      under.className = canvas.dataset.kind === "errors" ? "under grey" : "under";
      canvas.before(under);
    }
  }
  const drawAll = () => canvases.forEach(draw);
  const boxes = all("input[data-class]", gallery);
  for (const box of boxes) box.addEventListener("change", () => {
    shown[box.dataset.class] = box.checked;
    drawAll();
  });
  for (const button of all("button[data-all]", gallery)) button.addEventListener("click", () => {
    for (const box of boxes) {
      box.checked = Boolean(button.dataset.all);
      shown[box.dataset.class] = box.checked;
    }
    drawAll();
  });
  const opacity = document.getElementById("opacity");
  const setOpacity = () => {
    gallery.style.setProperty("--overlay", opacity.value / 100);
    opacity.nextElementSibling.textContent = `${opacity.value} %`;
  };
  opacity.addEventListener("input", setOpacity);
  const zoom = document.getElementById("zoom");
  const setZoom = () => {
    gallery.style.setProperty("--panel", `${zoom.value}px`);
    // whole pixels when enlarged; reduced that way, thin objects would lose some of theirs
    for (const canvas of canvases) {
      canvas.classList.toggle("reduced", canvas.clientWidth * devicePixelRatio < canvas.width);
    }
  };
  addEventListener("resize", setZoom);
  zoom.addEventListener("input", setZoom);
  if (innerWidth < 720) zoom.value = zoom.min; // two pictures in a row
  setZoom();
  setOpacity(); // a browser may keep the sliders and switches of the last visit
  for (const box of boxes) shown[box.dataset.class] = box.checked;
  drawAll();
  gallery.dataset.ready = "1";
}
