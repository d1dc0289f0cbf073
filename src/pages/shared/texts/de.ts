// The texts that all entries share, in German. "E‑Mail" has a hyphen at which no line breaks (U+2011).

import type { Texts } from "./en.js";
import type { Misplaced, Translation } from "./types.js";

const notUnderstood = "Der Dienst hat die Anfrage nicht verstanden. Laden Sie die Seite neu.";
const signInAgain = "Ihre Sitzung ist beendet. Melden Sie sich wieder an.";

const problems = {
  account_disabled: "Dieses Konto ist gesperrt. Wenden Sie sich an die Betreiber.",
  already_verified: "Diese Adresse ist bereits bestätigt.",
  authorization_stale: "Der Dienst kann Berechtigungen gerade nicht prüfen.",
  csrf_rejected: "Diese Anfrage kam von einer anderen Website. Laden Sie die Seite neu.",
  email_taken: "Es gibt bereits ein Konto mit dieser Adresse. Melden Sie sich an.",
  escalation_denied: "Dafür fehlen Ihnen Berechtigungen.",
  expired_token: signInAgain,
  headers_too_large: notUnderstood,
  internal: "Bei uns ist etwas schiefgegangen.",
  invalid_credentials: "Die Adresse, der Benutzername oder das Passwort stimmt nicht.",
  invalid_refresh_token: signInAgain,
  invalid_token: signInAgain,
  last_admin: "Dies ist das letzte Konto mit Administrationsrechten. Geben Sie diese zuerst einem anderen Konto.",
  mail_unavailable: "Dieser Dienst versendet keine E‑Mails. Wenden Sie sich an die Betreiber.",
  malformed_request: notUnderstood,
  missing_token: signInAgain,
  not_found: "Das gibt es nicht mehr.",
  overloaded: "Der Dienst ist gerade stark ausgelastet.",
  payload_too_large: notUnderstood,
  precondition_failed: "Das wurde inzwischen anderswo geändert. Laden Sie die Seite neu.",
  registration_closed: "Hier kann zurzeit niemand ein Konto anlegen.",
  request_timeout: "Die Anfrage kam zu langsam an. Prüfen Sie die Verbindung und versuchen Sie es noch einmal.",
  session_ended: signInAgain,
  stale_token: signInAgain,
  too_many_requests: "Das waren zu viele Versuche.",
  unavailable: "Der Dienst ist gerade nicht verfügbar.",
  unsupported_media_type: notUnderstood,
  uri_too_long: notUnderstood,
  username_taken: "Dieser Benutzername ist vergeben. Wählen Sie einen anderen.",
  validation_failed: "Einige Angaben müssen korrigiert werden.",
} as const;

export const de = {
  problems,
  faults: {
    required: "Füllen Sie dieses Feld aus.",
    type: "Das ist hier nicht gültig.",
    format: "Prüfen Sie die Schreibweise.",
    too_short: "Das ist zu kurz.",
    too_long: "Das ist zu lang.",
    pattern: "Das enthält Zeichen, die hier nicht erlaubt sind.",
    not_allowed: "Das enthält Zeichen, die hier nicht erlaubt sind.",
    common_password: "Dieses Passwort benutzen viele, deshalb ist es leicht zu erraten. Wählen Sie ein anderes.",
    contains_identity: "Dieses Passwort besteht aus Ihrem Namen, Ihrer Adresse oder dem Namen dieses Dienstes. Wählen Sie ein anderes.",
    wrong_password: "Das ist nicht Ihr aktuelles Passwort.",
    wrong_code: "Dieser Code stimmt nicht oder wurde zu oft versucht. Prüfen Sie ihn oder fordern Sie eine neue E‑Mail an.",
    expired_ticket: "Dieser Code ist abgelaufen. Fordern Sie eine neue E‑Mail an.",
    spent_ticket: "Dieser Link wurde bereits verwendet oder ist nicht mehr gültig.",
    invalid_ticket: "Dieser Link gehört nicht hierher.",
    email_taken: problems.email_taken,
    username_taken: problems.username_taken,
  },
  memberFaults: {
    email: { format: "Geben Sie eine E‑Mail-Adresse ein, zum Beispiel ada@example.org." },
    username: {
      pattern: "Ein Benutzername muss mit einem Buchstaben beginnen und kann a bis z, 0 bis 9, Punkt, Unterstrich und Bindestrich enthalten.",
      too_short: "Ein Benutzername braucht mindestens 3 Zeichen.",
      too_long: "Ein Benutzername kann höchstens 32 Zeichen haben.",
    },
    name: { too_short: "Geben Sie einen Namen ein oder lassen Sie das Feld leer.", too_long: "Ein Name kann höchstens 100 Zeichen haben." },
    code: { pattern: "Der Code muss 8 Ziffern haben." },
  },
  fault: "Das ist hier nicht gültig.",
  passwordTooShort: "Ein Passwort braucht mindestens {length} Zeichen.",
  newPasswordHint: "Mindestens {length} Zeichen. Mehrere Wörter, die nicht zusammengehören, merkt man sich leicht.",
  failure: {
    unreachable: "Der Dienst ist nicht erreichbar. Prüfen Sie Ihre Verbindung und versuchen Sie es noch einmal.",
    unexpected: "Der Dienst ist nicht erreichbar (Antwort {status}). Versuchen Sie es später noch einmal.",
    cookieNotKept: "Ihr Browser speichert das Cookie dieser Website nicht, deshalb bleiben Sie nicht angemeldet. Erlauben Sie Cookies und versuchen Sie es noch einmal.",
    retry: "Versuchen Sie es gleich noch einmal.",
    retryAt: "Versuchen Sie es ab {time} Uhr noch einmal.",
    request: "Wenn Sie um Hilfe bitten, nennen Sie diese Nummer: {id}",
    again: "Noch einmal versuchen",
  },
  form: {
    optional: "optional",
    show: "Passwort anzeigen",
    hide: "Passwort verbergen",
    cancel: "Abbrechen",
    busy: "Einen Moment …",
  },
  frame: {
    skip: "Zum Inhalt springen",
    language: "Sprache",
    justNow: "gerade eben",
    loading: "Wird geladen …",
    newer: "Es gibt eine neue Version dieser Seite.",
    reload: "Neu laden",
  },
} as const satisfies Translation<Texts>;

({}) satisfies Misplaced<Texts, typeof de>;
