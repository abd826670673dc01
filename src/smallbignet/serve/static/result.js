// One answer: its labels, the video with contributions over it, and the timeline.

import { Overlay } from "./overlay.js";
import { byId, clock, element, percent } from "./text.js";
import { Timeline } from "./timeline.js";

const UNKNOWN = "unknown";

const video = byId("video");
let answer = null;
let timeline = null;
let overlay = null;

/** Shows an answer. `file` is null where it is an old one, whose video is not kept. */
export function show(found, file) {
  answer = found;
  timeline = null; // before the section is seen, so that nothing of the last answer is
  overlay = null;
  byId("name").textContent = answer.path;
  labels(answer.predictions);
  open(file);
  byId("result").hidden = false;
  byId("timeline").hidden = !answer.timeline?.segments.length;
  if (!byId("timeline").hidden) timeline = new Timeline(answer.timeline, seek);
  byId("contributions").hidden = !(answer.explain && file);
  if (!byId("contributions").hidden) explain();
  drawOverlay();
}

function labels(predictions) {
  const [best, second] = predictions;
  const isUnknown = best?.label === UNKNOWN;
  byId("headline").textContent = isUnknown ? "Unknown" : (best?.label ?? "No label");
  if (!isUnknown) byId("sure").textContent = best ? `with a score of ${percent(best.score)}` : "";
  else byId("sure").textContent = `No class is likely enough.${second ? ` The closest is ${second.label}, with ${percent(second.score)}.` : ""}`;
  byId("scores").replaceChildren(...predictions.filter(({ label }) => label !== UNKNOWN).map(bar));
}

function bar({ label, score }) {
  const line = element("li", {});
  const track = element("span", { className: "bar" });
  const filled = element("i", {});
  filled.style.width = percent(score).replace(" ", "");
  track.append(filled);
  line.append(element("b", { textContent: label }), element("span", { textContent: percent(score), className: "score" }), track);
  return line;
}

function open(file) {
  if (video.src) URL.revokeObjectURL(video.src);
  byId("no-video").hidden = Boolean(file);
  byId("no-video").textContent = "An earlier answer. The video itself is not kept: choose it again to see it.";
  video.hidden = !file;
  if (file) video.src = URL.createObjectURL(file);
  else video.removeAttribute("src");
}

function explain() {
  overlay = new Overlay(video, byId("overlay"), answer.explain);
  const { label, score } = answer.explain;
  const covers = timeline && overlay.to - overlay.from > 0.8 * timeline.end;
  byId("to-clip").hidden = covers;
  byId("which-clip").textContent = `For “${label}”, in the clip from ${clock(overlay.from, 1)} to ${clock(overlay.to, 1)}, whose score is ${percent(score)}.`;
}

function seek(seconds) {
  if (video.src && video.readyState) video.currentTime = seconds;
}

function drawOverlay() {
  const wanted = Boolean(overlay) && byId("show-overlay").checked && video.videoWidth > 0;
  byId("overlay").hidden = !wanted;
  if (wanted) overlay.draw(video.currentTime);
}

function moved() {
  if (!video.src) return;
  timeline?.moveTo(video.currentTime);
  drawOverlay();
}

/** Follows the video while it plays. */
function follow() {
  moved();
  if (!video.paused && !video.ended) requestAnimationFrame(follow);
}

export function save() {
  const link = element("a", {
    href: URL.createObjectURL(new Blob([JSON.stringify(answer, null, 2)], { type: "application/json" })),
    download: `${answer.path}.json`,
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

video.addEventListener("play", follow);
for (const event of ["seeked", "loadeddata", "pause"]) video.addEventListener(event, moved);
video.addEventListener("error", () => {
  if (!video.getAttribute("src")) return;
  video.hidden = true;
  byId("contributions").hidden = true;
  byId("no-video").hidden = false;
  byId("no-video").textContent = "This browser can't play this kind of video. The answer is not affected.";
});
byId("show-overlay").addEventListener("change", drawOverlay);
byId("to-clip").addEventListener("click", () => {
  byId("show-overlay").checked = true;
  if (timeline) timeline.choose(overlay.from);
  else seek(overlay.from);
  drawOverlay();
});
const track = byId("track");
track.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !timeline) return;
  track.setPointerCapture(event.pointerId);
  pointed(event);
});
track.addEventListener("pointermove", (event) => {
  if (track.hasPointerCapture(event.pointerId)) pointed(event);
});
track.addEventListener("keydown", (event) => {
  if (timeline?.pressed(event.key)) event.preventDefault();
});
new ResizeObserver(() => {
  timeline?.draw();
  drawOverlay();
}).observe(byId("result"));

function pointed(event) {
  const box = track.getBoundingClientRect();
  timeline.choose(timeline.end * (event.clientX - box.left) / box.width);
}
