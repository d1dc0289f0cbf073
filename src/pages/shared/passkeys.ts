// Passkeys: asks the browser for one. Only one request is in progress at a time, as browsers demand.

import type { PasskeyCredential } from "@vestibule/client";
import type { Failure } from "./problem.js";

let current: AbortController | undefined;

/** Whether this browser can use passkeys. */
export const hasPasskeys = "PublicKeyCredential" in globalThis && "parseRequestOptionsFromJSON" in PublicKeyCredential;

/** Whether this browser can suggest passkeys in a field. */
export async function suggestsPasskeys(): Promise<boolean> {
  return hasPasskeys && ((await PublicKeyCredential.isConditionalMediationAvailable?.()) ?? false);
}

/**
 * Asks for a passkey. With `isSuggestion`, the browser suggests passkeys in the field whose `autocomplete` ends with `webauthn`,
 * and waits until the person takes one. Returns neither a credential nor a failure if another request has taken the place of this
 * one.
 */
export async function askForPasskey(
  options: Record<string, unknown>,
  isSuggestion = false,
): Promise<{ credential?: PasskeyCredential; failure?: Failure }> {
  current?.abort();
  const own = (current = new AbortController());
  try {
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options as unknown as PublicKeyCredentialRequestOptionsJSON);
    const mediation = isSuggestion ? "conditional" : undefined;
    const credential = await navigator.credentials.get({ publicKey, mediation, signal: own.signal });
    return { credential: (credential as PublicKeyCredential | null)?.toJSON() as unknown as PasskeyCredential | undefined };
  } catch {
    // The person has declined, has no passkey, or the passkey belongs to another address.
    return own.signal.aborted ? {} : { failure: { kind: "no_passkey" } };
  }
}

/** Makes a passkey for the account. Returns why there is none. */
export async function createPasskey(
  options: Record<string, unknown>,
): Promise<{ credential?: PasskeyCredential; failure?: Failure }> {
  forgetRequest();
  try {
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options as unknown as PublicKeyCredentialCreationOptionsJSON);
    const credential = await navigator.credentials.create({ publicKey });
    return { credential: (credential as PublicKeyCredential | null)?.toJSON() as unknown as PasskeyCredential | undefined };
  } catch (thrown) {
    // InvalidStateError: this device has a passkey of the account already.
    const hasOne = thrown instanceof DOMException && thrown.name === "InvalidStateError";
    return { failure: { kind: hasOne ? "has_passkey" : "no_passkey" } };
  }
}

/** Ends the request that is in progress. */
export function forgetRequest() {
  current?.abort();
  current = undefined;
}

/** Tells the browser something about passkeys (WebAuthn Level 3 section 5.1.10), if it wants to know. */
function signal(what: "UnknownCredential" | "AllAcceptedCredentials" | "CurrentUserDetails", known: object) {
  const signals = PublicKeyCredential as unknown as Record<string, ((known: object) => Promise<void>) | undefined>;
  void signals[`signal${what}`]?.(known).catch(() => {});
}

/** Tells the browser that the service does not know a passkey, so that it suggests it no longer. It may delete the passkey. */
export function signalUnknownPasskey({ rpId }: Record<string, unknown>, { id }: PasskeyCredential) {
  signal("UnknownCredential", { rpId, credentialId: id });
}

/** Tells the browser which passkeys the account has, and its names. `options` are those for another passkey. */
export function signalPasskeys(options: Record<string, unknown>) {
  const { rp, user, excludeCredentials = [] } = options as unknown as PublicKeyCredentialCreationOptionsJSON & { rp: { id: string } };
  const account = { rpId: rp.id, userId: user.id };
  signal("AllAcceptedCredentials", { ...account, allAcceptedCredentialIds: excludeCredentials.map(({ id }) => id) });
  signal("CurrentUserDetails", { ...account, name: user.name, displayName: user.displayName });
}
