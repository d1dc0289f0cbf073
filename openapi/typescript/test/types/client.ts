// Compiled, never run: code that the types must allow, and below each `@ts-expect-error` code that they must reject.

import { createVestibule, type LogInError, type ListUsersError, type RegisterAccountError, type User } from "@vestibule/client";

const vestibule = createVestibule<"billing:refund">({ baseUrl: "https://id.example.org", storage: localStorage });

/** Accepts the codes that logIn and registerAccount share, so that a new common code does not break these tests. */
const common = (error: RegisterAccountError): string => error.title;

export function everyCodeHasItsCase(error: LogInError): string {
  switch (error.code) {
    case "invalid_credentials":
    case "second_factor_required":
      return `${error.status satisfies 401}`;
    case "account_disabled":
    case "csrf_rejected":
      return `${error.status satisfies 403}`;
    case "validation_failed":
      return (error.errors ?? []).map((fault) => fault.detail).join(" ");
    default:
      error.code satisfies Exclude<RegisterAccountError["code"], "validation_failed" | "email_taken">;
      return common(error);
  }
}

export function aCaseIsMissing(error: LogInError): string {
  switch (error.code) {
    case "invalid_credentials":
    case "second_factor_required":
    case "account_disabled":
      return error.title;
    default:
      // @ts-expect-error csrf_rejected is missing
      return common(error);
  }
}

export function everyStatusOfAProblemIsCovered(error: Extract<LogInError, { status: 401 | 403 }>): string {
  switch (error.code) {
    case "invalid_credentials":
    case "second_factor_required":
    case "account_disabled":
    case "csrf_rejected":
      return error.title;
    default:
      return error satisfies never;
  }
}

export function aCodeIsImpossible(error: ListUsersError): boolean {
  // @ts-expect-error logIn returns this code, listUsers does not
  return error.code === "invalid_credentials";
}

export function aCodeBelongsToItsStatus(error: ListUsersError): boolean {
  // @ts-expect-error stale_token is a 401
  return error.status === 403 && error.code === "stale_token";
}

export function aStatusTellsCodesApart(error: LogInError): "invalid_credentials" | "second_factor_required" | undefined {
  return error.status === 401 ? error.code : undefined;
}

export function aStatusIsImpossible(error: ListUsersError): boolean {
  // @ts-expect-error a list never returns a conflict
  return error.status === 409;
}

export async function dataOrError(): Promise<User[]> {
  const { data, error } = await vestibule.api.listUsers({ query: { sort: "-created_at", limit: 10 } });
  if (error) throw new Error(error.code);
  // @ts-expect-error a page has no such member
  data.pages;
  return data.items;
}

export const allowed: boolean[] = [
  vestibule.can("users:write"),
  vestibule.can("billing:refund"),
  // @ts-expect-error neither Vestibule nor the application has this permission
  vestibule.can("users:wrote"),
];

export const name: string | undefined = vestibule.signedIn?.user?.name;
export const roles: readonly string[] | undefined = vestibule.signedIn?.user?.roles;

// @ts-expect-error a token that scripts cannot read has no storage
createVestibule({ baseUrl: "https://id.example.org", transport: "cookie", storage: localStorage });
// @ts-expect-error a request has no other members
void vestibule.register({ email: "ada@example.org", password: "seven tall ships at dawn", roles: ["admin"] });
