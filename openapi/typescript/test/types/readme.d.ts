// What the README's programs have around them.

declare function render(signedIn: import("@vestibule/client").SignedIn | undefined): void;
declare function goTo(path: string): void;
declare function LogIn(): null;
