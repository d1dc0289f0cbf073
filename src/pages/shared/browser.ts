// Names of browsers and of their systems, by the same rules as in notices (src/values/browser_name.rs).

/** What a browser says about itself, and its name. The first that matches counts: most browsers also claim to be others. */
const BROWSERS = {
  "Edg/": "Edge",
  "EdgA/": "Edge",
  "EdgiOS/": "Edge",
  "OPR/": "Opera",
  "SamsungBrowser/": "Samsung Internet",
  "Vivaldi/": "Vivaldi",
  "FxiOS/": "Firefox",
  "Firefox/": "Firefox",
  "CriOS/": "Chrome",
  "Chrome/": "Chrome",
  "Safari/": "Safari",
};

/** The same for systems. */
const SYSTEMS = {
  iPhone: "iPhone",
  iPad: "iPad",
  Android: "Android",
  CrOS: "ChromeOS",
  Windows: "Windows",
  "Mac OS X": "macOS",
  Linux: "Linux",
  FreeBSD: "FreeBSD",
};

/** A browser, and the system on which it runs if that is known. */
export interface Browser {
  name: string;
  system?: string;
}

/** Recognises the browser that sent this `User-Agent`. Returns `undefined` for other programs. */
export function browserOf(userAgent: string | undefined): Browser | undefined {
  const find = (names: Record<string, string>) => Object.entries(names).find(([text]) => userAgent?.includes(text))?.[1];
  const name = find(BROWSERS);
  return name === undefined ? undefined : { name, system: find(SYSTEMS) };
}
