// The page: from a chosen video to an answer that is shown and kept.

import { openCamera } from "./camera.js";
import * as kept from "./history.js";
import { look } from "./look.js";
import { save, show } from "./result.js";
import { Refused, ask, hasToken, keepToken, predict, takeToken, work } from "./server.js";
import { byId, element, megabytes, percent } from "./text.js";

const LONG = 60; // seconds of a video that is worked on as a job
const LARGE = 20e6; // bytes, where the browser can't say how long a video is

let models = [];
let maxBytes = Infinity;
let running = null; // the AbortController of the video that is worked on
let last = null; // the file to try again

function model() {
  return models[byId("model").value] ?? models[0];
}

async function start() {
  const found = await ask("GET", "v1/models");
  models = found.models;
  maxBytes = found.max_bytes;
  byId("model").replaceChildren(...models.map((item, index) => new Option(item.name, index)));
  byId("choice").hidden = models.length < 2;
  byId("limits").textContent = `MP4, MOV, MKV, WebM, AVI and others, up to ${megabytes(maxBytes)}`;
  describe();
}

function describe() {
  const { name, network, classes, explains, knows_unknown: unknown } = model();
  byId("about").textContent = `${name}: ${network}, ${classes.length} ${classes.length === 1 ? "class" : "classes"}`;
  byId("classes").textContent = classes.join(", ");
  byId("explains").hidden = !explains;
  byId("unknowns").hidden = !unknown;
}

function query(file) {
  const wanted = new URLSearchParams({ model: model().name, name: file.name, top: Math.min(5, model().classes.length) });
  const { explains, knows_unknown: unknown } = model();
  if (byId("want-timeline").checked) wanted.set("timeline", 1);
  if (byId("want-explain").checked && explains) wanted.set("explain", 1);
  if (byId("want-unknown").checked && unknown) wanted.set("unknown", 1);
  return wanted;
}

/** Sends a file and shows the answer, or says what is wrong. */
async function label(file) {
  if (running) return;
  last = file;
  byId("problem").hidden = true;
  if (file.size > maxBytes) {
    problem(`${file.name} has ${megabytes(file.size)}, and this server takes at most ${megabytes(maxBytes)}.`, false);
    return;
  }
  if (!file.size) {
    problem(`${file.name} is empty.`, false);
    return;
  }
  running = new AbortController();
  busy(true);
  byId("work-name").textContent = file.name;
  progress("Opening the video", null);
  byId("cancel").focus();
  const named = model().name;
  try {
    const looks = await look(file);
    progress("Sending the video", null);
    const answer = await send(file, looks, running.signal);
    show(answer, file, looks);
    document.body.classList.add("answered");
    say(`${byId("headline").textContent}, ${byId("sure").textContent}`);
    byId("headline").focus();
    await kept.add({ id: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`, time: Date.now(), model: named, picture: looks.picture, answer });
    list();
  } catch (error) {
    failed(error);
  } finally {
    running = null;
    busy(false);
  }
}

async function send(file, looks, signal) {
  const uploaded = (share) => {
    if (share < 1) progress(`Sent ${megabytes(share * file.size)} of ${megabytes(file.size)}`, share);
    else progress("The server watches the video", null);
  };
  const worked = (state, share) => {
    if (state === "waiting") progress("Waiting for other videos", null);
    else progress(`The server watches the video: ${percent(share)}`, share);
  };
  const isLong = looks.seconds > LONG || (!looks.seconds && file.size > LARGE);
  const answer = await (isLong ? work(file, query(file), signal, uploaded, worked) : predict(file, query(file), signal, uploaded));
  if (answer.error) throw new Refused(422, answer.error);
  return answer;
}

function progress(text, share) {
  const bar = byId("progress");
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
  const phase = text.replace(/[\d.]+.*/, ""); // numbers would be read out without end
  if (byId("amount").dataset.phase !== phase) say(text);
  byId("amount").dataset.phase = phase;
  byId("amount").textContent = text;
}

function busy(is) {
  byId("work").hidden = !is;
  if (is) byId("result").hidden = true;
  for (const button of document.querySelectorAll("#start button, #start input, #history button, #clear, #record, #model")) button.disabled = is;
}

function failed(error) {
  if (error.name === "AbortError") {
    say("Cancelled.");
    setTimeout(() => byId("drop").focus());
  } else if (error.status === 401) {
    byId("wrong-token").hidden = !hasToken();
    byId("ask-token").hidden = false;
    byId("token").focus();
    say("This server asks for a token.");
  } else {
    problem(error instanceof Refused ? error.message : `This page made a mistake: ${error.message}`, true);
  }
}

function problem(text, canRepeat) {
  byId("reason").textContent = text;
  byId("again").hidden = !canRepeat;
  byId("problem").hidden = false;
}

function say(text) {
  byId("said").textContent = text;
}

/** Shows the history, in which nothing is markup: names of files and classes may be anything. */
function list() {
  const items = kept.read();
  byId("no-history").hidden = items.length > 0;
  byId("clear").hidden = !items.length;
  byId("history").replaceChildren(...items.map(entry));
}

function entry(item) {
  const [best] = item.answer.predictions;
  const picture = item.picture?.startsWith("data:image/jpeg;") ? element("img", { src: item.picture, alt: "" }) : element("span", { className: "blank" });
  const words = element("span", {});
  words.append(
    element("b", { textContent: best ? `${best.label} ${percent(best.score)}` : "nothing" }),
    element("small", { textContent: item.answer.path, title: item.answer.path }),
    element("small", { textContent: `${new Date(item.time).toLocaleString([], { dateStyle: "short", timeStyle: "short" })}, ${item.model}` }),
  );
  const button = element("button", { type: "button", disabled: Boolean(running) });
  button.append(picture, words);
  button.addEventListener("click", () => {
    byId("problem").hidden = true;
    show(item.answer, null, null);
    byId("headline").focus();
  });
  const line = element("li", {});
  line.append(button);
  return line;
}

function connect() {
  const drop = byId("drop");
  const file = byId("file");
  drop.addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    const [chosen] = file.files;
    file.value = ""; // so that the same file can be chosen again
    if (chosen) label(chosen);
  });
  // a file that is dropped beside the button would replace the page
  for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name.startsWith("drago") || name === "dragenter");
    });
  }
  document.addEventListener("drop", (event) => {
    const [dropped] = event.dataTransfer.files;
    if (dropped) label(dropped);
  });
  byId("cancel").addEventListener("click", () => running?.abort());
  byId("again").addEventListener("click", () => (last ? label(last) : connectToServer()));
  byId("model").addEventListener("change", describe);
  byId("save").addEventListener("click", save);
  byId("clear").addEventListener("click", async () => {
    await kept.clear();
    list();
    drop.focus();
  });
  byId("ask-token").addEventListener("submit", (event) => {
    event.preventDefault();
    keepToken(byId("token").value.trim());
    byId("token").value = "";
    byId("ask-token").hidden = true;
    if (models.length && last) label(last);
    else connectToServer();
  });
  openCamera(label, problem);
  kept.watch(list);
}

function connectToServer() {
  byId("problem").hidden = true;
  start().catch((error) => {
    byId("about").textContent = "";
    failed(error);
  });
}

takeToken();
connect();
list();
connectToServer();
