// What a screen reader says about a change that does not move the focus.

class Announcements {
  text = $state("");

  /** Says a text, also if it is the same as the last one. */
  say(text: string) {
    this.text = "";
    setTimeout(() => (this.text = text), 50);
  }
}

export const announcements = new Announcements();
