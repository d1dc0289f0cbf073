// The page at /docs: Swagger UI, told what each operation demands and who is signed in.
// It asks nobody but this service, and takes no settings from its own address.

const SCHEME = "BearerAuth";
const LOG_IN = "/v1/sessions";

// What a guard says about a token that will not get better by trying again.
const REFUSALS = {
  invalid_token: "This access token is not valid here.",
  expired_token: "The access token has expired.",
  session_ended: "This session has ended.",
  stale_token: "Your roles have changed since this token was issued.",
  insufficient_user_authentication: "This operation needs a fresh proof: log in again, or call authenticateAgain.",
};

/** The claims of a JWT, or none when it is not one (somebody may paste anything). */
function claims(token) {
  try {
    const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(atob(part)) ?? {};
  } catch {
    return {};
  }
}

/** Who may call an operation, from its security requirements, in two words. */
function demand(security) {
  if (!security?.size || security.some((way) => way.isEmpty())) {
    return { kind: "public", text: "public", title: "Anybody may call this" };
  }
  const permissions = security.flatMap((way) => way.valueSeq().flatten()).join(", ");
  if (!permissions) return { kind: "signed", text: "signed in", title: "Needs an access token" };
  return { kind: "permission", text: permissions, title: "Needs an access token whose roles grant this permission" };
}

/** The badges behind an operation's path. */
function withBadge(Path, { React: { createElement: h, Fragment }, specSelectors }) {
  return (props) => {
    const operation = props.operationProps;
    const { kind, text, title } = demand(operation.get("security"));
    const seconds = specSelectors.specJson().getIn(["paths", operation.get("path"), operation.get("method"), "x-fresh", "max_age"]);
    const fresh = `Needs a log-in or authenticateAgain within the last ${seconds / 60} minutes`;
    return h(Fragment, null,
      h(Path, props),
      h("span", { className: `demand demand-${kind}`, title }, text),
      seconds && h("span", { className: "fresh", title: fresh }, "fresh"));
  };
}

/** The line beside Authorize: who is signed in, until when, or why no longer. */
function withCaller(Authorize, system) {
  const { createElement: h, Fragment, useEffect, useState } = system.React;
  const { authActions, authSelectors, callerActions, callerSelectors, layoutActions, specSelectors } = system;

  const logIn = () => {
    const operation = specSelectors.specJson().getIn(["paths", LOG_IN, "post"]);
    const [tag, id] = [operation?.getIn(["tags", 0]), operation?.get("operationId")];
    layoutActions.show(["operations-tag", tag], true);
    layoutActions.show(["operations", tag, id], true);
    requestAnimationFrame(() => document.getElementById(`operations-${tag}-${id}`)?.scrollIntoView({ behavior: "smooth" }));
  };
  const forget = () => authActions.logoutWithPersistOption([SCHEME]);
  const button = (onClick, text, title) => h("button", { type: "button", onClick, title }, text);

  function Caller({ token, refusal }) {
    const [name, setName] = useState();
    const expires = claims(token).exp * 1000;

    useEffect(() => {
      setName(undefined);
      const asking = new AbortController();
      fetch("v1/me", { headers: { Authorization: `Bearer ${token}` }, signal: asking.signal })
        .then(async (answer) => {
          const me = await answer.json();
          if (answer.ok) setName(me.username ?? me.email);
          else callerActions.heed(me.code);
        })
        .catch(() => {}); // the line then simply names nobody
      return () => asking.abort();
    }, [token]);

    useEffect(() => {
      if (!expires) return undefined;
      const timer = setTimeout(() => callerActions.heed("expired_token"), Math.max(0, expires - Date.now()));
      return () => clearTimeout(timer);
    }, [expires]);

    const forgetting = button(forget, "Forget token", "Removes the access token from this browser; the session itself goes on");
    if (refusal) return h(Fragment, null, REFUSALS[refusal], button(logIn, "Log in again"), forgetting);
    const until = expires ? new Date(expires).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) : "";
    return h(Fragment, null,
      h("span", null, "Signed in", name && " as ", name && h("b", null, name), until && ` until ${until}`),
      forgetting);
  }

  return (props) => {
    const token = authSelectors.authorized().getIn([SCHEME, "value"]);
    const refusal = token && callerSelectors.refusal();
    return h(Fragment, null,
      h("div", { className: refusal ? "caller caller-refused" : "caller", role: "status" },
        token ? h(Caller, { token, refusal }) : h(Fragment, null, "Not signed in", button(logIn, "Log in"))),
      h(Authorize, props));
  };
}

/** Takes over the token of every answer that brings one, and heeds every refusal of the one in use. */
function withToken(setResponse, { authActions, callerActions, specSelectors }) {
  return (path, method, response) => {
    setResponse(path, method, response);
    const { ok, status, body } = response.err?.response ?? response; // Swagger UI throws what is not a 2xx
    if (ok && typeof body?.access_token === "string") {
      const schema = specSelectors.specJson().getIn(["components", "securitySchemes", SCHEME]).toJS();
      authActions.authorizeWithPersistOption({ [SCHEME]: { name: SCHEME, schema, value: body.access_token } });
    } else if (status === 401) {
      callerActions.heed(body?.code);
    }
  };
}

const vestibule = {
  wrapComponents: { OperationSummaryPath: withBadge, authorizeBtn: withCaller },
  statePlugins: {
    spec: { wrapActions: { setResponse: withToken } },
    caller: {
      actions: { heed: (code) => ({ type: "caller_heed", payload: code }) },
      reducers: {
        caller_heed: (state, { payload }) => (Object.hasOwn(REFUSALS, payload) ? state.set("refusal", payload) : state),
        authorize: (state) => state.delete("refusal"),
        logout: (state) => state.delete("refusal"),
      },
      selectors: { refusal: (state) => state.get("refusal") },
    },
  },
};

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  plugins: [vestibule],
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayOperationId: true,
  displayRequestDuration: true,
  docExpansion: "list",
  filter: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
