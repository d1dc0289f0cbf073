// A page of a product: it sends people to the account pages to sign in, and gets them back. The README shows this program.

import { createVestibule } from "./client/index.js";

const url = document.querySelector("meta[name=vestibule]").content; // https://id.example.org
const vestibule = createVestibule({ baseUrl: url, transport: "cookie", onChange: show });
const [who, account, out] = ["who", "account", "out"].map((id) => document.getElementById(id));

/** Shows who is signed in, and a link to the account pages, which send people back to this page. */
function show(signedIn) {
  who.textContent = signedIn ? `Hello, ${signedIn.user?.name ?? "again"}!` : "Nobody is signed in.";
  account.textContent = signedIn ? "Your account" : "Sign in";
  account.href = `${url}/account/${signedIn ? "" : "sign-in"}?return_to=${encodeURIComponent(location.href)}`;
  out.hidden = !signedIn;
}

out.addEventListener("click", () => vestibule.logOut());
await vestibule.resume(); // after a reload, and after a sign-in, which adds `#signed_in` to the address
show(vestibule.signedIn);
