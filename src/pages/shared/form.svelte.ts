// The state of a form, which its fields share: whether it is being sent, and what is wrong with it.

import type { Fault } from "@vestibule/client";
import { createContext, tick } from "svelte";
import { faultsOf, type Failure } from "./problem.js";

/** A field of a form. */
export interface FieldEntry {
  /** The JSON pointers of the member of the request that the field fills in. */
  readonly pointers: readonly string[];
  readonly input: HTMLElement;
  /** Returns the code of what is wrong with the value, as far as the page can tell. */
  check(): string | undefined;
}

export class FormState {
  isBusy = $state(false);
  /** Why the form could not be sent, unless this is shown at fields. */
  failure = $state.raw<Failure>();
  /** What is wrong with the fields. */
  #faults = $state.raw<Fault[]>([]);
  #fields: FieldEntry[] = [];

  /** Adds a field while it is shown. Returns a function that removes it. */
  add(field: FieldEntry): () => void {
    this.#fields.push(field);
    return () => (this.#fields = this.#fields.filter((other) => other !== field));
  }

  /** Returns what is wrong with a field. */
  faultAt(pointers: readonly string[]): Fault | undefined {
    return this.#faults.find(({ pointer }) => pointer !== undefined && pointers.includes(pointer));
  }

  /** What is wrong with no field that is shown. */
  get otherFaults(): Fault[] {
    return this.#faults.filter((fault) => !this.#fields.some(({ pointers }) => pointers.includes(fault.pointer ?? "")));
  }

  /** Forgets what was wrong with a field that is edited. */
  edited(pointers: readonly string[]) {
    this.#faults = this.#faults.filter(({ pointer }) => pointer === undefined || !pointers.includes(pointer));
  }

  /**
   * Checks the fields and then calls `submit`, unless that is going on already. Afterwards moves the focus to the first field with
   * a fault, or to `note`.
   */
  async send(submit: () => Promise<Failure | undefined | void>, note: () => HTMLElement | undefined) {
    if (this.isBusy) return;
    this.isBusy = true;
    this.failure = undefined;
    try {
      this.#faults = this.#check();
      const failure = this.#faults.length > 0 ? undefined : (await submit()) || undefined;
      if (failure) this.#faults = faultsOf(failure);
      const isAtFields = this.#faults.length > 0 && this.otherFaults.length === 0;
      this.failure = isAtFields ? undefined : failure;
    } finally {
      this.isBusy = false;
    }
    await tick();
    const faulty = this.#inOrder().find(({ pointers }) => this.faultAt(pointers));
    (faulty?.input ?? note())?.focus();
  }

  #check(): Fault[] {
    return this.#fields.flatMap((field) => {
      const code = field.check();
      return code ? [{ pointer: field.pointers[0], code, detail: "" }] : [];
    });
  }

  #inOrder(): FieldEntry[] {
    const follows = (a: FieldEntry, b: FieldEntry) => a.input.compareDocumentPosition(b.input) & Node.DOCUMENT_POSITION_FOLLOWING;
    return [...this.#fields].sort((a, b) => (follows(a, b) ? -1 : 1));
  }
}

export const [formOfField, provideForm] = createContext<FormState>();
