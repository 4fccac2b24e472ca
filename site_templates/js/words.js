// The words of the page's language. The English text is the key; values are named, as in "Photograph %(number)s".
"use strict";
(() => {
  const { language = "en", messages = {} } = window.ATLAS_WORDS || {};
  const plurals = new Intl.PluralRules(language);
  const filled = (text, values) => text.replace(/%\((\w+)\)s|%%/g, (found, name) => (name ? String(values[name]) : "%"));
  // A message, its values filled in.
  window.gettext = (message, values = {}) => filled(messages[message] || message, values);
  // The message for n things; n is one of its values.
  window.ngettext = (one, many, n, values = {}) => {
    const [first, other] = messages[one] || [one, many];
    return filled(plurals.select(n) === "one" ? first : other, { n, ...values });
  };
})();
