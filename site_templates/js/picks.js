// The tray as a list: at most six photographs and patches, in the reader's order. Nothing here touches the page.
//
// A pick is {key, plate}: the id of a photograph or of a patch, and the number of its plate, by which it is called.
//   toggled(picks, pick)   {picks, done}: it is added at the end, or taken out; done is "added", "removed" or "full"
//   moved(picks, key, by)  the list with one pick so many places later; it stays within the list
//   image(key)             the id of its photograph; isPatch(key): whether it is a patch
//   keep(picks), kept(text)        as text for the browser's memory, and back; what cannot be read is left out
//   write(picks), read(text)       keys as text for an address, and back: keys alone
//   columns(count)         how many lie side by side
"use strict";
window.AtlasPicks = (() => {
  const MOST = 6;
  const KEY = /^[0-9a-z_]+(-[0-9a-z]+)?$/i;
  const unique = (keys) => [...new Set(keys.filter((key) => KEY.test(key)))].slice(0, MOST);
  const has = (picks, key) => picks.some((one) => one.key === key);

  const toggled = (picks, pick) => {
    if (has(picks, pick.key)) return { picks: picks.filter(({ key }) => key !== pick.key), done: "removed" };
    if (picks.length >= MOST) return { picks, done: "full" };
    return { picks: [...picks, pick], done: "added" };
  };
  const moved = (picks, key, by) => {
    const from = picks.findIndex((one) => one.key === key);
    const to = Math.min(picks.length - 1, Math.max(0, from + by));
    if (from < 0 || to === from) return picks;
    const rest = picks.filter((_, k) => k !== from);
    return [...rest.slice(0, to), picks[from], ...rest.slice(to)];
  };

  const keep = (picks) => JSON.stringify(picks.map(({ key, plate }) => [key, plate]));
  const kept = (text) => {
    let rows = [];
    try { rows = JSON.parse(text ?? "[]"); } catch { /* not ours: the tray is empty */ }
    const pairs = (Array.isArray(rows) ? rows : []).filter((row) => Array.isArray(row) && typeof row[0] === "string");
    const plates = new Map(pairs.map(([key, plate]) => [key, plate]));
    return unique([...plates.keys()]).map((key) => ({ key, plate: Number(plates.get(key)) || 0 }));
  };
  const write = (picks) => picks.map(({ key }) => key).join(",");
  const read = (text) => unique(String(text ?? "").split(","));

  const image = (key) => key.split("-")[0];
  const isPatch = (key) => key.includes("-");
  const columns = (count) => (count === 4 ? 2 : Math.min(3, count));

  return { MOST, has, toggled, moved, keep, kept, write, read, image, isPatch, columns };
})();
