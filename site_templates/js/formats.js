// How values are written: numbers as the page's language writes them, the pairs of an address, the fields of a table. Nothing here
// touches the page.
"use strict";
window.AtlasFormats = (language = "en", { drawn = false } = {}) => {
  const locale = language === "en" ? "en-GB" : language;
  const made = new Map(); // a format takes long to make
  const written = (value, options) => {
    const key = JSON.stringify(options);
    if (!made.has(key)) made.set(key, new Intl.NumberFormat(locale, options));
    return made.get(key).format(value).replace("-", "−");
  };
  // Rounded first, as everywhere in the atlas, and never a negative zero.
  const rounded = (value, digits) => Number(value.toFixed(digits)) + 0;
  const fixed = (digits) => ({ minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: false });
  const missing = (value) => value === null || value === undefined || !Number.isFinite(value);

  // A number with a true minus sign; a dash where there is none.
  const number = (value, digits = 2) => (missing(value) ? "–" : written(rounded(value, digits), fixed(digits)));
  // Whether a number is other than 0 with two decimals.
  const seen = (value) => rounded(value, 2) !== 0;
  // The same with its sign, for differences.
  const signed = (value, digits = 2) => (missing(value) ? "–" : written(rounded(value, digits), { ...fixed(digits), signDisplay: "exceptZero" }));
  // With at least two digits that are not zero: a single small place changes the score very little.
  const telling = (value) => Math.min(6, Math.max(2, 1 - Math.floor(Math.log10(Math.abs(value) || 1))));
  const fine = (value) => signed(value, telling(value));
  const size = (value) => number(Math.abs(value), telling(value));
  const count = (value) => (missing(value) ? "–" : written(rounded(value, 0), { maximumFractionDigits: 0, useGrouping: "always" }));
  // A share of 1 in percent; a small share keeps one decimal, so that it does not become zero.
  const percent = (share) => {
    if (missing(share)) return "–";
    const digits = share > 0 && share < 0.0995 ? 1 : 0;
    return written(rounded(100 * share, digits) / 100, { ...fixed(digits), style: "percent" });
  };
  // Words or numbers as a list: "a, b and c".
  const list = (items) => new Intl.ListFormat(locale).format(items.map(String));
  // With a capital at its beginning.
  const sentence = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);
  // A grade of the scale, within a sentence.
  const grade = ({ number: value, name }) => `${value} (${name})`;
  // Whose grade it is: nobody graded an eye that a program drew.
  const gradeName = drawn ? gettext("Drawn as grade") : gettext("Human grade");
  const graded = ({ number: value, name }) => (drawn
    ? gettext("Drawn as grade %(number)s (%(name)s).", { number: value, name })
    : gettext("Human grade: %(number)s (%(name)s).", { number: value, name }));
  // A photograph in words: its place in the atlas, counted from 0, its score and, where there is one, its grade.
  const plate = (place, score, known) => {
    const values = { plate: count(place + 1), score: number(score), grade: known && grade(known) };
    if (!known) return gettext("Plate %(plate)s. Score: %(score)s. No human grade.", values);
    return drawn
      ? gettext("Plate %(plate)s. Score: %(score)s. Drawn as grade %(grade)s.", values)
      : gettext("Plate %(plate)s. Score: %(score)s. Human grade: %(grade)s.", values);
  };

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

  return { number, seen, signed, fine, size, count, percent, list, sentence, grade, gradeName, graded, plate, readAddress, writeAddress, csv };
};
