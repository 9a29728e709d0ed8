// A chart for slides: as an SVG file with its colours written out, or as a PNG at twice the size.

const properties = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-family", "font-size", "font-weight", "text-anchor"];

/// The drawing with the page's colours in it: alone it knows no style sheet.
function standalone(svg) {
  const copy = svg.cloneNode(true);
  const from = [svg, ...svg.querySelectorAll("*")];
  const to = [copy, ...copy.querySelectorAll("*")];
  from.forEach((element, i) => {
    if (to[i].tagName === "style") return;
    const style = getComputedStyle(element);
    to[i].setAttribute("style", properties.map((name) => `${name}:${style.getPropertyValue(name)}`).join(";"));
  });
  const box = svg.getBoundingClientRect();
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", Math.round(box.width));
  copy.setAttribute("height", Math.round(box.height));
  const paper = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  paper.setAttribute("width", "100%");
  paper.setAttribute("height", "100%");
  paper.setAttribute("fill", getComputedStyle(document.body).backgroundColor);
  copy.prepend(paper);
  return { text: new XMLSerializer().serializeToString(copy), width: box.width, height: box.height };
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const drawing = (place) => [...place.querySelectorAll("svg")].sort((a, b) => b.clientWidth * b.clientHeight - a.clientWidth * a.clientHeight)[0];

function savePng({ text, width, height }, name) {
  const image = new Image();
  image.onload = () => {
    const canvas = document.createElement("canvas");
    canvas.width = 2 * width;
    canvas.height = 2 * height;
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => download(blob, `${name}.png`), "image/png");
  };
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
}

export function addSaveButtons(place, texts) {
  if (!place.querySelector("svg")) return;
  const name = place.dataset.chart;
  const buttons = document.createElement("div");
  buttons.className = "saves";
  for (const [key, save] of [
    ["save_svg", (made) => download(new Blob([made.text], { type: "image/svg+xml" }), `${name}.svg`)],
    ["save_png", (made) => savePng(made, name)],
  ]) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "plain";
    button.textContent = texts[key];
    button.setAttribute("aria-label", `${texts[key]}: ${name}`);
    button.addEventListener("click", () => save(standalone(drawing(place))));
    buttons.append(button);
  }
  place.after(buttons);
}
