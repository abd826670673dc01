// What each place contributed to the answer, drawn over the video.

const STRONGEST = 0.65; // opacity of the largest contribution, as in `smallbig explain`

export class Overlay {
  /** `explain` is the server's; see docs/serve.md. */
  constructor(video, canvas, explain) {
    this.video = video;
    this.canvas = canvas;
    this.explain = explain;
    const { times } = explain;
    this.gap = times.length > 1 ? (times.at(-1) - times[0]) / (times.length - 1) : 1;
  }

  /** When the clip that the network saw begins and ends, in seconds: half a gap before its first frame and after its last. */
  get from() {
    return Math.max(0, this.explain.times[0] - this.gap / 2);
  }

  get to() {
    return this.explain.times.at(-1) + this.gap / 2;
  }

  /** Draws the contributions at a time; nothing outside the clip that the network saw. */
  draw(seconds) {
    const box = this.place();
    const pen = this.canvas.getContext("2d");
    pen.clearRect(0, 0, box.width, box.height);
    if (seconds < this.from || seconds > this.to) return;
    const { map, scale, region, times } = this.explain;
    const rows = map[Math.floor(this.nearest(seconds) * map.length / times.length)];
    const height = region.height * box.height / rows.length;
    const width = region.width * box.width / rows[0].length;
    const left = region.left * box.width;
    const top = region.top * box.height;
    rows.forEach((row, y) => row.forEach((value, x) => {
      const opacity = STRONGEST * Math.min(1, Math.abs(value) / scale);
      pen.fillStyle = value > 0 ? `rgb(229 53 43 / ${opacity})` : `rgb(47 111 224 / ${opacity})`;
      pen.fillRect(left + x * width, top + y * height, width, height);
    }));
    pen.setLineDash([6, 4]);
    pen.strokeStyle = "rgb(255 255 255 / .8)";
    pen.strokeRect(left + 0.5, top + 0.5, region.width * box.width - 1, region.height * box.height - 1);
  }

  nearest(seconds) {
    const distances = this.explain.times.map((time) => Math.abs(time - seconds));
    return distances.indexOf(Math.min(...distances));
  }

  /** Lays the canvas over the picture, which is smaller than the video's box where their forms differ. */
  place() {
    const { clientWidth, clientHeight, videoWidth, videoHeight, offsetLeft, offsetTop } = this.video;
    const scale = Math.min(clientWidth / videoWidth, clientHeight / videoHeight) || 0;
    const width = Math.round(videoWidth * scale);
    const height = Math.round(videoHeight * scale);
    const sharp = window.devicePixelRatio || 1;
    this.canvas.width = width * sharp;
    this.canvas.height = height * sharp;
    this.canvas.getContext("2d").scale(sharp, sharp);
    Object.assign(this.canvas.style, {
      width: `${width}px`,
      height: `${height}px`,
      left: `${offsetLeft + (clientWidth - width) / 2}px`,
      top: `${offsetTop + (clientHeight - height) / 2}px`,
    });
    return { width, height };
  }
}
