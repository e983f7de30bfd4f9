// Drawing on canvases: pictures, maps over them, masks, points. A colour is [red, green, blue].
"use strict";

const CANVAS_SIDE = 448;

const css = (colour) => `rgb(${colour.join(" ")})`;

// The lowest values lie in the dark, the highest in the colour.
function heatPixels(values, width, height, colour, normalised) {
  const image = new ImageData(width, height);
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (normalised && high > 0) low = Math.max(low, 0);
  values.forEach((value, i) => {
    const share = high > low ? Math.max(value - low, 0) / (high - low) : 0;
    const veil = 0.55 * (1 - share), tint = 0.72 * share, alpha = 1 - (1 - veil) * (1 - tint);
    colour.forEach((part, c) => { image.data[4 * i + c] = part * tint / alpha; });
    image.data[4 * i + 3] = 255 * alpha;
  });
  return image;
}

// Where the map is highest, in pixels of the image.
function peakOf(values, width, height, size) {
  let best = 0;
  values.forEach((value, i) => { if (value > values[best]) best = i; });
  return [Math.floor((best % width + 0.5) * size[0] / width),
    Math.floor((Math.floor(best / width) + 0.5) * size[1] / height)];
}

// A mask in its colour, filled with a line around it; a truth as a white line.
function drawMask(context, mask, colour, isTruth) {
  const {width, height} = context.canvas, {bits, height: rows, width: columns} = openMask(mask);
  const image = context.getImageData(0, 0, width, height);
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height &&
    bits[Math.floor(y * rows / height) * columns + Math.floor(x * columns / width)];
  const isEdge = (x, y, t) => [-t, 0, t].some((dx) => [-t, 0, t].some((dy) => !inside(x + dx, y + dy)));
  const blend = (x, y, to, share) => to.forEach((part, c) => {
    const at = 4 * (y * width + x) + c;
    image.data[at] += share * (part - image.data[at]);
  });
  const line = Math.max(1, Math.round(Math.max(width, height) / 256));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!inside(x, y)) continue;
      if (!isTruth) blend(x, y, colour, isEdge(x, y, line) ? 1 : 0.45);
      else if (isEdge(x, y, 2 * line)) blend(x, y, isEdge(x, y, line) ? [255, 255, 255] : [20, 23, 26], 1);
    }
  }
  context.putImageData(image, 0, 0);
}

// A disc with the phrase's number.
function drawPoint(context, point, size, number, colour, radius) {
  const {width, height} = context.canvas;
  const x = (point[0] + 0.5) * width / size[0], y = (point[1] + 0.5) * height / size[1];
  const disc = (r, fill) => {
    context.fillStyle = fill;
    context.beginPath();
    context.arc(x, y, r, 0, 2 * Math.PI);
    context.fill();
  };
  disc(radius + 3, "#14171a");
  disc(radius + 2, "#fff");
  disc(radius, css(colour));
  context.fillStyle = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 120 ? "#14171a" : "#fff";
  context.font = `700 ${1.3 * radius}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(String(number), x, y + 0.08 * radius);
}

// The picture on a canvas: enlarged by a whole number if it is small.
function prepare(canvas, picture) {
  const scale = Math.max(1, Math.ceil(CANVAS_SIDE / Math.max(picture.naturalWidth, picture.naturalHeight)));
  canvas.width = picture.naturalWidth * scale;
  canvas.height = picture.naturalHeight * scale;
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return context;
}
