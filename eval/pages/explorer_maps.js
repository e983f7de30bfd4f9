// Reading what eval/pages/explorer_maps.h and data/coco_mask.h write: strips of maps, masks.
"use strict";

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

// The pixels of a grey PNG whose rows are not filtered: its data, inflated, are a zero and a row,
// again and again. Not by a canvas: some browsers blur what is read back from one.
async function pixelsOf(base64) {
  const png = bytesOf(base64), view = new DataView(png.buffer), parts = [];
  const width = view.getUint32(16), height = view.getUint32(20);
  for (let at = 8; at < png.length; at += 12 + view.getUint32(at)) {
    if (view.getUint32(at + 4) === 0x49444154) parts.push(png.subarray(at + 8, at + 8 + view.getUint32(at)));
  }
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const rows = new Uint8Array(await new Response(stream).arrayBuffer());
  const pixels = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    pixels.set(rows.subarray(y * (width + 1) + 1, (y + 1) * (width + 1)), y * width);
  }
  return pixels;
}

// {grid: [rows, columns], count, map(i): the i-th map}
async function openStrip(strip) {
  const pixels = await pixelsOf(strip.png), cells = strip.grid[0] * strip.grid[1];
  return {
    grid: strip.grid,
    count: pixels.length / cells,
    map(i) {
      const low = strip.ranges[2 * i], high = strip.ranges[2 * i + 1];
      return Float64Array.from(pixels.subarray(i * cells, (i + 1) * cells),
        (pixel) => low + (high - low) * pixel / 255);
    },
  };
}

// The strips of an answer, opened once.
function openMaps(answer) {
  answer.opened ??= (async () => {
    const maps = {};
    for (const name of Object.keys(answer.maps)) maps[name] = await openStrip(answer.maps[name]);
    return maps;
  })();
  return answer.opened;
}

function addTo(map, other) {
  for (let c = 0; c < map.length; c++) map[c] += other[c];
}

function meanOf(strip, numbers) {
  const mean = strip.map(numbers[0]);
  for (const number of numbers.slice(1)) addTo(mean, strip.map(number));
  return mean.map((value) => value / numbers.length);
}

function setCorners(map, columns, value) {
  for (const corner of [0, columns - 1, map.length - columns, map.length - 1]) map[corner] = value;
}

// What is looked at: {phrase} a phrase's number, or {tokens} numbers of tokens; layer 0: those that
// were chosen, on average; else that layer, from 1. {map, grid}, or null: it is not in the page.
async function mapOf(answer, what, layer, normalised) {
  const maps = await openMaps(answer), phrases = answer.phrases.length;
  if (layer && !maps.layers) return null;
  const ofPhrases = layer ? maps.layers : maps.phrases, ofTokens = layer ? maps.layers : maps.tokens;
  const perLayer = layer ? maps.layers.count / answer.layers : phrases + 1;
  const first = layer ? (layer - 1) * perLayer : 0, tokensAt = layer ? first + phrases : 0;
  const hasTokens = layer ? perLayer > phrases + 1 : maps.tokens;
  if (what.phrase === undefined && !hasTokens) return null;
  const mean = ofPhrases.map(first + perLayer - 1);
  const shown = (map, {grid}) => {
    const isWhole = map.length === mean.length;
    if (!normalised) addTo(map, isWhole ? mean : averaged(mean, ofPhrases.grid, grid));
    return map;
  };
  const ofPhrase = (number) => shown(ofPhrases.map(first + number), ofPhrases);
  const strip = what.phrase === undefined ? ofTokens : ofPhrases;
  const map = what.phrase !== undefined ? ofPhrase(what.phrase)
    : shown(meanOf(strip, what.tokens.map((token) => tokensAt + token)), strip);
  if (answer.corners) setCorners(map, strip.grid[1], lowestOf(answer, map, ofPhrase));
  return {map, grid: strip.grid};
}

// What corner cells get, as eval/attention/grounding.h has it: the smallest value of the map and of
// those of all phrases that point.
function lowestOf(answer, map, ofPhrase) {
  let lowest = Math.min(...map);
  answer.phrases.forEach(({tokens}, number) => {
    if (tokens.length) lowest = Math.min(lowest, ...ofPhrase(number));
  });
  return lowest;
}

// A map in fewer cells, as the page's maker averages them.
function averaged(map, from, to) {
  const sums = new Float64Array(to[0] * to[1]), counts = new Float64Array(to[0] * to[1]);
  map.forEach((value, c) => {
    const row = Math.floor(Math.floor(c / from[1]) * to[0] / from[0]);
    const column = Math.floor((c % from[1]) * to[1] / from[1]);
    sums[row * to[1] + column] += value;
    counts[row * to[1] + column]++;
  });
  return sums.map((sum, c) => sum / counts[c]);
}

// ---- to pixels

// Of each of `count` pixels that show `size` pixels of the original: four cells with their weights
// (cubic, a = -0.75, borders repeated), or null outside of the frame.
function cubicWeights(count, size, frameSize, frameStart, cells) {
  const a = -0.75, weights = [];
  const near = (d) => ((a + 2) * d - (a + 3)) * d * d + 1;
  const far = (d) => ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  for (let i = 0; i < count; i++) {
    const inFrame = (i + 0.5) * size / count - Math.round(frameStart);
    const at = inFrame * cells / Math.round(frameSize) - 0.5, cell = Math.floor(at), t = at - cell;
    const clamp = (c) => Math.min(Math.max(c, 0), cells - 1);
    weights.push(inFrame < 0 || inFrame >= Math.round(frameSize) ? null : {
      cells: [cell - 1, cell, cell + 1, cell + 2].map(clamp),
      weights: [far(t + 1), near(t), near(1 - t), far(2 - t)],
    });
  }
  return weights;
}

// The map over `width` x `height` pixels that show an image of size [width, height].
function upsample({map, grid}, frame, size, width, height) {
  const rows = cubicWeights(height, size[1], frame[0], frame[2], grid[0]);
  const columns = cubicWeights(width, size[0], frame[1], frame[3], grid[1]);
  const values = new Float64Array(width * height).fill(NaN);
  const line = new Float64Array(grid[1]);
  let lowest = Infinity;
  rows.forEach((row, y) => {
    if (!row) return;
    line.fill(0);
    row.cells.forEach((cell, k) => {
      for (let c = 0; c < grid[1]; c++) line[c] += row.weights[k] * map[cell * grid[1] + c];
    });
    columns.forEach((column, x) => {
      if (!column) return;
      let value = 0;
      column.cells.forEach((cell, k) => { value += column.weights[k] * line[cell]; });
      values[y * width + x] = value;
      if (value < lowest) lowest = value;
    });
  });
  return values.map((value) => Number.isNaN(value) ? lowest : value);
}

// ---- masks

// COCO's compressed runs: [height, width] of 0 and 1, row by row.
function openMask(mask) {
  const [height, width] = mask.size, bits = new Uint8Array(height * width), runs = [];
  for (let at = 0; at < mask.counts.length;) {
    let value = 0, shift = 0, more = true;
    while (more) {
      const code = mask.counts.charCodeAt(at++) - 48;
      value |= (code & 31) << shift;
      shift += 5;
      more = (code & 32) !== 0;
      if (!more && code & 16) value |= -1 << shift;
    }
    if (runs.length > 2) value += runs[runs.length - 2];
    runs.push(value);
  }
  let at = 0;
  runs.forEach((run, i) => {
    for (let end = at + run; at < end; at++) {
      if (i & 1) bits[(at % height) * width + Math.floor(at / height)] = 1;
    }
  });
  return {height, width, bits};
}
