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
