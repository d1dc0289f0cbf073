// What a person chooses for a new account, and how the account comes to exist.

import type { Problem } from "@vestibule/client";
import { attempt, type Failure } from "$shared/problem.js";
import { signIn } from "./signing-in.js";

/** The members of a request that creates an account. What was left empty is left out. */
type Members = { password: string; name?: string; username?: string };

/** The values of the fields. */
export class NewAccount {
  password = $state("");
  name = $state("");
  username = $state("");
  /** The address of the account, once it exists. */
  #created: string | undefined;

  constructor(name = "") {
    this.name = name;
  }

  /**
   * Creates the account by a call and signs in to it. If the sign-in fails, another attempt with the same address does not create
   * the account again. Returns why it has failed.
   */
  async create(email: string, call: (members: Members) => Promise<{ error?: Problem }>): Promise<Failure | undefined> {
    const { password, name, username } = this;
    if (this.#created !== email) {
      const members = { password, ...(name.trim() && { name }), ...(username.trim() && { username }) };
      const { failure } = await attempt(call(members));
      if (failure) return failure;
      this.#created = email;
    }
    return signIn(email, password);
  }
}
