// Where the service is.

/**
 * The address of the service without a slash at its end. The script lies in `<address>/<entry>/assets/`, so the pages work under
 * any prefix that a proxy adds.
 */
export const address = import.meta.env.DEV ? location.origin : import.meta.url.replace(/\/[^/]+\/assets\/[^/]*$/, "");
