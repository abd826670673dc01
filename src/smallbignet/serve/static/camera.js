// The camera: some seconds of it, as a file.

import { byId } from "./text.js";

const KINDS = ["video/webm;codecs=vp8", "video/webm", "video/mp4"];

/** Connects the camera's buttons. `label` gets the recorded file, `problem` a text for people. */
export function openCamera(label, problem) {
  const live = byId("live");
  let stream = null;
  let recorder = null;

  async function open() {
    byId("problem").hidden = true;
    try {
      if (!navigator.mediaDevices || !window.MediaRecorder) throw new DOMException("", "NotSupportedError");
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
      problem(why(error), false);
      return;
    }
    byId("camera").hidden = false;
    live.srcObject = stream;
    live.play().catch(() => {}); // closed again at once
    byId("record").focus();
  }

  function close() {
    recorder = null;
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = null;
    live.srcObject = null;
    byId("camera").hidden = true;
    byId("camera").classList.remove("live");
    byId("recording").textContent = "";
  }

  function record() {
    const kind = KINDS.find((item) => MediaRecorder.isTypeSupported(item));
    const parts = [];
    const mine = new MediaRecorder(stream, kind ? { mimeType: kind } : {});
    recorder = mine;
    mine.ondataavailable = (event) => parts.push(event.data);
    mine.onstop = () => {
      if (recorder !== mine) return; // the camera was closed
      const ending = mine.mimeType.includes("mp4") ? "mp4" : "webm";
      const file = new File(parts, `camera.${ending}`, { type: mine.mimeType });
      close();
      label(file);
    };
    byId("record").disabled = true;
    byId("camera").classList.add("live");
    countDown(mine, Number(byId("length").value));
    mine.start();
  }

  function countDown(mine, seconds) {
    if (recorder !== mine) return;
    if (seconds === 0) {
      byId("record").disabled = false;
      mine.stop();
      return;
    }
    byId("recording").textContent = `Recording, ${seconds} s left`;
    setTimeout(() => countDown(mine, seconds - 1), 1000);
  }

  byId("use-camera").addEventListener("click", open);
  byId("record").addEventListener("click", record);
  byId("close-camera").addEventListener("click", () => {
    close();
    byId("record").disabled = false;
    byId("use-camera").focus();
  });
}

function why(error) {
  if (!window.isSecureContext) return "Browsers open the camera only for addresses with https:// or on this machine (localhost).";
  const reasons = {
    NotAllowedError: "This browser does not let the page use the camera. Allow it in the browser's settings, then try again.",
    NotFoundError: "This device has no camera.",
    NotReadableError: "Another program uses the camera.",
    NotSupportedError: "This browser can't record from a camera.",
  };
  return reasons[error.name] ?? `The camera can't be used: ${error.message}`;
}
