// A first look at a video: how long it is, and a small picture of it for the history.

const PATIENCE = 4000; // milliseconds; a file that the browser can't play is sent all the same
const WIDTH = 144; // pixels

/** Returns {seconds, picture}; 0 and "" where the browser can't say. */
export async function look(file) {
  const video = document.createElement("video");
  const found = { seconds: 0, picture: "" };
  video.muted = true;
  video.preload = "auto";
  video.src = URL.createObjectURL(file);
  try {
    await once(video, "loadeddata");
    if (Number.isFinite(video.duration)) found.seconds = video.duration; // recordings of a browser don't know theirs
    video.currentTime = Math.min(found.seconds / 2, 60);
    await once(video, "seeked");
    found.picture = picture(video);
  } catch {
    // the browser can't play it
  } finally {
    URL.revokeObjectURL(video.src);
    video.removeAttribute("src");
    video.load();
  }
  return found;
}

function picture(video) {
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = Math.max(1, Math.round(WIDTH * video.videoHeight / video.videoWidth));
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.7);
}

function once(video, event) {
  return new Promise((resolve, reject) => {
    video.addEventListener(event, resolve, { once: true });
    video.addEventListener("error", reject, { once: true });
    setTimeout(reject, PATIENCE);
  });
}
