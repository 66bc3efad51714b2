// Elements. Text is always inserted as text: nothing here turns a string into markup.

/**
 * Creates an element. Of `properties`, functions are listeners (`click`), `class` and other names are attributes;
 * `false`, `null` and `undefined` leave one out. Children are nodes or text.
 */
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** Creates an SVG element. */
export function s(tag, properties = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** Replaces text if it differs. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Creates a list of terms and values; terms without a value are omitted. */
export function terms(pairs, properties = {}) {
  const shown = pairs.filter(([, value]) => value != null && value !== "");
  return h(
    "dl",
    { class: "terms", ...properties },
    ...shown.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))),
  );
}

/** Creates a section of a view, with a heading. */
export function panel(title, ...children) {
  return h("section", { class: "panel" }, h("h2", {}, title), ...children);
}
