// Put into a copy of an explorer's page, ahead of its own scripts: does what a reader does, looks at
// what comes of it, and leaves a verdict in the document.
"use strict";

// The browser's clock runs ahead while nothing is to be done in the page, as when maps are unpacked
// beside it, and ends the visit when its time is up. Timers that take time hold it back.
const hold = setInterval(() => { for (let i = 0; i < 300000; i++) Math.sqrt(i); }, 10);

const failures = [];
const expect = (isTrue, what) => { if (!isTrue) failures.push(what); };

addEventListener("error", (event) => failures.push(`error: ${event.message}`));
addEventListener("unhandledrejection", (event) => failures.push(`rejected: ${event.reason}`));
addEventListener("securitypolicyviolation", (event) => failures.push(`refused: ${event.blockedURI}`));

const drawn = async () => { await page.drawing; };
const press = (key, on = document.activeElement) =>
  on.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
const point = (button) => button.dispatchEvent(new PointerEvent("pointerenter"));
const change = (name, value) => {
  page[name].value = value;
  page[name].dispatchEvent(new Event("change"));
};
const picture = (side = 0) => page.sides[side].map.toDataURL();
const masks = (side = 0) => page.sides[side].masks.toDataURL();
const words = (side = 0) => [...page.sides[side].words.querySelectorAll("button")];
const ids = () => chosen.list.map((one) => one.id);
const byId = (id) => chooseExample(ids().indexOf(id));

// Everywhere: nothing is asked for, and nothing is wider than the window.
function checkPage() {
  const asked = performance.getEntriesByType("resource").filter(({name}) => !name.startsWith("data:"));
  expect(asked.length === 0, `requests: ${asked.map(({name}) => name)}`);
  expect(document.documentElement.scrollWidth <= innerWidth,
    `${document.documentElement.scrollWidth} pixels of width in a window of ${innerWidth}`);
  const unnamed = [...document.querySelectorAll("button, select, input, canvas")]
    .filter((one) => !(one.getAttribute("aria-label") || one.textContent.trim() || one.labels?.length));
  expect(unnamed.length === 0, `without a name: ${unnamed.map((one) => one.outerHTML)}`);
}

// The map that the page has of every phrase is highest where the phrase's point is.
async function checkPeaks() {
  for (let at = 0; at < chosen.list.length; at++) {
    chooseExample(at);
    await drawn();
    for (const [side, answer] of example().answers.entries()) {
      for (const [number, phrase] of (answer ? answer.phrases : []).entries()) {
        choosePart(side, "phrase", number);
        await drawn();
        const peak = page.sides[side].map.dataset.peak.split(",").map(Number);
        const shown = (await page.picture).naturalWidth, reach = 1.5 * example().size[0] / shown + 1;
        expect(Math.hypot(peak[0] - phrase.point[0], peak[1] - phrase.point[1]) <= reach,
          `${example().id}, phrase ${number}: the map is highest at ${peak}, the point at ${phrase.point}`);
      }
    }
  }
}

// Where corners are removed, all phrases' maps have the same there: the smallest value of them all.
async function checkCorners() {
  byId("picture-4");
  await drawn();
  const answer = example().answers[0];
  expect(answer.corners && answer.phrases.length > 1, "the fifth example is to have its corners removed");
  for (const [layer, normalised] of [[0, true], [0, false], [2, true], [2, false]]) {
    const shown = await Promise.all(answer.phrases.map((_, phrase) => mapOf(answer, {phrase}, layer, normalised)));
    const lowest = Math.min(...shown.flatMap(({map}) => [...map]));
    expect(new Set(shown.map(({map}) => Math.min(...map))).size === 1, `layer ${layer}: phrases' smallest values differ`);
    expect(shown.every(({map, grid: [rows, columns]}) =>
      [0, columns - 1, (rows - 1) * columns, rows * columns - 1].every((corner) => map[corner] === lowest)),
    `layer ${layer}: a corner is not the smallest value of all phrases`);
    const token = await mapOf(answer, {tokens: answer.phrases[0].tokens}, layer, normalised);
    expect(!token || token.map[0] === Math.min(lowest, ...token.map), `layer ${layer}: the corner of tokens`);
  }
}

async function checkPointing() {
  byId("picture-2");
  await drawn();
  const before = picture(), word = words().findLast((one) => one.textContent.length > 6);
  point(word);
  await drawn();
  expect(picture() !== before, "pointing at a word changes nothing");
  expect(word.classList.contains("chosen"), "the word that is pointed at is not marked");
  expect(page.live.textContent.includes(word.firstChild.textContent), "the word is not said");
  expect(page.sides[0].map.getAttribute("aria-label").includes("IoU"), "the picture has no words");
  const pieces = [...page.sides[0].pieces.querySelectorAll("button")], whole = picture();
  expect(pieces.length > 1, "a long word has one token");
  point(pieces[0]);
  await drawn();
  expect(picture() !== whole, "pointing at a token changes nothing");
  const withMask = masks();
  page.showMask.click();
  await drawn();
  expect(masks() !== withMask, "the mask cannot be left out");
  page.showMask.click();
  const normalised = picture();
  page.raw.click();
  await drawn();
  expect(picture() !== normalised, "raw and normalised maps are the same");
  expect(page.sides[0].text.textContent.includes("raw"), "raw maps are not called so");
  page.normalised.click();
  await drawn();
  expect(picture() === normalised, "a normalised map is another one the second time");
}

async function checkLayers() {
  byId("picture-1");
  expect(page.layers.hidden, "layers of an answer that has one");
  byId("picture-0");
  await drawn();
  expect(!page.layers.hidden && page.layer.max === "4", "there are no four layers");
  const seen = new Set();
  for (const layer of [0, 1, 2, 3, 4]) {
    page.layer.value = layer;
    page.layer.dispatchEvent(new Event("input"));
    await drawn();
    seen.add(picture());
  }
  expect(seen.size === 5, `${seen.size} different pictures of five`);
  expect(page.sides[0].text.textContent.includes("layer 4"), "the layer is not said");
  page.layer.value = 0;
  page.layer.dispatchEvent(new Event("input"));
}

async function checkKeys() {
  byId("picture-3");
  await drawn();
  document.activeElement.blur();
  press("ArrowRight", document.body);
  await drawn();
  expect(document.activeElement === words()[0], "the first word is not walked to");
  const first = picture();
  press("ArrowRight");
  press("ArrowRight");
  await drawn();
  expect(document.activeElement === words()[2] && picture() !== first, "the third word is not walked to");
  press("ArrowLeft");
  expect(document.activeElement === words()[1], "the second word is not walked back to");
  expect(words().filter((word) => word.tabIndex === 0).length === 1, "not one word is reached by Tab");
  const at = chosen.at;
  press("ArrowDown");
  expect(chosen.at === at + 1, "down does not go to the next example");
  press("ArrowUp");
  press("k");
  expect(chosen.at === at - 1, "k does not go to the example before");
  press("j");
  expect(chosen.at === at, "j does not go on");
  press("j", page.order);
  expect(chosen.at === at, "a letter for a list of choices goes on");
}

async function checkFilters() {
  const figures = chosen.list.map((one) => figureOf(one, 0) ?? Infinity);
  expect(figures.every((figure, i) => !i || figures[i - 1] <= figure), `not the worst first: ${figures}`);
  change("order", "number 0");
  expect(String(ids()) === "picture-0,picture-1,picture-2,picture-3,picture-4,picture-5", `order ${ids()}`);
  for (const [value, hit] of [["true", true], ["false", false]]) {
    change("result", value);
    expect(chosen.list.length > 0 && chosen.list.length < 7, `${chosen.list.length} with ${value}`);
    expect(chosen.list.every((one) => one.answers[0].phrases.some((phrase) => phrase.hit === hit)), "wrong results");
    await drawn();
    expect(example().answers[0].phrases[chosen.number].hit === hit, "another phrase is chosen than looked for");
  }
  change("result", "any");
  change("iou", "0 0.25");
  expect(chosen.list.every((one) => one.answers[0].phrases.some(({iou}) => iou < 0.25)), "wrong IoU");
  change("iou", "any");
  change("category", "star");
  expect(chosen.list.length > 0 && chosen.list.length < 6 && chosen.list.every((one) =>
    one.answers[0].phrases.some(({category}) => category === "star")), "wrong categories");
  change("result", "null");
  expect(page.example.hidden && page.count.textContent === "0 of 6 examples", "something is left of nothing");
  press("j", document.body);
  change("category", "");
  change("result", "any");
  expect(!page.example.hidden && chosen.list.length === 6, "the examples do not come back");
}

async function checkHostileText() {
  byId("picture-5");
  await drawn();
  const text = page.sides[0].words.textContent;
  expect(text.includes("<\/script><img src=x onerror=alert(1)> \ufffd\ufffd(\"'&"), `text: ${text}`);
  expect([...document.images].every(({src}) => src.startsWith("data:")), "a picture from elsewhere");
  expect(document.querySelector("h1").textContent === "Explorer: <made up>", "the title");
}

async function checkSideBySide() {
  chooseExample(0);
  await drawn();
  const said = example().answers.map((answer) => answer.words.map(([word]) => word.trim()));
  const both = said[0].findIndex((word) => word.length > 3 && said[1].includes(word));
  choosePart(0, "word", said[0].indexOf("and"));
  await drawn();
  const before = [picture(0), picture(1)];
  choosePart(0, "word", both);
  await drawn();
  expect(before[0] !== picture(0) && before[1] !== picture(1), "not both pictures change");
  const marked = page.sides.map((view) => view.words.querySelector(".chosen")?.firstChild.textContent);
  expect(marked[0] === said[0][both] && marked[1] === marked[0], `marked: ${marked}`);
  const alone = said[1].findIndex((word) => word.length > 3 && !said[0].includes(word));
  expect(alone >= 0, "all is said twice");
  choosePart(1, "word", alone);
  await drawn();
  expect(page.sides[0].map.dataset.peak === "" || chosenOn(0) !== null, "a map of what is not said");
  expect(page.order.value === "differ 0", "not in the order of the difference");
  for (const value of ["ahead 0", "ahead 1", "worst 1"]) {
    change("order", value);
    await drawn();
    expect(chosen.list.length === 3, `${chosen.list.length} in the order ${value}`);
  }
}

addEventListener("load", async () => {
  try {
    await drawn();
    checkPage();
    const checks = numSides === 2 ? [checkSideBySide] : [checkFilters, checkPointing, checkLayers, checkCorners, checkKeys, checkHostileText];
    if (parent === self) checks.push(checkPeaks); // the width of a page changes nothing about these
    for (const check of checks) await check();
    checkPage();
  } catch (error) {
    failures.push(error.stack.replaceAll("\n", " "));
  }
  const verdict = failures.length ? `FAILED: ${failures.slice(0, 8).join(" | ")}` : "ALL AS IT SHOULD BE";
  document.body.append(Object.assign(document.createElement("p"), {id: "verdict", textContent: verdict}));
  parent.postMessage(verdict, "*"); // for a page that shows this one in a frame
  clearInterval(hold);
});
