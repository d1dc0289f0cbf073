// Declarations of the functions that the programs in the READMEs use.

declare function render(signedIn: import("@vestibule/client").SignedIn | undefined): void;
declare function goTo(path: string): void;
declare function ask(question: string, error?: string): Promise<string>;
declare function LogIn(): null;
