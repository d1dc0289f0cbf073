// A page without a framework. The refresh token is in a cookie that scripts cannot read; a reload keeps the user logged in.

import { CookieNotKept, createVestibule } from "./client/index.js";

const form = document.querySelector("form");
const [inside, who, people, out] = ["inside", "who", "people", "out"].map((id) => document.getElementById(id));
const say = (text) => (document.querySelector("[role=status]").textContent = text);

const vestibule = createVestibule({
  baseUrl: document.querySelector("meta[name=vestibule]").content,
  transport: "cookie",
  onChange: show,
  onSignedOut: (why) => say(why === "logged_out" ? "Signed out." : `Signed out: ${why}.`),
});

/** Shows the form to a visitor, and the buttons to a user. */
function show() {
  form.hidden = Boolean(vestibule.signedIn);
  inside.hidden = !vestibule.signedIn;
  people.hidden = !vestibule.can("users:read");
}

/** Shows the message of an error. `onSignedOut` shows the end of the session. */
function explain(error) {
  if (error.status !== 401 || error.code === "invalid_credentials") say(error.detail ?? error.title);
}

/** Shows why there was no response: the network failed, or the browser does not keep the cookie. */
const fail = (failure) => say(failure instanceof CookieNotKept ? failure.message : `Try again: ${failure.message}`);

/** Calls `act` when the button is pressed. */
function when(button, act) {
  button.addEventListener("click", () => act().catch(fail));
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { identifier, password } = Object.fromEntries(new FormData(form));
  try {
    const { error } = await vestibule.logIn({ identifier, password });
    if (error) return explain(error);
    form.reset();
    say("Signed in.");
  } catch (failure) {
    fail(failure);
  }
});

when(who, async () => {
  const { data, error } = await vestibule.api.readMe();
  if (error) explain(error);
  else say(`You are ${data.username ?? data.email}.`);
});

when(people, async () => {
  const { data, error } = await vestibule.api.listUsers();
  if (error) explain(error);
  else say(data.items.map((user) => user.username ?? user.email).join(", "));
});

when(out, async () => {
  const { error } = await vestibule.logOut();
  if (error) explain(error);
});

try {
  const { error } = await vestibule.resume();
  if (error) explain(error);
  else say(vestibule.signedIn ? `Still signed in as ${vestibule.signedIn.user?.name}.` : "Nobody is signed in.");
} catch (failure) {
  fail(failure);
}
show();
