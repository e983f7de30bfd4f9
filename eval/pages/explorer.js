// The explorer of attention. What is chosen - an example, and in an answer a word, a phrase or a
// token - is in `chosen`; show() draws all of it anew.
"use strict";

const about = JSON.parse(document.getElementById("about").textContent);
const examples = JSON.parse(document.getElementById("examples").textContent);
const numSides = about.sides.length;
const allPhrases = examples.flatMap((one) => one.answers.flatMap((answer) => answer ? answer.phrases : []));
const isKnown = (key) => allPhrases.some((phrase) => phrase[key] !== null);

// `side`, `kind` ("word", "phrase", "token") and `number` in it; the other side follows.
const chosen = {list: examples, at: 0, side: 0, kind: null, number: 0};
const page = {};

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role" || key === "for") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

const decimals = (value) => value === null ? "\u2013" : value.toFixed(2);
const wordsOf = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const colourOf = (phrase) => about.colours[Math.max(phrase, 0) % about.colours.length];
const example = () => chosen.list[chosen.at];
const isWord = (word) => word[2] > 0;

// ---- what is said of words and phrases

// The phrase that a word is part of, -1: none.
function phraseOfWord(answer, word) {
  return answer.phrases.findIndex(({words}) => word >= words[0] && word < words[0] + words[1]);
}

function phraseOfToken(answer, token) {
  const word = answer.words.findIndex((w) => token >= w[1] && token < w[1] + w[2]);
  return word < 0 ? -1 : phraseOfWord(answer, word);
}

function describePhrase(phrase) {
  const parts = [];
  parts.push(phrase.point ? `point at x ${phrase.point[0]}, y ${phrase.point[1]}` : "points nowhere");
  if (phrase.hit !== null) parts.push(phrase.hit ? "hit" : "miss");
  if (phrase.iou !== null) parts.push(`IoU ${decimals(phrase.iou)}`);
  if (phrase.truth_name !== null) parts.push(`truth: ${phrase.truth_name}${phrase.truth ? "" : ", not there"}`);
  return parts.join(", ");
}

// What is chosen, in an answer: its text, its phrase (-1: none) and what mapOf() wants.
function selection(answer, kind, number) {
  if (kind === "phrase") {
    const phrase = answer.phrases[number];
    return {text: phrase.text ?? "", phrase: number, tokens: phrase.tokens,
      look: phrase.tokens.length ? {phrase: number} : null};
  }
  if (kind === "token") {
    return {text: answer.pieces[number], phrase: phraseOfToken(answer, number), tokens: [number],
      look: {tokens: [number]}};
  }
  const [text, first, count] = answer.words[number], phrase = phraseOfWord(answer, number);
  const tokens = Array.from({length: count}, (_, i) => first + i);
  const points = phrase >= 0 && String(answer.phrases[phrase].tokens) === String(tokens);
  return {text: text.trim(), phrase, tokens, look: points ? {phrase} : {tokens}};
}

// The same in the other answer: the phrase of the same text or the same truth, else the same word.
function counterpart(answer, from, kind, number) {
  const picked = selection(from, kind, number), like = (a, b) => a !== null && b !== null &&
    a.trim().toLowerCase() === b.trim().toLowerCase();
  const word = answer.words.findIndex((w) => isWord(w) && like(w[0], picked.text));
  if (kind !== "phrase" && word >= 0) return {kind: "word", number: word};
  if (picked.phrase < 0) return null;
  const wanted = from.phrases[picked.phrase];
  for (const key of ["text", "truth_name"]) {
    const found = answer.phrases.findIndex((phrase) => like(phrase[key], wanted[key]));
    if (found >= 0) return {kind: "phrase", number: found};
  }
  return null;
}

// What is chosen on a side: {kind, number}, or null.
function chosenOn(side) {
  const answer = example().answers[side], from = example().answers[chosen.side];
  if (!answer || !from || !chosen.kind) return null;
  if (side === chosen.side) return {kind: chosen.kind, number: chosen.number};
  return counterpart(answer, from, chosen.kind, chosen.number);
}

// ---- pictures

async function drawHeat(context, answer, picked, picture, size) {
  const normalised = page.normalised.checked, layer = Number(page.layer.value);
  const map = picked.look && await mapOf(answer, picked.look, layer, normalised);
  if (!map) return null;
  const {naturalWidth: width, naturalHeight: height} = picture;
  const values = upsample(map, answer.frame, size, width, height);
  const heat = element("canvas", {width, height});
  heat.getContext("2d").putImageData(
    heatPixels(values, width, height, colourOf(picked.phrase), normalised), 0, 0);
  return {heat, peak: peakOf(values, width, height, size)};
}

// Both pictures of a side. What was chosen meanwhile is drawn by a later call.
async function drawSide(side, ticket) {
  const {answers, size} = example(), answer = answers[side], view = page.sides[side];
  const picture = await page.picture, at = chosenOn(side);
  const picked = at && selection(answer, at.kind, at.number);
  const canvas = element("canvas"), context = prepare(canvas, picture);
  const drawn = picked && await drawHeat(context, answer, picked, picture, size);
  if (ticket !== page.ticket) return;
  if (drawn && page.showMap.checked) context.drawImage(drawn.heat, 0, 0, canvas.width, canvas.height);
  const onMap = prepare(view.map, picture), onMasks = prepare(view.masks, picture);
  onMap.drawImage(canvas, 0, 0);
  const radius = Math.max(canvas.width, canvas.height) / (numSides > 1 ? 30 : 42);
  const numbers = picked ? [picked.phrase] : answer ? answer.phrases.keys() : [];
  for (const number of numbers) {
    const phrase = answer.phrases[number];
    if (!phrase) continue;
    if (phrase.mask && page.showMask.checked) drawMask(onMasks, phrase.mask, colourOf(number), false);
    if (phrase.truth && page.showTruth.checked) drawMask(onMasks, phrase.truth, colourOf(number), true);
    for (const context of phrase.point && page.showPoint.checked ? [onMap, onMasks] : [])
      drawPoint(context, phrase.point, size, number + 1, colourOf(number), radius);
  }
  view.map.dataset.peak = drawn ? drawn.peak.join() : "";
  say(side, picked, drawn);
}

// ---- words beside the pictures

function say(side, picked, drawn) {
  const answer = example().answers[side], view = page.sides[side];
  const phrase = picked && answer.phrases[picked.phrase], layer = Number(page.layer.value);
  let text = answer ? "Point at a word." : "There is no answer.";
  if (answer && chosen.kind && !picked) text = "This answer does not say that.";
  if (picked) {
    text = `\u201c${picked.text}\u201d`;
    if (phrase && phrase.text !== picked.text) text += ` in \u201c${phrase.text}\u201d`;
    if (phrase) text += `: ${describePhrase(phrase)}`;
    text += drawn ? `. Map: ${page.normalised.checked ? "normalised" : "raw"}, ` +
      `${layer ? `layer ${layer}` : "mean of the layers"}, highest at x ${drawn.peak[0]}, y ${drawn.peak[1]}.`
      : picked.look ? ". The page has no such map of it: it was left out to keep the page small." : ".";
  }
  view.text.textContent = text;
  view.map.setAttribute("aria-label", `Attention on the picture. ${text}`);
  view.masks.setAttribute("aria-label", phrase ? `${phrase.mask ? "Mask" : "No mask"} and ` +
    `${phrase.truth ? "truth" : "no truth"} on the picture` : "Masks on the picture");
  view.pieces.replaceChildren(...(picked ? picked.tokens : []).map((token) => pick("code", side, "token", token,
    answer.pieces[token].replaceAll(" ", "\u2423") || "\u2013")));
  if (side === chosen.side) page.live.textContent = text;
}

// A button that chooses when it is pointed at, focused or pressed.
function pick(className, side, kind, number, ...content) {
  const choose = () => choosePart(side, kind, number);
  const button = element("button", {type: "button", className, onpointerenter: choose, onfocus: choose,
    onclick: choose}, ...content);
  Object.assign(button.dataset, {side, kind, number});
  return button;
}

function wordsIn(answer, side) {
  return answer.words.flatMap((word, number) => {
    const text = word[0].trimStart(), blank = word[0].slice(0, word[0].length - text.length);
    if (!isWord(word)) return [word[0]];
    const phrase = phraseOfWord(answer, number), button = pick("word", side, "word", number, text);
    button.tabIndex = -1;
    if (phrase >= 0) {
      const {words} = answer.phrases[phrase];
      button.classList.add("phrase");
      button.style.setProperty("--color", css(colourOf(phrase)));
      button.setAttribute("aria-label", `${text}, in ${answer.phrases[phrase].text}: ` +
        describePhrase(answer.phrases[phrase]));
      if (number === words[0] + words[1] - 1) button.append(element("sup", {}, String(phrase + 1)));
    }
    return [blank, button];
  });
}

function phrasesIn(answer, side) {
  if (!answer.phrases.length) return element("p", {className: "note"}, "No phrase of it is judged.");
  const rows = answer.phrases.map((phrase, number) => {
    const button = pick("phrase", side, "phrase", number, `${number + 1} ${phrase.text ?? ""}`);
    button.style.setProperty("--color", css(colourOf(number)));
    button.setAttribute("aria-label", `Phrase ${number + 1}, ${phrase.text ?? ""}: ${describePhrase(phrase)}`);
    const result = phrase.hit === null ? "\u2013" : phrase.hit ? "\u2713 hit" : "\u2717 miss";
    return element("tr", {className: matches(phrase) ? "" : "other"}, element("td", {}, button),
      isKnown("hit") ? element("td", {className: phrase.hit ? "hit" : "miss"}, result) : null,
      isKnown("iou") ? element("td", {className: "number"}, decimals(phrase.iou)) : null,
      isKnown("truth_name") ? element("td", {}, phrase.truth_name ?? "\u2013") : null);
  });
  const head = [["phrase", true], ["point", isKnown("hit")], ["IoU", isKnown("iou")], ["truth", isKnown("truth_name")]]
    .filter(([, isThere]) => isThere).map(([name]) =>
      element("th", {scope: "col", className: name === "IoU" ? "number" : ""}, name));
  return element("div", {className: "scroll"}, element("table", {className: "ranked"},
    element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)));
}

// ---- choosing

function mark() {
  for (const button of page.example.querySelectorAll("button[data-kind]")) {
    const {side, kind, number} = button.dataset, at = chosenOn(Number(side));
    const isChosen = at !== null && at.kind === kind && at.number === Number(number);
    button.classList.toggle("chosen", isChosen);
    button.setAttribute("aria-pressed", isChosen);
    if (kind === "word") button.tabIndex = isChosen ? 0 : -1;
  }
  // one of the words can be reached with the tabulator
  for (const view of page.sides) {
    if (!view.words.querySelector("[tabindex='0']"))
      view.words.querySelector("button")?.setAttribute("tabindex", "0");
  }
}

function choosePart(side, kind, number) {
  if (chosen.side === side && chosen.kind === kind && chosen.number === number) return;
  Object.assign(chosen, {side, kind, number});
  show();
}

// The next word to the left or right, from what is chosen on.
function walk(step) {
  const answer = example().answers[chosen.side];
  if (!answer) return;
  const walkable = [...answer.words.keys()].filter((number) => isWord(answer.words[number]));
  const at = chosenOn(chosen.side), words = at?.kind === "phrase" ? answer.phrases[at.number].words : null;
  let from = at?.kind === "word" ? at.number : words?.[1] ? words[0] + (step > 0 ? -1 : words[1]) : -1;
  if (at?.kind === "token") {
    from = answer.words.findIndex((w) => at.number >= w[1] && at.number < w[1] + w[2]);
  }
  const next = step > 0 ? walkable.find((number) => number > from)
    : walkable.findLast((number) => number < from);
  if (next === undefined) return;
  choosePart(chosen.side, "word", next);
  page.sides[chosen.side].words.querySelector(`[data-number="${next}"]`).focus({preventScroll: false});
}

// The first phrase that the filters are about, of the side that was looked at.
function firstPart(at) {
  for (const side of [chosen.side, 0, 1]) {
    const phrases = at.answers[side]?.phrases ?? [];
    const number = Math.max(phrases.findIndex(matches), phrases.length ? 0 : -1);
    if (number >= 0) return {side, kind: "phrase", number};
  }
  return {side: 0, kind: null, number: 0};
}

function chooseExample(at) {
  if (at < 0 || at >= chosen.list.length) return;
  chosen.at = at;
  Object.assign(chosen, firstPart(example()));
  showExample();
}

function show() {
  page.ticket = (page.ticket ?? 0) + 1;
  mark();
  page.drawing = Promise.all(page.sides.map((_, side) => drawSide(side, page.ticket)));
}

// ---- the list: order and filters

function matches(phrase) {
  const result = page.result.value, [low, high] = page.iou.value.split(" ").map(Number);
  const category = page.category.value;
  return (result === "any" || String(phrase.hit) === result) &&
    (page.iou.value === "any" || (phrase.iou !== null && phrase.iou >= low && phrase.iou < high)) &&
    (category === "" || phrase.category === category);
}

function isFiltered() {
  return page.result.value !== "any" || page.iou.value !== "any" || page.category.value !== "";
}

const figureOf = (one, side) => one.answers[side]?.figure ?? null;

function keyOf(one) {
  const [order, at] = page.order.value.split(" "), side = Number(at), figure = figureOf(one, side);
  if (order === "number") return one.number;
  if (order === "worst" || figure === null) return figure ?? Infinity;
  const difference = figureOf(one, 1 - side) === null ? -Infinity : figure - figureOf(one, 1 - side);
  return order === "best" ? -figure : order === "ahead" ? -difference : -Math.abs(difference);
}

function list() {
  chosen.list = examples.filter((one) => !isFiltered() ||
    one.answers.some((answer) => answer && answer.phrases.some(matches)));
  const keys = new Map(chosen.list.map((one) => [one, keyOf(one)]));
  chosen.list.sort((a, b) => keys.get(a) - keys.get(b) || 0); // Infinity - Infinity is no number
  page.count.textContent = chosen.list.length === examples.length ? wordsOf(examples.length, "example")
    : `${chosen.list.length} of ${wordsOf(examples.length, "example")}`;
  page.list.replaceChildren(...chosen.list.map((one, at) => {
    const figures = about.sides.map((_, side) => decimals(figureOf(one, side))).join(" | ");
    return element("button", {type: "button", onclick: () => chooseExample(at),
      "aria-label": `Example ${one.id}, figure ${figures}`},
    element("img", {src: one.picture, alt: "", loading: "lazy"}), element("span", {}, figures));
  }));
  page.example.hidden = !chosen.list.length;
  if (chosen.list.length) chooseExample(0);
}

// ---- the page

function showExample() {
  const one = example();
  page.heading.textContent = examples.length > 1 ? `${chosen.at + 1} of ${chosen.list.length}: ${one.id}` : one.id;
  page.question.textContent = one.question ?? "";
  const image = new Image();
  image.src = one.picture;
  page.picture = image.decode().then(() => image);
  one.answers.forEach((answer, side) => {
    const view = page.sides[side];
    if (!view) return;
    view.words.replaceChildren(...(answer ? wordsIn(answer, side) : []));
    view.phrases.replaceChildren(...(answer ? [phrasesIn(answer, side)] : []));
    view.figure.textContent = answer ? `figure ${decimals(answer.figure)}` : "";
  });
  const layers = Math.max(...one.answers.map((answer) => answer?.maps.layers ? answer.layers : 0));
  page.layer.max = layers;
  page.layer.value = Math.min(page.layer.value, layers);
  page.layers.hidden = layers === 0;
  showLayer();
  [...page.list.children].forEach((button, at) => {
    if (at === chosen.at) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  });
  const current = page.list.children[chosen.at];
  page.list.scrollLeft = current.offsetLeft - page.list.offsetLeft - page.list.clientWidth / 2 + 40;
  show();
}

function showLayer() {
  page.layerName.textContent = Number(page.layer.value) ? `layer ${page.layer.value} of ${page.layer.max}` : "mean";
}

function select(label, name, options, onchange = list) {
  page[name] = element("select", {onchange}, ...options.map(([value, text]) => element("option", {value}, text)));
  return element("label", {}, label, page[name]);
}

function toggle(label, name, type = "checkbox", checked = true) {
  page[name] = element("input", {type, name: type === "radio" ? "map" : "", checked, onchange: show});
  return element("label", {}, page[name], label);
}

function filters() {
  const [a, b] = about.sides, orders = numSides > 1 ? [["differ 0", "they differ most"], ["ahead 0", `${a} ahead`],
    ["ahead 1", `${b} ahead`], ["worst 0", `worst of ${a}`], ["worst 1", `worst of ${b}`]]
    : [["worst 0", "worst first"], ["best 0", "best first"]];
  orders.push(["number 0", "as evaluated"]);
  const categories = new Set(allPhrases.map((phrase) => phrase.category));
  categories.delete(null);
  page.count = element("output");
  const results = [["any", "all"], ["true", "hit"], ["false", "miss"], ["null", "not known"]];
  const ious = [["any", "all"], ["0 0.25", "below 0.25"], ["0.25 0.5", "0.25 to 0.5"],
    ["0.5 0.75", "0.5 to 0.75"], ["0.75 2", "0.75 and more"]];
  const box = element("div", {className: "controls", role: "group", "aria-label": "Which examples"},
    select("order", "order", orders), select("point", "result", results), select("IoU", "iou", ious),
    select("category", "category", [["", "all"], ...[...categories].sort().map((name) => [name, name])]), page.count);
  for (const [name, isThere] of [["category", categories.size > 0], ["result", isKnown("hit")], ["iou", isKnown("iou")]])
    page[name].parentElement.hidden = !isThere;
  return box;
}

function views() {
  page.layer = element("input", {type: "range", min: 0, max: 0, value: 0, step: 1, "aria-label": "layer",
    oninput: () => { showLayer(); show(); }});
  page.layerName = element("output");
  page.layers = element("label", {}, "layer", page.layer, page.layerName);
  const answer = examples.flatMap((one) => one.answers).find((one) => one);
  const asJudged = answer ? answer.normalised : true;
  const box = element("div", {className: "controls", role: "group", "aria-label": "What is drawn"},
    toggle("normalised", "normalised", "radio", asJudged), toggle("raw", "raw", "radio", !asJudged), page.layers,
    toggle("map", "showMap"), toggle("point", "showPoint"), toggle("mask", "showMask"), toggle("truth", "showTruth"));
  page.showMask.parentElement.hidden = !isKnown("mask");
  page.showTruth.parentElement.hidden = !isKnown("truth");
  return box;
}

function sideView(name, side) {
  const view = {map: element("canvas", {role: "img"}), masks: element("canvas", {role: "img"}),
    words: element("p", {className: "answer", role: "group", "aria-label": `Answer ${name}`}),
    phrases: element("div"), figure: element("span", {className: "note"}), text: element("p", {className: "said"}),
    pieces: element("p", {className: "pieces"})};
  const hasMasks = examples.some(({answers}) => answers[side]?.phrases.some((phrase) => phrase.mask || phrase.truth));
  page.sides[side] = view;
  return element("article", {},
    numSides > 1 ? element("h3", {}, name, " ", view.figure) : null,
    view.words,
    element("div", {className: "shown"},
      element("figure", {}, view.map, element("figcaption", {}, "where it looks")),
      element("figure", {hidden: !hasMasks}, view.masks, element("figcaption", {},
        isKnown("truth") ? "mask: filled; truth: white line" : "mask")),
      element("div", {className: "told"}, view.text,
        element("div", {className: "tokens"}, element("span", {className: "note"}, "tokens "), view.pieces), view.phrases)));
}

const HELP = "Point at a word, or walk with the left and right arrow keys: what it looked at is laid over the " +
  "picture. j and k, or in an answer the up and down arrow keys, go to the next and the previous example. A word in a colour " +
  "is part of a phrase with that number; its point is where the phrase's map is highest. Normalised maps are " +
  "what is left of a map when the mean map of the whole answer is taken away; raw ones are as the model had them.";

function build() {
  page.sides = [];
  page.list = element("nav", {className: "list", "aria-label": "Examples"});
  page.heading = element("h2");
  page.question = element("p", {className: "note"});
  page.live = element("p", {className: "unseen", role: "status", "aria-live": "polite"});
  const step = (text, label, by) => element("button", {type: "button", className: "step", "aria-label": label,
    onclick: () => chooseExample(chosen.at + by)}, text);
  const controls = filters(), drawn = views();
  if (typeof DecompressionStream === "undefined") {
    document.getElementById("explorer").append(element("p", {}, "This browser is too old to unpack the maps of this page."));
  }
  page.example = element("section", {}, element("div", {className: "title"}, page.heading,
    step("\u2190", "previous example", -1), step("\u2192", "next example", 1)), page.question, drawn,
  element("div", {className: numSides > 1 ? "sides" : ""}, ...about.sides.map(sideView)), page.live);
  document.getElementById("explorer").append(
    element("details", {}, element("summary", {}, "How to read this page"), element("p", {}, HELP),
      element("p", {}, about.explanation)),
    controls, page.list, page.example);
  const isAlone = examples.length === 1;
  controls.hidden = page.list.hidden = isAlone;
  for (const button of page.example.querySelectorAll(".step")) button.hidden = isAlone;
  document.addEventListener("keydown", (event) => {
    const isTyped = event.target.closest?.("input, select");
    if (isTyped || event.ctrlKey || event.metaKey || event.altKey || page.example.hidden) return;
    const isWordFocused = event.target.closest?.(".answer") !== null && event.target.closest !== undefined;
    const example = {j: 1, k: -1, ...(isWordFocused ? {ArrowDown: 1, ArrowUp: -1} : {})}[event.key];
    const word = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!example && !word) return;
    event.preventDefault();
    if (word) return walk(word);
    chooseExample(chosen.at + example);
    if (isWordFocused) page.sides[chosen.side].words.querySelector("[tabindex='0']")?.focus();
  });
  list();
}

build();
