// The answers of this browser. Several tabs share them: each change is made under a lock, to what is stored then.

const KEY = "smallbignet.history";
const MOST = 30; // answers
const LARGEST = 200_000; // characters of one answer

export function read() {
  try {
    const items = JSON.parse(localStorage.getItem(KEY));
    return Array.isArray(items) ? items.filter((item) => item?.id && item.answer) : [];
  } catch {
    return []; // no storage in this browser, or somebody else's text in it
  }
}

async function change(change) {
  const run = () => write(change(read()));
  await (navigator.locks ? navigator.locks.request(KEY, run) : run());
}

/** Stores as many items as there is room for, the newest first. */
function write(items) {
  for (let count = Math.min(items.length, MOST); count >= 0; count -= 1) {
    try {
      localStorage.setItem(KEY, JSON.stringify(items.slice(0, count)));
      return;
    } catch {
      // no room: without the oldest
    }
  }
}

export function add(item) {
  const { explain, ...answer } = item.answer; // contributions are drawn on the video, which is not kept
  if (JSON.stringify(answer).length > LARGEST) delete answer.timeline;
  return change((items) => [{ ...item, answer }, ...items]);
}

export function clear() {
  return change(() => []);
}

/** Calls a function when another tab has changed the history. */
export function watch(changed) {
  addEventListener("storage", (event) => {
    if (event.key === KEY || event.key === null) changed();
  });
}
