// A module as data beside the script: `vite.config.js` writes its default export to a JSON file.

declare module "*?data" {
  /** The address of the file. */
  const address: string;
  export default address;
}
