// How values are written: numbers as the page's language writes them, the pairs of an address, the fields of a table. Nothing here
// touches the page.
"use strict";
window.AtlasFormats = (language = "en") => {
  const locale = language === "en" ? "en-GB" : language;
  const made = new Map(); // a format takes long to make
  const written = (value, options) => {
    const key = JSON.stringify(options);
    if (!made.has(key)) made.set(key, new Intl.NumberFormat(locale, { useGrouping: "always", ...options }));
    return made.get(key).format(value).replace("-", "−");
  };
  // Rounded first, as everywhere in the atlas, and never a negative zero.
  const rounded = (value, digits) => Number(value.toFixed(digits)) + 0;
  const fixed = (digits) => ({ minimumFractionDigits: digits, maximumFractionDigits: digits });
  const missing = (value) => value === null || value === undefined || !Number.isFinite(value);

  // A number with a true minus sign; a dash where there is none.
  const number = (value, digits = 2) => (missing(value) ? "–" : written(rounded(value, digits), fixed(digits)));
  // The same with its sign, for differences.
  const signed = (value, digits = 2) => (missing(value) ? "–" : written(rounded(value, digits), { ...fixed(digits), signDisplay: "exceptZero" }));
  // With at least two digits that are not zero: a single small place changes the score very little.
  const telling = (value) => Math.min(6, Math.max(2, 1 - Math.floor(Math.log10(Math.abs(value) || 1))));
  const fine = (value) => signed(value, telling(value));
  const size = (value) => number(Math.abs(value), telling(value));
  const count = (value) => number(value, 0);
  // A share of 1 in percent; a small share keeps one decimal, so that it does not become zero.
  const percent = (share) => {
    if (missing(share)) return "–";
    const digits = share > 0 && share < 0.0995 ? 1 : 0;
    return written(rounded(100 * share, digits) / 100, { ...fixed(digits), style: "percent" });
  };
  // Words or numbers as a list: "a, b and c".
  const list = (items) => new Intl.ListFormat(locale).format(items.map(String));
  // A grade of the scale, within a sentence.
  const grade = ({ number: value, name }) => gettext("%(number)s (%(name)s)", { number: value, name });

  // The pairs of an address, after its "#": key=value, joined by "&".
  const decoded = (text) => {
    try { return decodeURIComponent(text.replace(/\+/g, " ")); } catch { return text; }
  };
  const readAddress = (hash) => {
    const pairs = hash.replace(/^#/, "").split("&").filter((pair) => pair.indexOf("=") > 0);
    return Object.fromEntries(pairs.map((pair) => pair.split(/=(.*)/s, 2).map(decoded)));
  };
  const coded = (text) => encodeURIComponent(text).replace(/%2C/g, ",").replace(/%20/g, "+");
  const writeAddress = (pairs) => Object.entries(pairs).map(([key, value]) => `${coded(key)}=${coded(value)}`).join("&");

  // Text that a spreadsheet would take for a formula gets an apostrophe in front.
  const field = (value) => {
    if (value === null || value === undefined) return "";
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) && Number.isNaN(Number(value)) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };
  // Rows are arrays of fields; the first row names the columns.
  const csv = (rows) => rows.map((row) => row.map(field).join(",") + "\r\n").join("");

  return { number, signed, fine, size, count, percent, list, grade, readAddress, writeAddress, csv };
};
