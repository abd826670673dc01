// Requests to the server. Addresses are relative, so that the page also works below a path of a proxy.

const TOKEN = "smallbignet.token";
const PAUSE = 500; // milliseconds between two questions about a job

/** An answer of the server that is not what was asked for; `status` is 0 where there was none. */
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export function keepToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

export function hasToken() {
  return Boolean(sessionStorage.getItem(TOKEN));
}

/** Takes a token from the address (#token=...), where it is in no server's log, and removes it there. */
export function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  keepToken(token);
  history.replaceState(null, "", location.pathname + location.search);
}

/** Sends a request and returns its JSON. `uploaded` is called with the share of the body that was sent. */
export function ask(method, address, { body = null, signal = null, uploaded = () => {} } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch says nothing about the progress of an upload
    request.open(method, address);
    const token = sessionStorage.getItem(TOKEN);
    if (token) request.setRequestHeader("Authorization", `Bearer ${token}`);
    if (body) request.setRequestHeader("Content-Type", "application/octet-stream");
    const stop = () => request.abort();
    signal?.addEventListener("abort", stop);
    request.upload.onprogress = (event) => uploaded(event.loaded / event.total);
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    request.onerror = () => reject(new Refused(0, "The server did not answer, or ended the connection."));
    request.onloadend = () => signal?.removeEventListener("abort", stop);
    request.onload = () => {
      const found = parse(request.responseText);
      if (request.status < 300 && found) resolve(found);
      else reject(new Refused(request.status, reason(request, found)));
    };
    request.send(body);
  });
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function reason(request, found) {
  if (request.status === 429) return busy(request.getResponseHeader("Retry-After"));
  if (found?.error) return found.error;
  if (request.status === 413) return "The server takes no video of this size.";
  return `The server answered with status ${request.status}.`;
}

function busy(seconds) {
  return `The server has as much work as it takes on. Try again ${seconds ? `in ${seconds} seconds` : "later"}.`;
}

/** Sends a video and returns its answer at once. */
export function predict(file, query, signal, uploaded) {
  return ask("POST", `v1/predict?${query}`, { body: file, signal, uploaded });
}

/** Sends a long video, then asks how far the work on it is, and returns its answer. */
export async function work(file, query, signal, uploaded, worked) {
  let job = await ask("POST", `v1/jobs?${query}`, { body: file, signal, uploaded });
  const address = `v1/jobs/${encodeURIComponent(job.id)}`;
  try {
    while (job.state === "waiting" || job.state === "running") {
      worked(job.state, job.progress);
      await pause(signal);
      job = await ask("GET", address, { signal });
    }
  } catch (error) {
    if (signal.aborted) ask("DELETE", address).catch(() => {}); // the server forgets it by itself after some time
    throw error;
  }
  if (job.state === "done") return job.result;
  throw new Refused(422, job.error || "The work was ended by the server.");
}

function pause(signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, PAUSE);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("cancelled", "AbortError"));
    }, { once: true });
  });
}
