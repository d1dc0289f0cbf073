// Calls of operations: the arguments become a request, and the response becomes `data` or `error`.

import { ENDPOINTS, type Operations } from "./generated/operations.gen.js";
import { UnexpectedResponse } from "./problem.js";

/** The result of a call: `data`, or the problem with which Vestibule has refused it. */
export type Result<Data, Problem> =
  | { data: Data; error?: undefined; response: Response }
  | { data?: undefined; error: Problem; response: Response };

/** The arguments of a call: `path`, `query` and `body` as in the contract, headers, and a signal that ends the call. */
export type Arguments<Data> = Omit<Data, "url" | "headers"> & {
  headers?: Record<string, string | undefined>;
  signal?: AbortSignal;
};

/** Calls one operation. Rejects if the network fails, and with `UnexpectedResponse` if something else than Vestibule responds. */
export type Operation<Data, Responses, Errors> = (
  ...args: {} extends Arguments<Data> ? [Arguments<Data>?] : [Arguments<Data>]
) => Promise<Result<Responses[keyof Responses], Errors[keyof Errors]>>;

/** How operations are called. */
export interface Connection {
  baseUrl: string;
  credentials: RequestCredentials;
  /** Sends a request like `fetch`. */
  send: (request: Request) => Promise<Response>;
  /** Returns the access token for operations that need one, unless a call has an `authorization` of its own. */
  accessToken?: () => Promise<string | undefined>;
}

/** The arguments of any operation. */
interface AnyArguments {
  path?: Record<string, string>;
  query?: Record<string, unknown>;
  headers?: Record<string, string | undefined>;
  body?: unknown;
  signal?: AbortSignal;
}

/** Returns every operation of the contract. */
export function operations(connection: Connection): Operations {
  const calls = Object.entries(ENDPOINTS).map(([name, endpoint]) => {
    return [name, (args: AnyArguments = {}) => call(connection, endpoint, args)];
  });
  return Object.fromEntries(calls) as Operations;
}

async function call({ baseUrl, credentials, send, accessToken }: Connection, endpoint: string, args: AnyArguments) {
  const [method, path = "", ...needs] = endpoint.split(" ");
  const headers = new Headers(defined(args.headers));
  if (needs.includes("token") && !headers.has("authorization")) {
    const token = await accessToken?.();
    if (token) headers.set("authorization", `Bearer ${token}`);
  }
  let body: BodyInit | null = null;
  if (args.body !== undefined && needs.includes("form")) {
    body = new URLSearchParams(args.body as Record<string, string>); // `fetch` adds its content type
  } else if (args.body !== undefined) {
    body = JSON.stringify(args.body);
    headers.set("content-type", "application/json");
  }
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(args.path?.[name] ?? ""));
  const query = new URLSearchParams(defined(args.query)).toString();
  // What is well known is at the root of the host, also if the service is below a path of it.
  const root = path.startsWith("/.well-known/") ? new URL(baseUrl, globalThis.location?.href).origin : baseUrl;
  const url = root + filled + (query && `?${query}`);
  const response = await send(new Request(url, { method, headers, body, credentials, signal: args.signal ?? null }));
  return outcome(response);
}

/** Returns the entries that have a value, as text. */
function defined(entries: Record<string, unknown> = {}): [string, string][] {
  return Object.entries(entries).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]]));
}

async function outcome(response: Response) {
  const text = await response.text();
  let content;
  try {
    content = text ? JSON.parse(text) : {};
  } catch {
    throw new UnexpectedResponse(response); // a proxy's page
  }
  if (response.ok) return { data: content, response };
  if (content?.code === undefined || content.status === undefined) throw new UnexpectedResponse(response);
  return { error: content, response };
}
