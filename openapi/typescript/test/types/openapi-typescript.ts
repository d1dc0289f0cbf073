// Compiled, never run: the other common generator derives the same types from the contract.

import type { components, operations, paths } from "../../check/openapi-typescript.js";

type ProblemOf<Operation extends keyof operations, Status extends keyof operations[Operation]["responses"]> =
  operations[Operation]["responses"][Status] extends { content: { "application/problem+json": infer Problem } } ? Problem : never;
type Code<Operation extends keyof operations, Status extends keyof operations[Operation]["responses"]> =
  ProblemOf<Operation, Status> extends { code?: infer Code } ? Code : never;

type Status<Operation extends keyof operations, Status extends keyof operations[Operation]["responses"]> =
  ProblemOf<Operation, Status> extends { status?: infer Status } ? Status : never;

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
export const codes: [
  Same<Code<"logIn", 401>, "invalid_credentials" | "second_factor_required">,
  Same<Code<"logIn", 403>, "account_disabled" | "csrf_rejected">,
  Same<Code<"registerAccount", 409>, "email_taken" | "username_taken">,
  Same<Code<"readMe", 401>, "invalid_credentials">, // a code of another operation
] = [true, true, true, false];

export const statuses: [Same<Status<"logIn", 401>, 401>, Same<Status<"readMe", 503>, 503>, Same<Status<"logIn", 401>, number>] = [true, true, false];

type User = components["schemas"]["User"];
export const status: User["status"] = "disabled";
export const name: Same<User["name"], string | undefined> = true; // absent, never null
export const body: paths["/v1/accounts"]["post"]["requestBody"]["content"]["application/json"] = {
  email: "ada@example.org",
  password: "seven tall ships at dawn",
};
