// What happens when: a strip of segments, the classes' scores below it, a cursor, and a table.

import { byId, clock, element, percent } from "./text.js";

const LANES = 6; // classes with a curve of their own
const COLOURS = 8; // in page.css
const LETTER = 8; // pixels, about
const SVG = "http://www.w3.org/2000/svg";

export class Timeline {
  /** `seek` is called with the seconds that somebody chose. */
  constructor({ segments, curve }, seek) {
    this.segments = segments;
    this.curve = curve;
    this.seek = seek;
    this.end = Math.max(segments.at(-1)?.end ?? 0, 0.001);
    this.lines = segments.map((segment) => this.line(segment));
    this.current = null;
    byId("segments").replaceChildren(...this.lines);
    byId("end").textContent = clock(this.end);
    byId("track").setAttribute("aria-valuemax", this.end.toFixed(1));
    this.draw();
    this.moveTo(0);
  }

  colour(label) {
    if (label === "unknown") return "none";
    const place = this.curve.classes.indexOf(label);
    return `c${(place < 0 ? COLOURS - 1 : place) % COLOURS}`;
  }

  share(seconds) {
    return 100 * Math.min(1, seconds / this.end);
  }

  /** Draws the strip and the lanes for the width that there is. */
  draw() {
    const strip = element("div", { className: "strip" });
    const width = byId("track").clientWidth;
    for (const { label, score, start, end } of this.segments) {
      const share = this.share(end) - this.share(start);
      const part = element("span", { className: this.colour(label), title: `${label} ${percent(score)}, ${clock(start, 1)} to ${clock(end, 1)}` });
      if (share * width / 100 > LETTER * label.length + 16) part.textContent = label;
      else part.classList.add("tight");
      Object.assign(part.style, { left: `${this.share(start)}%`, width: `${share}%` });
      strip.append(part);
    }
    byId("bands").replaceChildren(strip, ...this.curve.classes.slice(0, LANES).map((label, index) => this.lane(label, index)));
  }

  lane(label, index) {
    const { seconds, scores } = this.curve;
    const picture = document.createElementNS(SVG, "svg");
    picture.setAttribute("viewBox", "0 0 100 1");
    picture.setAttribute("preserveAspectRatio", "none");
    const path = document.createElementNS(SVG, "path");
    const steps = scores[index].map((score, i) => `L${this.share(seconds[i])} ${1 - score}H${this.share(seconds[i + 1])}`);
    path.setAttribute("d", `M0 1${steps.join("")}V1Z`);
    path.setAttribute("class", this.colour(label));
    picture.append(path);
    const lane = element("div", { className: "lane" });
    lane.append(picture, element("b", { textContent: label }));
    return lane;
  }

  line({ label, score, start, end }) {
    const go = element("button", { type: "button", textContent: clock(start, 1) });
    go.setAttribute("aria-label", `Go to ${clock(start, 1)}`);
    go.addEventListener("click", () => this.choose(start));
    const what = element("td", { className: "text", textContent: label });
    what.prepend(element("i", { className: this.colour(label) }));
    const from = element("td", {});
    from.append(go);
    const line = element("tr", {});
    line.append(from, element("td", { textContent: clock(end, 1) }), what, element("td", { textContent: percent(score) }));
    return line;
  }

  choose(seconds) {
    const chosen = Math.min(Math.max(0, seconds), this.end);
    this.moveTo(chosen);
    this.seek(chosen);
  }

  /** Moves the cursor. */
  moveTo(seconds) {
    this.time = seconds;
    byId("cursor").style.left = `${this.share(seconds)}%`;
    const found = this.segments.findIndex((segment) => seconds < segment.end);
    const index = found < 0 ? this.segments.length - 1 : found;
    const segment = this.segments[index];
    const text = `${clock(seconds, 1)}${segment ? `, ${segment.label} ${percent(segment.score)}` : ""}`;
    byId("now").textContent = text;
    byId("track").setAttribute("aria-valuenow", seconds.toFixed(1));
    byId("track").setAttribute("aria-valuetext", text);
    if (index === this.current) return;
    this.lines[this.current]?.classList.remove("current");
    this.lines[index]?.classList.add("current");
    this.current = index;
  }

  pressed(key) {
    const step = Math.max(this.end / 50, 0.1);
    const next = this.segments[this.current + 1];
    const previous = this.segments[this.current - 1];
    const goals = {
      ArrowRight: this.time + step,
      ArrowUp: this.time + step,
      ArrowLeft: this.time - step,
      ArrowDown: this.time - step,
      PageDown: next?.start ?? this.end,
      PageUp: previous?.start ?? 0,
      Home: 0,
      End: this.end,
    };
    if (!(key in goals)) return false;
    this.choose(goals[key]);
    return true;
  }
}
