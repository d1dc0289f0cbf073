// What a person has typed on one page and needs on the next one.

/** `identifier`: the address or username of the sign-in. */
export const draft = $state({ identifier: "" });
