// Moves the focus, for those who use a keyboard or a screen reader.

/** Moves the focus to the heading of the page: where the page begins, and where it continues if the element that had the focus is gone. */
export function focusHeading() {
  document.querySelector<HTMLElement>("main h1")?.focus();
}
