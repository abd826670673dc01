// Small helpers. Whatever comes from a file or a model is set as text, never as markup.

export const byId = (id) => document.getElementById(id);

export function element(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}

export function percent(share) {
  return `${Math.round(100 * share)} %`;
}

export function megabytes(bytes) {
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1000))} kB`;
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}

/** Seconds as 1:23, or 1:02:03, with tenths where asked. */
export function clock(seconds, digits = 0) {
  const unit = 10 ** digits;
  const all = Math.floor(Math.max(0, seconds) * unit + 1e-6);
  const minutes = Math.floor(all / unit / 60);
  const rest = ((all / unit) % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  if (minutes < 60) return `${minutes}:${rest}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}
