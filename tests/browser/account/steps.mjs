// What people do on the way in many stories.

import { PASSWORD } from "../service.mjs";
import { visit } from "../visitor.mjs";

/** Fills in the sign-in page that is open, and sends it. */
export async function enter(visitor, identifier, password = PASSWORD) {
  await visitor.fill({ "Email address or username": identifier, Password: password });
  await visitor.press("Sign in");
}

/** Opens the sign-in page and signs in. */
export async function signIn(visitor, identifier, password = PASSWORD) {
  await visitor.open("sign-in");
  await enter(visitor, identifier, password);
  await visitor.arrives("Profile");
}

/** Opens a browser, and signs in with it. */
export async function visitAs(service, identifier, options) {
  const visitor = await visit(service, options);
  await signIn(visitor, identifier);
  return visitor;
}

/** Begins to add an authenticator app on the page of the second factors. Returns the secret that the page shows. */
export async function beginApp(visitor) {
  await visitor.press("Add an authenticator app");
  await visitor.page.getByRole("img", { name: "QR code for the authenticator app" }).waitFor();
  await visitor.page.getByText("You cannot scan the picture?").click();
  return (await visitor.page.locator(".secret").innerText()).replaceAll(" ", "");
}

/** States that the recovery codes are kept, and goes on. */
export async function keepCodes(visitor) {
  await visitor.arrives("Keep these codes");
  await visitor.page.getByLabel("I have kept these codes in a safe place.").check();
  await visitor.press("Continue");
}

/** Enters a code of the app, or another proof, and sends it. */
export async function prove(visitor, label, value) {
  await visitor.fill({ [label]: value });
  await visitor.press("Confirm");
}
