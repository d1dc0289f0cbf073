// The types of texts. English is the pattern: the compiler reports a text that another language lacks, and a value that is not put
// into its place.

/** The names in braces in a text: the places for values. */
export type Placeholder<Text extends string> = Text extends `${string}{${infer Name}}${infer Rest}` ? Name | Placeholder<Rest> : never;

/** Texts of the same names in another language. */
export type Translation<Texts> = { readonly [Name in keyof Texts]: Texts[Name] extends string ? string : Translation<Texts[Name]> };

/** The texts whose places differ from those of the pattern; an empty object if there are none. */
export type Misplaced<Texts, Others> = {
  [Name in keyof Texts & keyof Others as IsAlike<Texts[Name], Others[Name]> extends true ? never : Name]: Others[Name];
};

type IsAlike<One, Other> = One extends string
  ? Other extends string
    ? [Placeholder<One>, Placeholder<Other>] extends [Placeholder<Other>, Placeholder<One>]
      ? true
      : false
    : false
  : Misplaced<One, Other> extends Record<string, never>
    ? true
    : false;
